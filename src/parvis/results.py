"""What a pipeline gives back: finished pictures, and the canvas pass by pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from parvis.canvas import Canvas
from parvis.edit import Edit
from parvis.generate import pixels
from parvis.output import Origin, save_png, to_images
from parvis.system import System


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
    _edit: Edit | None = None

    @property
    def images(self) -> list[Image.Image]:
        """The canvas decoded; what is not known yet is white. Of an edit the kept pixels are those of the picture."""
        drawn = pixels(self._system, Canvas(self._codes, self.known))
        return unfinished(self._system, drawn, self.known, self._edit)


def unfinished(system: System, drawn: Tensor, known: Tensor, edit: Edit | None) -> list[Image.Image]:
    """Pictures of part-filled canvases of a flat grid, white where nothing is known (other grids: as they decode).

    Args:
        drawn: what the canvases decode to, [B, 3, H, W]. known: bool [B, N]. edit: whose kept pixels are pasted over.
    """
    if system.grid.flat:
        mask = known.view(-1, 1, system.grid.height, system.grid.width)
        mask = mask.repeat_interleave(system.tokenizer.factor, 2).repeat_interleave(system.tokenizer.factor, 3)
        drawn = torch.where(mask, drawn, torch.ones_like(drawn))
    return to_images(drawn if edit is None else edit.pasted(drawn))
