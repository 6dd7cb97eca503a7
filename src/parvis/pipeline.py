"""The front door: :func:`load` a model, then ``generate`` and ``stream`` with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from PIL import Image
from torch import Tensor

from parvis.asking import Asked, Asking, Drawing, asked_of
from parvis.assemble import Kinds, kinds_in, kinds_of, published, random_system, read_folder, write_folder
from parvis.data.captions import Words
from parvis.edit import Edit, Source, inpaint, outpaint, vary
from parvis.errors import UsageError
from parvis.generate import pixels, stream
from parvis.model.linear import pack
from parvis.output import to_images
from parvis.packed import shell
from parvis.precision import resolve, resolve_device
from parvis.prompting import Prompts
from parvis.request import Request
from parvis.results import Images, Step
from parvis.system import System
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.packing import pack_convolutions
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
        self.words, self.config = words, config
        self._stored = stored or kinds_of(system)
        self.device = resolve_device(device)
        self.dtype = resolve(precision, self.device)
        for module in (system.tokenizer, *system.models.values()):
            module.to(self.device, self.dtype).eval().requires_grad_(False)
        for model in system.models.values():
            pack(model)
        tokenizer = pack_convolutions(shell(system.tokenizer))
        assert isinstance(tokenizer, Tokenizer)
        self.system = replace(system, tokenizer=tokenizer)

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
        batch: int = 64,
        progress: Callable[[int, int], object] | None = None,
        **asking: Unpack[Asking],
    ) -> Images:
        """Draw ``n`` pictures of every prompt.

        Args:
            prompts: captions, or class numbers for a class-conditional system.
            batch: how many pictures are drawn at once.
            progress: called after every pass with how many are done and how many there will be, over all batches.
            asking: n, seed, steps, guidance, temperature, top_k, top_p, order, features, mask, edit: see
                :class:`Drawing` and :class:`Asking`.

        Raises:
            UsageError: a setting out of range, or one that this system does not have.
        """
        start = time.perf_counter()
        if batch < 1:
            raise UsageError(f"batch is {batch}; draw at least 1 picture at once")
        asked = self.asked(prompts, **asking)
        images: list[Image.Image] = []
        passes = done = 0
        for low in range(0, len(asked), batch):
            for event in stream(self.system, asked.request(slice(low, low + batch)), self.device):
                last = event
                if progress is not None:
                    total = done + (event.total or self.system.grid.tokens) * -(-(len(asked) - low) // batch)
                    progress(done + event.index, total)
            passes, done = max(passes, last.index), done + last.index
            drawn = pixels(self.system, last.canvas)
            images += to_images(drawn if asked.edit is None else asked.edit.pasted(drawn))
        settings = {"steps": passes // (self.system.passes_per_group or 1), **asked.settings}
        seconds = time.perf_counter() - start
        return Images(tuple(images), tuple(asked.prompts), tuple(asked.seeds), passes, seconds, self.name, settings)

    def stream(self, prompts: Prompts = (), **asking: Unpack[Asking]) -> Iterator[Step]:
        """As :meth:`generate`, one :class:`Step` after every pass; ``step.images`` shows the canvas filling up."""
        asked = self.asked(prompts, **asking)
        for event in stream(self.system, asked.request(slice(None)), self.device):
            canvas = event.canvas
            yield Step(event.index, event.total, canvas.known.clone(), canvas.values.clone(), self.system, asked.edit)

    def requests(self, prompts: Prompts = (), **asking: Unpack[Asking]) -> list[Request]:
        """What :meth:`generate` would draw, one request a picture, checked and ready for an engine (``Work``)."""
        return self.asked(prompts, **asking).requests(self.system)

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
        batch: int = 64,
        progress: Callable[[int, int], object] | None = None,
        **drawing: Unpack[Drawing],
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
            batch, progress, drawing: as for :meth:`generate`; ``steps`` unless given are those that the schedule
                has left when that much is known.

        Raises:
            UsageError: not exactly one kind of edit, a mask that does not fit, or a system that cannot keep these
                tokens. DataError: a picture that cannot be read.
        """
        edit = self.prepare(image, mask, margins, keep, feather, crop)
        return self.generate(prompts, batch=batch, progress=progress, edit=edit, **drawing)

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

    def asked(self, prompts: Prompts = (), **asking: Unpack[Asking]) -> Asked:
        """What :meth:`generate` would draw, with the settings that it would record, ready in any portions."""
        return asked_of(self.system, self.words, self.device, self.dtype, prompts, **asking)


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
