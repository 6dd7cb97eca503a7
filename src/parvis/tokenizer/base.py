"""The tokenizer: the pure map between pixels and the values of a canvas.

Shapes: B images, N positions, n positions of one scale, C channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from parvis.errors import UsageError
from parvis.grid import Grid

if TYPE_CHECKING:
    from parvis.canvas import Canvas


class Tokenizer(nn.Module, ABC):
    """Pixels to values and back. Pixels are float in [-1, 1], ``[B, 3, H, W]``.

    ``factor`` is the number of pixels along the side of one token. Values are codes, ``vocabulary`` of them, or, where
    ``channels`` is a number, latents of that many channels (then ``vocabulary`` is 0).
    """

    factor: int
    vocabulary: int
    channels: int | None = None

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return next(self.parameters()).dtype

    def grid(self, height: int, width: int) -> Grid:
        """The grid of a picture of ``height`` x ``width`` pixels, both multiples of ``factor``."""
        self._check_size(height, width)
        return Grid.image(height // self.factor, width // self.factor)

    @abstractmethod
    def encode(self, pixels: Tensor) -> Tensor:
        """Codes ``[B, N]`` (long) or latents ``[B, N, C]`` (float32), in the order of ``grid(H, W)``'s positions."""

    @abstractmethod
    def decode(self, values: Tensor, grid: Grid) -> Tensor:
        """Pixels ``[B, 3, H, W]`` of codes ``[B, N]`` or latents ``[B, N, C]``; not clamped."""

    def show(self, canvas: Canvas, grid: Grid) -> Tensor:
        """Pixels of a canvas that may be part-filled: as ``decode``, so that what is not known shows whatever value 0
        decodes to. Next-scale ones leave out what is not known."""
        return self.decode(canvas.values, grid)

    def stored(self, pixels: Tensor) -> dict[str, Tensor]:
        """What a cache keeps of pictures, by name, ``[B, N, ...]`` each: the codes, or what latents are drawn from."""
        return {"codes": self.encode(pixels)}

    def coding_state(self) -> dict[str, Tensor]:
        """The weights that decide values, by name: all of them, unless a tokenizer knows that some only decode."""
        state: dict[str, Tensor] = self.state_dict()
        return state

    def view(self, canvas: Canvas, scale: int) -> Tensor:
        """What is already known at the positions of ``scale``, ``[B, n, C]``: next-scale tokenizers only."""
        raise UsageError(
            f"{type(self).__name__} has one scale, so it has no view of scale {scale}; "
            "the content framing needs a next-scale tokenizer"
        )

    def _check_size(self, height: int, width: int) -> None:
        if height <= 0 or width <= 0 or height % self.factor or width % self.factor:
            raise UsageError(
                f"a picture of {height}x{width} pixels cannot be tokenized: "
                f"both sides must be positive multiples of {self.factor}; crop or resize it"
            )
