"""In which order positions are generated, and which of them together: pure data.

Legend: B images, N positions, K groups; rank = place in the order, 0..N-1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from parvis.errors import UsageError
from parvis.grid import Grid
from parvis.noise import ORDER, Noise


@dataclass(frozen=True, eq=False)
class Order:
    """A permutation of the positions, cut into groups.

    Args:
        positions: long [N] (shared by all images) or [B, N]: the position at every rank.
        sizes: sizes of the groups that are asked, each at least 1; ``given + sum(sizes) == N``.
        given: the first ``given`` ranks are already known (editing) and never asked.
        before: the groups that the given ranks were, where they continue an order; left out, they are one group.

    Raises:
        UsageError: positions are not a permutation (checked on the CPU), or sizes do not fit.
    """

    positions: Tensor
    sizes: tuple[int, ...]
    given: int = 0
    before: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.given > 0 and not self.before:
            object.__setattr__(self, "before", (self.given,))
        if self.positions.dtype != torch.long or self.positions.ndim not in (1, 2):
            shape = list(self.positions.shape)
            raise UsageError(f"positions are long [N] or [B, N]; got {self.positions.dtype} {shape}")
        if self.given < 0 or min(self.sizes, default=0) < 1:
            raise UsageError(f"groups hold at least 1 position and given is at least 0; got {self.sizes}, {self.given}")
        if sum(self.before) != self.given or min(self.before, default=1) < 1:
            raise UsageError(f"the groups before must sum to the {self.given} given positions; got {self.before}")
        if self.given + sum(self.sizes) != self.tokens:
            asked = f"{self.given} given + {sum(self.sizes)} in {len(self.sizes)} groups"
            raise UsageError(f"group sizes must account for all {self.tokens} positions; got {asked}")
        if self.positions.device.type == "cpu" and not _is_permutation(self.positions):
            raise UsageError(f"positions must hold each of 0..{self.tokens - 1} once per image")

    @property
    def tokens(self) -> int:
        """N."""
        return self.positions.shape[-1]

    @cached_property
    def bounds(self) -> tuple[int, ...]:
        """K + 1 ranks: group k is ranks bounds[k]..bounds[k+1]-1; the first is ``given``."""
        bounds = [self.given]
        for size in self.sizes:
            bounds.append(bounds[-1] + size)
        return tuple(bounds)

    def group(self, index: int) -> Tensor:
        """Positions [n] or [B, n] of one group."""
        low, high = self.bounds[index : index + 2]
        return self.positions[..., low:high]

    def to(self, device: torch.device | str) -> Order:
        """This order there; itself where it is there already."""
        positions = self.positions.to(device)
        return self if positions is self.positions else Order(positions, self.sizes, self.given, self.before)

    def inverse(self) -> Tensor:
        """Long like ``positions``: the rank of every position."""
        ranks = torch.arange(self.tokens, device=self.positions.device).expand_as(self.positions)
        return torch.empty_like(self.positions).scatter_(-1, self.positions, ranks)

    def batch(self, size: int) -> Tensor:
        """Positions as long [B, N] for B = ``size`` images.

        Raises:
            UsageError: the order is for another number of images.
        """
        if self.positions.ndim == 2 and len(self.positions) not in (1, size):
            raise UsageError(f"this order is for {len(self.positions)} images, not for {size}")
        return self.positions.expand(size, self.tokens)

    def without(self, known: Tensor) -> Order:
        """The same order for editing: known positions first, never asked; the others keep their order.

        The sizes keep their proportions: cumulative sizes are scaled to what is left and rounded, empty groups dropped.

        Args:
            known: bool [N] or [B, N] by position. Positions already given stay given.

        Raises:
            UsageError: known has another shape, images know unequally many, all is known or nothing is.
        """
        if known.dtype != torch.bool or known.ndim not in (1, 2) or known.shape[-1] != self.tokens:
            raise UsageError(
                f"known is bool [{self.tokens}] or [B, {self.tokens}]; got {known.dtype} {list(known.shape)}"
            )
        if not bool(known.any()):
            raise UsageError("nothing is known; use the order as it is")
        rows = max(1, *(len(x) for x in (self.positions, known) if x.ndim == 2), 1)
        many = 2 in (self.positions.ndim, known.ndim)
        positions = self.batch(rows) if many else self.positions
        by_rank = known.to(positions.device).expand_as(positions).gather(-1, positions)
        by_rank[..., : self.given] = True
        count = _known_alike(by_rank)
        first = (~by_rank).to(torch.uint8).argsort(dim=-1, stable=True)
        return Order(positions.gather(-1, first), _rescale(self.sizes, self.tokens - count), count)


def known_first(known: Tensor | None, tokens: int, batch: int) -> Tensor:
    """The known positions of every image, ascending, long [B, n] on the CPU; n = 0 where nothing is known.

    Args:
        known: bool [N] or [B, N] by position, or ``None``.

    Raises:
        UsageError: known has another shape, images know unequally many, or all is known.
    """
    if known is None:
        return torch.zeros(batch, 0, dtype=torch.long)
    if known.dtype != torch.bool or known.shape not in ((tokens,), (batch, tokens)):
        raise UsageError(f"known is bool [{tokens}] or [{batch}, {tokens}]; got {known.dtype} {list(known.shape)}")
    known = known.cpu().expand(batch, tokens)
    return known.nonzero()[:, 1].reshape(batch, _known_alike(known))


def _known_alike(known: Tensor) -> int:
    """How many of the positions of every image are known, bool [N] or [B, N]: equally many and not all."""
    counts, tokens = known.sum(dim=-1).flatten().tolist(), known.shape[-1]
    if min(counts) != max(counts):
        raise UsageError(f"every image of a batch must know equally many positions; got {min(counts)}..{max(counts)}")
    if counts[0] == tokens:
        raise UsageError(f"all {tokens} positions are known: nothing is left to generate")
    return int(counts[0])


def _is_permutation(positions: Tensor) -> bool:
    tokens = positions.shape[-1]
    if int(positions.min()) < 0 or int(positions.max()) >= tokens:
        return False
    return bool(torch.zeros_like(positions, dtype=torch.bool).scatter_(-1, positions, True).all())


def _rescale(sizes: tuple[int, ...], tokens: int) -> tuple[int, ...]:
    """Sizes that sum to ``tokens``: cumulative sizes scaled and rounded half up, empty groups dropped."""
    total, done, cumulative, scaled = sum(sizes), 0, 0, []
    for size in sizes:
        cumulative += size
        edge = (2 * cumulative * tokens + total) // (2 * total)
        scaled.append(edge - done)
        done = edge
    return tuple(size for size in scaled if size)


def raster(grid: Grid) -> Order:
    """One position at a time: row by row, frame by frame, scale by scale (LlamaGen)."""
    return Order(torch.arange(grid.tokens), (1,) * grid.tokens)


def random(grid: Grid, sizes: Sequence[int], noise: Noise) -> Order:
    """A uniformly random permutation [B, N] per image (RandAR, ARPG, MAR); it depends on the image's seed only."""
    return Order(noise.permutation(grid.tokens, ORDER), tuple(sizes))


def scales(grid: Grid) -> Order:
    """A whole scale at a time (VAR, FlexVAR, HMAR, Infinity)."""
    return Order(torch.arange(grid.tokens), tuple(t * h * w for t, h, w in grid.scales))


def regions(grid: Grid, parallel: int) -> Order:
    """PAR (arXiv 2412.15119): the same local position of every region together.

    The grid is cut into R x R regions, R^2 = ``parallel``. Local positions in raster order; inside a group, regions in
    raster order. The first group is asked one by one (it fixes how regions relate), all others at once: ``parallel`` +
    (N - ``parallel``) / ``parallel`` passes. Several frames: frame by frame, only the first group one by one.

    Raises:
        UsageError: several scales, ``parallel`` not a square, or R does not divide height and width.
    """
    _one_scale(grid, "the regions order")
    side = math.isqrt(max(parallel, 0))
    if parallel < 1 or side * side != parallel:
        raise UsageError(f"parallel is a square number of regions (1, 4, 9, 16 ..); got {parallel}")
    frames, height, width = grid.scales[0]
    if height % side or width % side:
        raise UsageError(f"{side} x {side} regions must divide the grid; it is {height} x {width}")
    cells = torch.arange(grid.tokens).reshape(frames, side, height // side, side, width // side)
    positions = cells.permute(0, 2, 4, 1, 3).reshape(-1)
    return Order(positions, (1,) * parallel + (parallel,) * (grid.tokens // parallel - 1))


def cells(grid: Grid, side: int) -> Order:
    """xAR (arXiv 2502.20388): one cell of ``side`` x ``side`` positions at a time; cells, and positions inside a cell,
    in raster order.

    Raises:
        UsageError: the grid is not one plain image, or ``side`` does not divide height and width.
    """
    if not grid.flat:
        raise UsageError(f"the cell order is for one image; the grid has scales {grid.scales}")
    if side < 1 or grid.height % side or grid.width % side:
        raise UsageError(f"cells of {side} x {side} must divide the grid; it is {grid.height} x {grid.width}")
    boxes = torch.arange(grid.tokens).reshape(grid.height // side, side, grid.width // side, side)
    count = grid.tokens // side**2
    return Order(boxes.permute(0, 2, 1, 3).reshape(-1), (side**2,) * count)


def diagonals(grid: Grid) -> Order:
    """NAR (arXiv 2503.10696): one anti-diagonal t + y + x = const at a time, rows ascending: T + H + W - 2 groups.

    Raises:
        UsageError: several scales.
    """
    _one_scale(grid, "the diagonal order")
    plane = grid.coords()[:, 1:].sum(dim=1)
    return Order(plane.argsort(stable=True), tuple(plane.bincount().tolist()))


def halton(grid: Grid, sizes: Sequence[int], noise: Noise | None = None) -> Order:
    """Low-discrepancy order (Halton scheduler, arXiv 2503.17076): every prefix covers the image evenly.

    Points of the Halton sequence (base 2 down, base 3 across) visit the cells they fall in, revisits skipped. Without
    ``noise`` one order [N] for all; with it each image's points are shifted round the image by its own random offset.

    Raises:
        UsageError: the grid is not one plain image.
    """
    if not grid.flat:
        raise UsageError(f"the halton order is for one image; the grid has scales {grid.scales}")
    points = torch.tensor(_halton_cells(grid.height, grid.width))
    if noise is None:
        return Order(points[:, 0] * grid.width + points[:, 1], tuple(sizes))
    box = torch.tensor([grid.height, grid.width])
    shift = (noise.uniform(torch.arange(2, device=noise.device), draw=ORDER).cpu() * box).long()
    y, x = ((points + shift[:, None]) % box).unbind(-1)
    return Order((y * grid.width + x).to(noise.device), tuple(sizes))


def _halton_cells(height: int, width: int) -> list[tuple[int, int]]:
    """All cells (y, x) in the order in which the sequence first visits them; what it is slow to reach comes last."""
    cells: dict[tuple[int, int], None] = {}
    for index in range(1, 8 * height * width):
        cells[int(_radical_inverse(index, 2) * height), int(_radical_inverse(index, 3) * width)] = None
    cells.update(dict.fromkeys((y, x) for y in range(height) for x in range(width)))
    return list(cells)


def _radical_inverse(index: int, base: int) -> float:
    """The digits of ``index`` mirrored at the point: a number in [0, 1)."""
    value, unit = 0.0, 1.0 / base
    while index:
        index, digit = divmod(index, base)
        value, unit = value + digit * unit, unit / base
    return value


def _one_scale(grid: Grid, what: str) -> None:
    if len(grid.scales) != 1:
        raise UsageError(f"{what} is for a single scale; the grid has {len(grid.scales)}")
