"""The front door: :func:`load` a model, then ``generate`` and ``stream`` with it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from parvis.assemble import Kinds, kinds_in, kinds_of, published, random_system, read_folder, tensors_as
from parvis.data.captions import Words
from parvis.errors import UsageError
from parvis.generate import pixels, stream
from parvis.model.linear import pack
from parvis.order import Order
from parvis.output import Origin, save_png, to_images
from parvis.planners import Planner, find_planner, fixed
from parvis.precision import resolve
from parvis.request import Request
from parvis.sampling import Sampling
from parvis.system import System
from parvis.systems import PUBLISHED
from parvis.weights.catalog import find
from parvis.weights.config import FolderConfig
from parvis.weights.folder import load_config, save_folder
from parvis.weights.shards import parse_size


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
        config: what ``config.json`` says of the system; :meth:`save_pretrained` needs it.
        stored: the dtypes to save in; those of ``system`` unless given.
        device: where it runs. precision: ``fp32``, ``bf16`` or ``None`` for what the device does best.
    """

    def __init__(
        self,
        system: System,
        *,
        words: Words | None = None,
        config: FolderConfig | None = None,
        stored: Kinds | None = None,
        device: str | None = None,
        precision: str | None = None,
    ) -> None:
        self.system, self.words, self.config = system, words, config
        self._stored = stored or kinds_of(system)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.dtype = resolve(precision, self.device)
        for module in (system.tokenizer, *system.models.values()):
            module.to(self.device, self.dtype).eval().requires_grad_(False)
        for model in system.models.values():
            pack(model)

    @property
    def name(self) -> str:
        return self.system.name

    @classmethod
    def from_pretrained(cls, name: str | Path, *, device: str | None = None, precision: str | None = None) -> Pipeline:
        """The same as :func:`load`."""
        return load(name, device=device, precision=precision)

    def save_pretrained(self, folder: str | Path, *, max_shard_size: int | str = "5GB") -> Path:
        """Write a model folder that :func:`load` reads, in the precision that the weights were stored in.

        Args:
            max_shard_size: a larger file is divided into ``model-00001-of-0000N.safetensors`` and so on.

        Raises:
            UsageError: nobody has said what the system is called (``config``), or the weights were rounded on loading.
            OutputError: the folder cannot be written, or holds something else.
        """
        if self.config is None:
            raise UsageError(
                f"this {self.name} was made from parts, which a folder cannot name; give Pipeline(..., config="
                "FolderConfig(system, arguments)) to save it"
            )
        limit = parse_size(max_shard_size)
        words = None if self.words is None else {"words": list(self.words.vocabulary), "slots": self.words.slots}
        config = replace(self.config, words="words.json" if words else None)
        documents = {"words.json": words} if words else {}
        save_folder(folder, config, tensors_as(self.system, self._stored), documents, max_shard_bytes=limit)
        return Path(folder)

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
        order: str | Order | Planner | None = None,
        batch: int = 64,
        progress: Callable[[int, int], object] | None = None,
    ) -> Images:
        """Draw ``n`` pictures of every prompt.

        Args:
            prompts: captions, or class numbers for a class-conditional system.
            seed: of the first picture, the others count on from it; or one seed per picture. A picture depends on its
                own seed alone: it is the same in any batch.
            steps, guidance, temperature, top_k, top_p: as the model's preset unless given.
            order: a name (``parvis.planners.PLANNERS``), an :class:`Order` or a function (grid, steps, noise) -> order
                in place of the model's own, for models that take any.
            batch: how many pictures are drawn at once.
            progress: called after every pass with how many are done and how many there will be, over all batches.
        """
        start = time.perf_counter()
        asked, seeds, given = self._read(prompts, n, seed)
        if batch < 1:
            raise UsageError(f"batch is {batch}; draw at least 1 picture at once")
        sampling = self._sampling(temperature, top_k, top_p)
        images: list[Image.Image] = []
        passes = done = 0
        for low in range(0, len(asked), batch):
            part = slice(low, low + batch)
            planner = _planner(order, part, len(asked))
            request = Request(given[part], tuple(seeds[part]), steps, guidance, sampling, order=planner)
            for event in stream(self.system, request, self.device):
                last = event
                if progress is not None:
                    total = done + (event.total or self.system.grid.tokens) * -(-(len(asked) - low) // batch)
                    progress(done + event.index, total)
            passes, done = max(passes, last.index), done + last.index
            images += to_images(pixels(self.system, last.canvas))
        settings: dict[str, object] = {
            "steps": passes,
            "order": order if isinstance(order, str) else "own" if order is None else "custom",
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
        order: str | Order | Planner | None = None,
    ) -> Iterator[Step]:
        """As :meth:`generate`, one :class:`Step` after every pass; ``step.images`` shows the canvas filling up."""
        asked, seeds, given = self._read(prompts, n, seed)
        planner = _planner(order, slice(None), len(asked))
        sampling = self._sampling(temperature, top_k, top_p)
        request = Request(given, tuple(seeds), steps, guidance, sampling, order=planner)
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


def _planner(order: str | Order | Planner | None, part: slice, count: int) -> Planner | None:
    """``order`` as a planner for the pictures ``part`` of ``count``."""
    if isinstance(order, str):
        return find_planner(order)
    if not isinstance(order, Order):
        return order
    if order.positions.ndim == 1:
        return fixed(order)
    return fixed(Order(order.batch(count)[part], order.sizes, order.given, order.before))


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
        name: a bundled model (``emoji-64``; ``emoji`` is the best of them), a model folder, or a published system with
            ``random_weights``.
        device: e.g. ``cpu`` or ``cuda``; the best there is unless given. precision: ``fp32``, ``bf16`` or ``auto``.
        random_weights: a seed: build a published system with random weights (for timing and trying out).

    Raises:
        UnknownName: no such model. WeightsError: a folder that is damaged or does not fit.
    """
    if random_weights is not None:
        config, system = published(str(name)), random_system(str(name), random_weights)
        return Pipeline(system, config=config, device=device, precision=precision)
    folder = find(name, also=PUBLISHED)
    system, words = read_folder(folder)
    config, stored = load_config(folder), kinds_in(folder, system)
    return Pipeline(system, words=words, config=config, stored=stored, device=device, precision=precision)
