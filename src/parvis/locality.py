"""The locality-aware order of LPD (arXiv 2507.01957, section 3.2).

Two principles. Proximity to what is known: a cell with generated neighbours is easier to predict. Repulsion inside a
group: cells predicted together should be far apart, since they are drawn independently. Every image gets its own order,
made when it is asked for, from its own seed.

Legend: B images, N cells, K groups; a cell is its raster index.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from parvis.errors import UsageError
from parvis.grid import Grid
from parvis.noise import ORDER, Noise
from parvis.order import Order

Ints = NDArray[np.signedinteger[Any]]


@dataclass(frozen=True)
class Rule:
    """What makes a good group.

    Args:
        proximity: tau; cells that score at least this are tried first.
        repulsion: rho; cells of one greedy pick are further apart than this (Chebyshev); 0 = no repulsion.
        scored: False = all cells score alike.
    """

    proximity: float = 1.0
    repulsion: float = 2.0
    scored: bool = True


def lpd(grid: Grid, sizes: Sequence[int], noise: Noise, proximity: float = 1.0, repulsion: float = 2.0) -> Order:
    """LPD's order [B, N]: one per image, a function of the image's seed alone.

    The first cell is random. Every later group: (1) score the free cells, 1 for each generated edge neighbour and
    1 / sqrt(2) for each diagonal one, and sort them by score, ties at random; (2) take cells that score at least
    ``proximity`` one after the other, leaving out those within ``repulsion`` (Chebyshev) of a cell already in the
    group; (3) if the group is still short, fill it with the cells farthest (Euclidean) from the group so far. If the
    first group holds more than one cell, the others are found by (3).

    Args:
        grid: one plain image; need not be square.
        sizes: group sizes, summing to N.
        noise: one seed per image.
        proximity: tau >= 0. Published: 1.
        repulsion: rho >= 0, in cells. Published: 2 (L, XL at 256), 3 (XXL), 4 (at 512).

    Raises:
        UsageError: the grid is not one plain image, the sizes do not sum to N, or a threshold is negative.
    """
    return _orders(grid, tuple(sizes), noise, Rule(proximity, repulsion))


def proximity_only(grid: Grid, sizes: Sequence[int], noise: Noise) -> Order:
    """Ablation of LPD (table 4): the first principle alone. A group takes the cells that score highest, however near."""
    return _orders(grid, tuple(sizes), noise, Rule(proximity=0.0, repulsion=0.0))


def repulsion_only(grid: Grid, sizes: Sequence[int], noise: Noise, repulsion: float = 2.0) -> Order:
    """Ablation of LPD (table 4): the second principle alone. Cells are tried in random order, wherever the context is."""
    return _orders(grid, tuple(sizes), noise, Rule(0.0, repulsion, scored=False))


def _orders(grid: Grid, sizes: tuple[int, ...], noise: Noise, rule: Rule) -> Order:
    if not grid.flat:
        raise UsageError(f"the locality order is for one image; the grid has scales {grid.scales}")
    if sum(sizes) != grid.tokens or min(sizes, default=0) < 1:
        raise UsageError(f"group sizes are at least 1 and sum to {grid.tokens}; got {sizes} (sum {sum(sizes)})")
    if not (rule.proximity >= 0 and rule.repulsion >= 0):
        raise UsageError(f"proximity and repulsion are at least 0; got {rule.proximity} and {rule.repulsion}")
    tokens, steps = grid.tokens, len(sizes)
    cells = torch.arange(tokens, device=noise.device)
    draws = noise.uniform(cells, ORDER, steps).cpu().double().transpose(1, 2)
    ties = ((draws * 2**24).long() * tokens + cells.cpu()).numpy()  # distinct, [B, K, N]
    firsts = noise.uniform(cells[:1], ORDER + 1, steps + 1)[:, 0].double().cpu().tolist()
    made = [
        walk(grid, sizes, rule, int(u[steps] * tokens), tie, lambda step, free, u=u: int(u[step] * free))
        for u, tie in zip(firsts, ties, strict=True)
    ]
    return Order(torch.tensor(made, device=noise.device), sizes)


def walk(
    grid: Grid, sizes: Sequence[int], rule: Rule, first: int, ties: Ints, start: Callable[[int, int], int]
) -> list[int]:
    """One order, all chance taken from outside.

    Args:
        first: the first cell.
        ties: int64 [K, N]: of equal scores in step k, the cell with the smaller number comes first; 0 <= ties < 2^56.
        start: (step, how many candidates) -> which candidate begins a group in which nothing was picked.
    """
    board = _board(grid.height, grid.width, rule)
    known = np.zeros((grid.height + 2, grid.width + 2), np.int8)  # with a border of unknown cells
    inside = known[1:-1, 1:-1]
    order: list[int] = []
    for step, size in enumerate(sizes):
        ranked, close = _candidates(known, board, ties[step])
        if step:
            picks, others = _spread(ranked, close, size, board)
        else:
            picks, others = [first], ranked[ranked != first]
        if len(picks) < size:
            _fill(picks, others, size, board.squared, lambda free, step=step: start(step, free))
        order += picks
        inside[board.rows[picks], board.columns[picks]] = 1
    return order


@dataclass(frozen=True, eq=False)
class _Board:
    """What a grid and a rule fix: for every cell, the bit of the cell and the bits of its repulsion ball; squared
    distances [N, N]; rows and columns [N]; rank of every score (best first), by 5 x edge + diagonal neighbours; how many
    ranks are close enough."""

    bits: tuple[int, ...]
    balls: tuple[int, ...]
    squared: Ints
    rows: Ints
    columns: Ints
    ranks: Ints
    close: int


@lru_cache(maxsize=16)
def _board(height: int, width: int, rule: Rule) -> _Board:
    rows, columns = (a.ravel() for a in np.indices((height, width)))
    down, across = abs(rows[:, None] - rows), abs(columns[:, None] - columns)
    near = np.maximum(down, across) <= rule.repulsion
    balls = tuple(int.from_bytes(np.packbits(row, bitorder="little").tobytes(), "little") for row in near)
    scores = [edge + diagonal * math.sqrt(0.5) if rule.scored else 0.0 for edge in range(5) for diagonal in range(5)]
    distinct = sorted(set(scores), reverse=True)
    ranks = np.array([distinct.index(score) for score in scores])
    close = sum(score >= rule.proximity for score in distinct)
    bits = tuple(1 << cell for cell in range(height * width))
    return _Board(bits, balls, (down**2 + across**2).astype(np.int32), rows, columns, ranks, close)


def _candidates(known: NDArray[np.int8], board: _Board, ties: Ints) -> tuple[Ints, int]:
    """The free cells, best score first, and how many of them are close to what is known."""
    above, here, below = known[:-2], known[1:-1], known[2:]
    left, centre, right = slice(0, -2), slice(1, -1), slice(2, None)
    edges = above[:, centre] + below[:, centre] + here[:, left] + here[:, right]
    diagonals = above[:, left] + above[:, right] + below[:, left] + below[:, right]
    free = np.flatnonzero(here[:, centre] == 0)
    ranks = board.ranks[(5 * edges + diagonals).ravel()[free]]
    ranked = free[((ranks << 56) + ties[free]).argsort()]
    return ranked, int((ranks < board.close).sum())


def _spread(ranked: Ints, close: int, size: int, board: _Board) -> tuple[list[int], Ints]:
    """Greedy picks from the close cells, none within the ball of another; and the cells left, in the order to try."""
    picks: list[int] = []
    rejected: list[int] = []
    blocked, tried = 0, 0
    for cell in ranked[:close].tolist():
        if len(picks) == size:
            break
        tried += 1
        if blocked & board.bits[cell]:
            rejected.append(cell)
        else:
            picks.append(cell)
            blocked |= board.balls[cell]
    return picks, np.concatenate([ranked[close:], np.array(rejected, ranked.dtype), ranked[tried:close]])


def _fill(picks: list[int], others: Ints, size: int, squared: Ints, start: Callable[[int], int]) -> None:
    """Farthest point sampling: add to ``picks`` the cells of ``others`` farthest from all picks, the first of equals."""
    if len(others) <= size - len(picks):
        picks += others.tolist()
        return
    if not picks:
        picks.append(int(others[start(len(others))]))
    away = squared[np.ix_(picks, others)].min(axis=0)
    while len(picks) < size:
        cell = int(others[away.argmax()])
        picks.append(cell)
        np.minimum(away, squared[cell].take(others), out=away)
