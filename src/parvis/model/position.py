"""Where a row lies: learned vectors added to it, or rotations of its queries and keys (RoPE), n-D alike.

Legend: B images, R rows, N positions, D width, d head width, E angles per head (d / 2).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from parvis.grid import Grid


class LearnedPositions(nn.Module):
    """One learned vector per position, and per prefix row, added to every row.

    Args:
        grid: the positions.
        width: D.
        prefix: number of prefix rows with vectors of their own in front of the table (LPD: 1); 0 where the condition
            brings its own.
        overlap: prefix row i stands at position i instead (VAR: the start row is the first scale).
        levels: add one learned vector per scale as well (VAR).
    """

    level_of: Tensor

    def __init__(self, grid: Grid, width: int, prefix: int, *, overlap: bool = False, levels: bool = False) -> None:
        super().__init__()
        self.prefix, self.offset = prefix, 0 if overlap else prefix
        self.table = nn.Parameter(torch.zeros(self.offset + grid.tokens, width))
        self.level = nn.Parameter(torch.zeros(len(grid.scales), width)) if levels else None
        self.register_buffer("level_of", grid.coords()[:, 0].clone(), persistent=False)

    def at(self, positions: Tensor) -> Tensor:
        """Vectors of ``positions`` [...] -> [..., D]."""
        vectors = self.table[positions + self.offset]
        return vectors if self.level is None else vectors + self.level[self.level_of[positions]]

    def of_prefix(self, ranks: Tensor) -> Tensor | None:
        """Vectors of the prefix rows ``ranks`` [T] -> [T, D]; ``None`` where the condition brings its own."""
        if self.prefix == 0:
            return None
        return self.at(ranks) if self.offset == 0 else self.table[ranks]


class Rotary(nn.Module):
    """n-D rotary positions: the head's angles are shared out evenly over the axes, first axis first.

    f_k = theta^(-2k/(d/axes)), k = 0 .. E/axes - 1; the angle of pair j is coordinate * f. Pairs are adjacent channels
    (2j, 2j+1). Rows without a position (condition, fillers) get cos = sin = 0, so their queries and keys vanish: what
    LlamaGen, PAR and NAR checkpoints were trained with. It makes condition rows indistinguishable to attention, which
    a class can bear and a caption of several words cannot: ``vanish=False`` leaves them unturned instead.

    Args:
        grid: gives coordinates (scale, t, y, x).
        head_width: d, divisible by 2 * len(axes).
        axes: which coordinates turn, e.g. (2, 3) for rows and columns.
        theta: base. vanish: whether rows without a position vanish or stay unturned.
    """

    bits: Tensor

    def __init__(
        self,
        grid: Grid,
        head_width: int,
        axes: tuple[int, ...] = (2, 3),
        theta: float = 10000.0,
        *,
        vanish: bool = True,
    ) -> None:
        super().__init__()
        self.vanish = vanish
        share = head_width // (2 * len(axes))
        assert share * 2 * len(axes) == head_width, "head width does not divide over the axes"
        frequency = theta ** (-torch.arange(share, dtype=torch.float32, device="cpu") / share)
        coordinates = grid.coords()[:, list(axes)].float()
        angles_NE = (coordinates[:, :, None] * frequency).flatten(1)
        # as whole numbers, so that `model.to(torch.bfloat16)` does not round the angles (15 rad to 1/16)
        self.register_buffer("bits", angles_NE.view(torch.int32), persistent=False)

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """(cos, sin), float32 [..., E] each whatever the model computes in, for ``positions`` [...]."""
        angles = self.bits.view(torch.float32)[positions]
        return angles.cos(), angles.sin()

    def nowhere(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(cos, sin), float32 [..., E] each, for rows without a position, shaped as ``rows`` [...]."""
        shape = (*rows.shape, self.bits.shape[1])
        sin = torch.zeros(shape, device=rows.device)
        return sin if self.vanish else torch.ones_like(sin), sin


def turned_by_heads(x_BnD: Tensor, turn: tuple[Tensor, Tensor], heads: int) -> Tensor:
    """Vectors turned as queries and keys are, every head's share of the channels by ``turn`` = (cos, sin) [B, n, E].

    RandAR's position instruction tokens (arXiv 2412.01827): one learned vector, turned to a position.
    """
    x_BHnd = x_BnD.view(*x_BnD.shape[:2], heads, -1).transpose(1, 2)
    return rotate(x_BHnd, (turn[0][:, None], turn[1][:, None])).transpose(1, 2).flatten(-2)


def rotate(x_BHRd: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate adjacent channel pairs by ``turn`` = (cos, sin), [B or 1, 1, R, E]; computed in float32, returned in x's
    type."""
    cos, sin = turn
    even, odd = x_BHRd.float().view(*x_BHRd.shape[:-1], -1, 2).unbind(-1)
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2).type_as(x_BHRd)
