"""The front door: :func:`load` a model, then ``generate`` and ``stream`` with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from parvis.assemble import Kinds, kinds_in, kinds_of, published, random_system, read_folder, write_folder
from parvis.data.captions import Words
from parvis.edit import Edit, Source, inpaint, outpaint, vary
from parvis.errors import UsageError
from parvis.generate import pixels, stream
from parvis.model.context import Given
from parvis.model.linear import pack
from parvis.order import Order
from parvis.output import to_images
from parvis.planners import Planner, as_planner
from parvis.precision import resolve, resolve_device
from parvis.prompting import Prompts, ask
from parvis.request import Request
from parvis.results import Images, Step
from parvis.sampling import Sampling
from parvis.system import System
from parvis.tokenizer.packed import pack_convolutions
from parvis.weights.catalog import locate
from parvis.weights.config import FolderConfig
from parvis.weights.folder import load_config
from parvis.weights.shards import parse_size


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
        self.device = resolve_device(device)
        self.dtype = resolve(precision, self.device)
        for module in (system.tokenizer, *system.models.values()):
            module.to(self.device, self.dtype).eval().requires_grad_(False)
        for model in system.models.values():
            pack(model)
        pack_convolutions(system.tokenizer)

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
        write_folder(folder, self.config, self.system, self.words, self._stored, parse_size(max_shard_size))
        return Path(folder)

    def generate(
        self,
        prompts: Prompts = (),
        *,
        features: Tensor | str | Path | None = None,
        mask: Tensor | None = None,
        n: int = 1,
        seed: int | Sequence[int] = 0,
        steps: int | None = None,
        guidance: float | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        order: str | Order | Planner | None = None,
        edit: Edit | None = None,
        batch: int = 64,
        progress: Callable[[int, int], object] | None = None,
    ) -> Images:
        """Draw ``n`` pictures of every prompt.

        Args:
            prompts: captions, or class numbers for a class-conditional system.
            features: text features [B, n, F] in place of the captions, or a file of them, for a system that takes them;
                mask: which of their rows are words, bool [B, n], all unless given (``parvis/text.py``).
            seed: of the first picture, the others count on from it; or one seed per picture. A picture depends on its
                own seed alone: it is the same in any batch.
            steps, guidance, temperature, top_k, top_p: as the model's preset unless given.
            order: a name (``parvis.planners.PLANNERS``), an :class:`Order` or a function (grid, steps, noise) -> order
                in place of the model's own, for models that take any.
            edit: what of a given picture to keep and what to draw anew; :meth:`edit` makes it.
            batch: how many pictures are drawn at once.
            progress: called after every pass with how many are done and how many there will be, over all batches.
        """
        start = time.perf_counter()
        if batch < 1:
            raise UsageError(f"batch is {batch}; draw at least 1 picture at once")
        sampling = self._sampling(temperature, top_k, top_p)
        asked, seeds, given = ask(self.system, self.words, prompts, n, seed, features, mask)
        request = self._asking(given, seeds, steps, guidance, sampling, order, edit)
        images: list[Image.Image] = []
        passes = done = 0
        for low in range(0, len(asked), batch):
            for event in stream(self.system, request(slice(low, low + batch)), self.device):
                last = event
                if progress is not None:
                    total = done + (event.total or self.system.grid.tokens) * -(-(len(asked) - low) // batch)
                    progress(done + event.index, total)
            passes, done = max(passes, last.index), done + last.index
            drawn = pixels(self.system, last.canvas)
            images += to_images(drawn if edit is None else edit.pasted(drawn))
        settings: dict[str, object] = {
            "steps": passes // (self.system.passes_per_group or 1),
            "order": order if isinstance(order, str) else "own" if order is None else "custom",
            "guidance": self.system.preset.guidance if guidance is None else guidance,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "precision": str(self.dtype).removeprefix("torch."),
            **({} if edit is None else {"edit": edit.what}),
            **({} if features is None else {"features": "given"}),
        }
        seconds = time.perf_counter() - start
        return Images(tuple(images), tuple(asked), tuple(seeds), passes, seconds, self.name, settings)

    def stream(
        self,
        prompts: Prompts = (),
        *,
        features: Tensor | str | Path | None = None,
        mask: Tensor | None = None,
        n: int = 1,
        seed: int | Sequence[int] = 0,
        steps: int | None = None,
        guidance: float | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        order: str | Order | Planner | None = None,
        edit: Edit | None = None,
    ) -> Iterator[Step]:
        """As :meth:`generate`, one :class:`Step` after every pass; ``step.images`` shows the canvas filling up."""
        _, seeds, given = ask(self.system, self.words, prompts, n, seed, features, mask)
        sampling = self._sampling(temperature, top_k, top_p)
        request = self._asking(given, seeds, steps, guidance, sampling, order, edit)
        for event in stream(self.system, request(slice(None)), self.device):
            canvas = event.canvas
            yield Step(event.index, event.total, canvas.known.clone(), canvas.values.clone(), self.system, edit)

    def requests(
        self,
        prompts: Prompts = (),
        *,
        features: Tensor | str | Path | None = None,
        mask: Tensor | None = None,
        n: int = 1,
        seed: int | Sequence[int] = 0,
        steps: int | None = None,
        guidance: float | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        order: str | Order | Planner | None = None,
        edit: Edit | None = None,
    ) -> list[Request]:
        """What :meth:`generate` would draw, one request a picture, checked and ready for an engine (``Work``)."""
        _, seeds, given = ask(self.system, self.words, prompts, n, seed, features, mask)
        sampling = self._sampling(temperature, top_k, top_p)
        request = self._asking(given, seeds, steps, guidance, sampling, order, edit)
        made = [request(slice(i, i + 1)) for i in range(len(seeds))]
        for one in made:
            one.check(self.system)
        return made

    def edit(
        self,
        image: Source,
        prompts: Prompts,
        *,
        mask: Source | Tensor | None = None,
        margins: tuple[int, int, int, int] | None = None,
        keep: float | None = None,
        feather: int = 4,
        crop: bool = False,
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
        """Draw part of a picture anew, without training for it: exactly one of ``mask``, ``margins`` and ``keep``.

        Args:
            image: a picture or its file. prompts: what the edited pictures show.
            mask: inpainting; a picture of the same size, white (or transparent, if it has transparency) where to draw,
                or bool [H, W].
            margins: outpainting; pixels added on the left, top, right and bottom.
            keep: a variation; the share of the tokens that stays, chosen at random for each seed.
            feather: pixels of the seam in which kept pixels fade into drawn ones. crop: of a picture of another shape
                than the model's take the middle.
            steps: passes; those that the model's schedule has left when that much is known, unless given.
            n, seed, guidance, temperature, top_k, top_p, order, batch, progress: as for :meth:`generate`.

        Raises:
            UsageError: not exactly one kind of edit, a mask that does not fit, or a system that cannot keep these
                tokens. DataError: a picture that cannot be read.
        """
        return self.generate(
            prompts, n=n, seed=seed, steps=steps, guidance=guidance, temperature=temperature, top_k=top_k, top_p=top_p,
            order=order, edit=self.prepare(image, mask, margins, keep, feather, crop), batch=batch, progress=progress,
        )  # fmt: skip

    def prepare(
        self,
        image: Source,
        mask: Source | Tensor | None = None,
        margins: tuple[int, int, int, int] | None = None,
        keep: float | None = None,
        feather: int = 4,
        crop: bool = False,
    ) -> Edit:
        """The edit that :meth:`edit` makes, for ``generate(..., edit=)`` and ``stream(..., edit=)``."""
        if sum(part is not None for part in (mask, margins, keep)) != 1:
            raise UsageError("an edit needs exactly one of mask (inpaint), margins (outpaint) and keep (vary)")
        grid, factor = self.system.grid, self.system.tokenizer.factor
        size = (grid.width * factor, grid.height * factor)
        if mask is not None:
            return inpaint(image, mask, size, feather, crop)
        if margins is not None:
            return outpaint(image, margins, size, feather, crop)
        assert keep is not None
        return vary(image, keep, size, crop)

    def _asking(
        self,
        given: Given,
        seeds: Sequence[int],
        steps: int | None,
        guidance: float | None,
        sampling: Sampling,
        order: str | Order | Planner | None,
        edit: Edit | None,
    ) -> Callable[[slice], Request]:
        """The request of some of the pictures; of an edit the picture is encoded once."""
        given, values, known = given.to(self.device), None, None
        if edit is not None:
            known = edit.known(self.system.grid, self.system.tokenizer.factor, seeds).to(self.device)
            with torch.inference_mode():
                values = self.system.tokenizer.encode(edit.pixels.to(self.device, self.dtype))
            values = values.expand(len(seeds), *values.shape[1:])

        def request(part: slice) -> Request:
            planner = as_planner(order, part, len(seeds))
            asked = Request(given[part], tuple(seeds[part]), steps, guidance, sampling, order=planner)
            if values is None or known is None:
                return asked
            return replace(asked, values=values[part], known=known[part])

        return request

    def _sampling(self, temperature: float | None, top_k: int | None, top_p: float | None) -> Sampling:
        preset = self.system.preset.sampling
        return Sampling(
            preset.temperature if temperature is None else temperature,
            preset.top_k if top_k is None else top_k,
            preset.top_p if top_p is None else top_p,
        )


def load(
    name: str | Path, *, device: str | None = None, precision: str | None = None, random_weights: int | None = None
) -> Pipeline:
    """A model ready to draw.

    Args:
        name: a bundled model (``emoji-64``; ``emoji`` is the best of them), a model folder, ``hf:NAME`` on the
            Hub, or a published system with ``random_weights``.
        device: e.g. ``cpu`` or ``cuda``; the best there is unless given. precision: ``fp32``, ``bf16`` or ``auto``.
        random_weights: a seed: build a published system with random weights (for timing and trying out).

    Raises:
        UnknownName: no such model. WeightsError: a folder that is damaged or does not fit, or there are no weights.
    """
    if random_weights is not None:
        config, system = published(str(name)), random_system(str(name), random_weights)
        return Pipeline(system, config=config, device=device, precision=precision)
    folder = locate(name)
    system, words = read_folder(folder)
    config, stored = load_config(folder), kinds_in(folder, system)
    return Pipeline(system, words=words, config=config, stored=stored, device=device, precision=precision)
