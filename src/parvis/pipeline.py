"""The front door: :func:`load` a model, then ``generate`` and ``stream`` with it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from parvis.data.captions import Words
from parvis.errors import UnknownName, UsageError, WeightsError
from parvis.generate import pixels, stream
from parvis.model.linear import pack
from parvis.output import Origin, save_png, to_images
from parvis.precision import resolve
from parvis.request import Request
from parvis.sampling import Sampling
from parvis.system import System
from parvis.systems import PUBLISHED, SYSTEMS
from parvis.weights.catalog import find
from parvis.weights.folder import expectation, load_config, load_document, load_tensors


@dataclass(frozen=True)
class Images(Sequence[Image.Image]):
    """Finished pictures, in the order of the prompts (``n`` of each), and how they came about.

    Attributes:
        images: RGB pictures. prompts, seeds: one per picture. passes: of the transformer, per batch.
        seconds: wall time of generation and decoding. settings: what they were sampled with.
    """

    images: tuple[Image.Image, ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    passes: int
    seconds: float
    model: str
    settings: dict[str, object]

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return self.images[index]

    def __len__(self) -> int:
        return len(self.images)

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``000-prompt.png`` and so on into ``folder``, each with its prompt, seed and settings inside."""
        paths = []
        for index, (image, prompt, seed) in enumerate(zip(self.images, self.prompts, self.seeds, strict=True)):
            words = "-".join("".join(c if c.isalnum() else " " for c in prompt).split())[:60]
            origin = Origin(prompt, seed, self.model, self.settings)
            paths.append(save_png(Path(folder) / f"{index:03d}-{words}.png", image, origin))
        return paths


@dataclass(frozen=True)
class Step:
    """One pass of a stream: ``index`` of ``total``, and the canvas as it stands."""

    index: int
    total: int | None
    known: Tensor
    _codes: Tensor
    _system: System

    @property
    def images(self) -> list[Image.Image]:
        """The canvas decoded; what is not known yet is white."""
        return _show(self._system, self._codes, self.known)


class Pipeline:
    """A system with weights, on a device, in a precision.

    Args:
        system: with its weights loaded. words: the vocabulary of a text-conditional system.
        device: where it runs. precision: ``fp32``, ``bf16`` or ``None`` for what the device does best.
    """

    def __init__(
        self, system: System, *, words: Words | None = None, device: str | None = None, precision: str | None = None
    ) -> None:
        self.system, self.words = system, words
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.dtype = resolve(precision, self.device)
        for module in (system.tokenizer, *system.models.values()):
            module.to(self.device, self.dtype).eval().requires_grad_(False)
        for model in system.models.values():
            pack(model)

    @property
    def name(self) -> str:
        return self.system.name

    def generate(
        self,
        prompts: str | int | Sequence[str] | Sequence[int],
        *,
        n: int = 1,
        seed: int | Sequence[int] = 0,
        steps: int | None = None,
        guidance: float | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        batch: int = 64,
    ) -> Images:
        """Draw ``n`` pictures of every prompt.

        Args:
            prompts: captions, or class numbers for a class-conditional system.
            seed: of the first picture, the others count on from it; or one seed per picture. A picture depends on its
                own
                seed alone: it is the same in any batch.
            steps, guidance, temperature, top_k, top_p: as the model's preset unless given.
            batch: how many pictures are drawn at once.
        """
        start = time.perf_counter()
        asked, seeds, given = self._read(prompts, n, seed)
        sampling = self._sampling(temperature, top_k, top_p)
        images: list[Image.Image] = []
        passes = 0
        for low in range(0, len(asked), batch):
            part = slice(low, low + batch)
            request = Request(given[part], tuple(seeds[part]), steps, guidance, sampling)
            for event in stream(self.system, request, self.device):
                last = event
            passes = max(passes, last.index)
            images += to_images(pixels(self.system, last.canvas))
        settings: dict[str, object] = {
            "steps": passes,
            "guidance": self.system.preset.guidance if guidance is None else guidance,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "precision": str(self.dtype).removeprefix("torch."),
        }
        seconds = time.perf_counter() - start
        return Images(tuple(images), tuple(asked), tuple(seeds), passes, seconds, self.name, settings)

    def stream(
        self,
        prompts: str | int | Sequence[str] | Sequence[int],
        *,
        n: int = 1,
        seed: int | Sequence[int] = 0,
        steps: int | None = None,
        guidance: float | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
    ) -> Iterator[Step]:
        """As :meth:`generate`, one :class:`Step` after every pass; ``step.images`` shows the canvas filling up."""
        _, seeds, given = self._read(prompts, n, seed)
        request = Request(given, tuple(seeds), steps, guidance, self._sampling(temperature, top_k, top_p))
        for event in stream(self.system, request, self.device):
            canvas = event.canvas
            yield Step(event.index, event.total, canvas.known.clone(), canvas.values.clone(), self.system)

    def _sampling(self, temperature: float | None, top_k: int | None, top_p: float | None) -> Sampling:
        preset = self.system.preset.sampling
        return Sampling(
            preset.temperature if temperature is None else temperature,
            preset.top_k if top_k is None else top_k,
            preset.top_p if top_p is None else top_p,
        )

    def _read(
        self, prompts: str | int | Sequence[str] | Sequence[int], n: int, seed: int | Sequence[int]
    ) -> tuple[list[str], list[int], Tensor]:
        single: list[str | int] = [prompts] if isinstance(prompts, str | int) else list(prompts)
        if not single or n < 1:
            raise UsageError(f"got {len(single)} prompts and n={n}; give at least one prompt and n of 1 or more")
        asked = [prompt for prompt in single for _ in range(n)]
        seeds = [seed + i for i in range(len(asked))] if isinstance(seed, int) else list(seed)
        if len(seeds) != len(asked):
            raise UsageError(f"{len(seeds)} seeds for {len(asked)} pictures; give one seed, or one per picture")
        rows = [self._condition(prompt) for prompt in single]
        given = torch.stack([rows[i // n] for i in range(len(asked))])
        return [str(prompt) for prompt in asked], seeds, given.to(self.device)

    def _condition(self, prompt: str | int) -> Tensor:
        if self.system.takes == "words":
            if not isinstance(prompt, str) or self.words is None:
                raise UsageError(f"{self.name} draws from captions, got {prompt!r}; give a text such as 'red apple'")
            encoded = self.words.encode(prompt)
            if encoded.warning:
                warnings.warn(f"{prompt!r}: {encoded.warning}; the rest is used", UserWarning, stacklevel=4)
            return torch.tensor(encoded.ids)
        classes = getattr(self.system.models["main"].condition, "classes", 0)
        number = int(prompt) if isinstance(prompt, int) or prompt.isdigit() else -1
        if not 0 <= number < classes:
            raise UsageError(f"{self.name} draws from class numbers 0 to {classes - 1}, got {prompt!r}")
        return torch.tensor(number)


def _show(system: System, codes: Tensor, known: Tensor) -> list[Image.Image]:
    """Decode a part-filled canvas of a flat grid, white where nothing is known (other grids: as they decode)."""
    with torch.inference_mode():
        picture = system.tokenizer.decode(codes, system.grid).float()
    if system.grid.flat:
        mask = known.view(-1, 1, system.grid.height, system.grid.width)
        mask = mask.repeat_interleave(system.tokenizer.factor, 2).repeat_interleave(system.tokenizer.factor, 3)
        picture = torch.where(mask, picture, torch.ones_like(picture))
    return to_images(picture)


def load(
    name: str | Path, *, device: str | None = None, precision: str | None = None, random_weights: int | None = None
) -> Pipeline:
    """A model ready to draw.

    Args:
        name: a bundled model (``emoji-64``), a Parvis model folder, or a published system with ``random_weights``.
        device: e.g. ``cpu`` or ``cuda``; the best there is unless given. precision: ``fp32``, ``bf16`` or ``auto``.
        random_weights: a seed: build a published system with random weights (for timing and trying out).

    Raises:
        UnknownName: no such model. WeightsError: a folder that is damaged or does not fit.
    """
    if random_weights is not None:
        if name not in PUBLISHED:
            raise UnknownName("published system", str(name), PUBLISHED)
        with torch.device("meta"):
            system = PUBLISHED[str(name)]()
        torch.manual_seed(random_weights)
        for module in (system.tokenizer, *system.models.values()):
            _fill(module)
        return Pipeline(system, device=device, precision=precision)
    system, words = read_folder(find(name, also=PUBLISHED))
    return Pipeline(system, words=words, device=device, precision=precision)


def read_folder(folder: Path) -> tuple[System, Words | None]:
    """The system of a model folder with its weights, in the type they are stored in, and its words."""
    config = load_config(folder)
    if config.system not in SYSTEMS:
        raise UnknownName("system in config.json", config.system, SYSTEMS)
    try:
        with torch.device("meta"):
            system = SYSTEMS[config.system](**config.arguments)
    except TypeError as error:
        raise WeightsError(f"{folder}: config.json does not describe a {config.system!r} system: {error}") from error
    parts: dict[str, nn.Module] = {
        "tokenizer.safetensors": system.tokenizer,
        "model.safetensors": system.models["main"],
    }
    for file, module in parts.items():
        tensors = load_tensors(folder, expectation(module), file=file, config=config)
        module.load_state_dict(tensors, assign=True)
    words = None
    if config.words is not None:
        document = load_document(folder, config.words, config=config)
        words = Words(tuple(document["words"]), int(document["slots"]))
    return system, words


def _fill(module: nn.Module) -> None:
    """Replace meta tensors by random ones, N(0, 0.02); norms are left at one."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            if parameter.is_meta:
                value = torch.empty(parameter.shape).normal_(std=0.02)
                if parameter.dim() == 1 and name == "weight":
                    value = torch.ones(parameter.shape)
                part._parameters[name] = nn.Parameter(value, requires_grad=False)
        for name, buffer in list(part.named_buffers(recurse=False)):
            if buffer.is_meta:
                part._buffers[name] = torch.zeros(buffer.shape, dtype=buffer.dtype)
