"""Where positions lie: one box of ``(t, h, w)`` cells per scale.

One grid serves 1-D sequences, images, pyramids of scales and video. Position index = raster order inside a scale
(t outermost, x innermost), scales one after the other, coarse to fine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from parvis.errors import UsageError


@dataclass(frozen=True)
class Grid:
    """The positions of one image or clip.

    Args:
        scales: one ``(t, h, w)`` of whole numbers >= 1 per scale, coarse to fine.

    Raises:
        UsageError: no scale, or a scale that is not three whole numbers >= 1.
    """

    scales: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        if not self.scales:
            raise UsageError("a grid needs at least one scale; give e.g. Grid.square(16)")
        for scale in self.scales:
            whole = len(scale) == 3 and all(isinstance(n, int) and not isinstance(n, bool) for n in scale)
            if not whole or min(scale) < 1:
                raise UsageError(f"a scale is three whole numbers (t, h, w), each at least 1; got {scale!r}")

    @classmethod
    def square(cls, side: int) -> Grid:
        """One image of ``side x side`` positions."""
        return cls(((1, side, side),))

    @classmethod
    def image(cls, height: int, width: int) -> Grid:
        """One image of ``height x width`` positions (not pixels)."""
        return cls(((1, height, width),))

    @classmethod
    def pyramid(cls, sides: Sequence[int]) -> Grid:
        """Square scales, coarse to fine, e.g. ``(1, 2, 3, 4, 5, 6, 8, 10, 13, 16)`` of VAR."""
        return cls(tuple((1, side, side) for side in sides))

    @property
    def tokens(self) -> int:
        """N: how many positions there are over all scales."""
        return self.offsets[-1]

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """First position of every scale, and N: S + 1 whole numbers."""
        bounds = [0]
        for t, h, w in self.scales:
            bounds.append(bounds[-1] + t * h * w)
        return tuple(bounds)

    @property
    def height(self) -> int:
        """Rows of the last (finest) scale."""
        return self.scales[-1][1]

    @property
    def width(self) -> int:
        """Columns of the last (finest) scale."""
        return self.scales[-1][2]

    @property
    def flat(self) -> bool:
        """Whether this is one plain image: a single scale and t = 1."""
        return len(self.scales) == 1 and self.scales[0][0] == 1

    def coords(self) -> Tensor:
        """Long ``[N, 4]`` on the CPU: (scale, t, y, x) of every position. Cached; do not write to it."""
        return _coords(self)


@lru_cache(maxsize=64)
def _coords(grid: Grid) -> Tensor:
    parts = []
    with torch.device("cpu"):  # also while a model is built on the meta device
        for index, (t, h, w) in enumerate(grid.scales):
            box = torch.cartesian_prod(torch.arange(t), torch.arange(h), torch.arange(w)).reshape(-1, 3)
            parts.append(torch.cat([torch.full((len(box), 1), index), box], dim=1))
        return torch.cat(parts)
