"""The order of LPD (arXiv 2507.01957, "Locality-aware Generation Ordering").

Two principles. Proximity to what is known: a cell with generated neighbours is easier to predict. Repulsion inside a
group: cells predicted together should be far apart, since they are drawn independently. Every image gets its own order,
made when it is asked for, from its own seed.

Legend: B images, N cells, K groups; a cell is its raster index.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parvis.errors import UsageError
from parvis.grid import Grid
from parvis.noise import ORDER, Noise
from parvis.order import Order, known_first

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


def lpd(
    grid: Grid,
    sizes: Sequence[int],
    noise: Noise,
    proximity: float = 1.0,
    repulsion: float = 2.0,
    known: Tensor | None = None,
) -> Order:
    """LPD's order [B, N]: one per image, a function of the image's seed (and of what is known) alone.

    The first cell is random. Every later group: (1) score the free cells, 1 for each generated edge neighbour and
    1 / sqrt(2) for each diagonal one, and sort them by score, ties at random; (2) take cells that score at least
    ``proximity`` one after the other, leaving out those within ``repulsion`` (Chebyshev) of a cell already in the
    group; (3) if the group is still short, fill it with the cells farthest (Euclidean) from the group so far. If the
    first group holds more than one cell, the others are found by (3). Known cells count as generated before the first
    group, which then is found like the later ones.

    Args:
        grid: one plain image; need not be square.
        sizes: group sizes, summing to N, or to what is left where cells are known.
        noise: one seed per image.
        proximity: tau >= 0. Published: 1.
        repulsion: rho >= 0, in cells. Published: 2 (L, XL at 256), 3 (XXL), 4 (at 512).
        known: bool [N] or [B, N], equally many in every image: they come first, as given.

    Raises:
        UsageError: the grid is not one plain image, the sizes do not sum to N, or a threshold is negative.
    """
    return _orders(grid, tuple(sizes), noise, Rule(proximity, repulsion), known)


def proximity_only(grid: Grid, sizes: Sequence[int], noise: Noise, known: Tensor | None = None) -> Order:
    """LPD's first principle alone (its ablation): a group takes the cells that score highest, however near."""
    return _orders(grid, tuple(sizes), noise, Rule(proximity=0.0, repulsion=0.0), known)


def repulsion_only(
    grid: Grid, sizes: Sequence[int], noise: Noise, repulsion: float = 2.0, known: Tensor | None = None
) -> Order:
    """LPD's second principle alone (its ablation): cells are tried in random order, wherever the context is."""
    return _orders(grid, tuple(sizes), noise, Rule(0.0, repulsion, scored=False), known)


def _orders(grid: Grid, sizes: tuple[int, ...], noise: Noise, rule: Rule, known: Tensor | None) -> Order:
    if not grid.flat:
        raise UsageError(f"the locality order is for one image; the grid has scales {grid.scales}")
    if not (rule.proximity >= 0 and rule.repulsion >= 0):
        raise UsageError(f"proximity and repulsion are at least 0; got {rule.proximity} and {rule.repulsion}")
    tokens, steps = grid.tokens, len(sizes)
    first = known_first(known, tokens, len(noise.seeds))
    left = tokens - first.shape[1]
    if sum(sizes) != left or min(sizes, default=0) < 1:
        raise UsageError(f"group sizes are at least 1 and sum to {left}; got {sizes} (sum {sum(sizes)})")
    draws = noise.uniform(torch.arange(tokens, device=noise.device), ORDER, steps + 1).cpu().numpy()  # [B, N, K + 1]
    ties = (draws * 2**24).astype(np.int64) * tokens + np.arange(tokens)[:, None]  # distinct within a step
    starts = draws[..., steps].astype(float).tolist()
    made = [
        walk(grid, sizes, rule, tie.T, partial(_start, u), given.tolist())
        for tie, u, given in zip(ties, starts, first, strict=True)
    ]
    return Order(torch.from_numpy(np.array(made)).to(noise.device), sizes, first.shape[1])


def _start(uniforms: list[float], step: int, free: int) -> int:
    return int(uniforms[step] * free)


def walk(
    grid: Grid,
    sizes: Sequence[int],
    rule: Rule,
    ties: Ints,
    begin: Callable[[int, int], int],
    given: Sequence[int] = (),
) -> list[int]:
    """One order, all chance taken from outside.

    Args:
        ties: int64 [K, N]: of equal scores in step k, the cell with the smaller number comes first; 0 <= ties < 2^56.
        begin: (step, number of candidates n) -> 0..n-1: which candidate begins a group in which nothing was picked.
            Step 0 begins with that cell unless cells are given.
        given: cells that are known; the order begins with them.
    """
    board = _board(grid.height, grid.width, rule)
    neighbours = np.zeros(grid.tokens, np.int8)
    free = np.arange(grid.tokens)
    unknown = np.ones(grid.tokens, bool)
    order = list(given)
    if order:
        neighbours += board.weights.take(order, axis=0).sum(axis=0, dtype=np.int8)
        unknown[order] = False
        free = free[unknown]
    for step, size in enumerate(sizes):
        ranks = board.ranks.take(neighbours.take(free))
        ranked = free.take((ranks + ties[step].take(free)).argsort())
        if step or given:
            close = int(np.count_nonzero(ranks < board.close))
            picks, others = _spread(ranked, close, size, board)
        else:
            picks = [begin(0, grid.tokens)]
            others = ranked[ranked != picks[0]]
        if len(picks) < size:
            _fill(picks, others, size, board.squared, partial(begin, step))
        order += picks
        neighbours += board.weights.take(picks, axis=0).sum(axis=0, dtype=np.int8)
        unknown[picks] = False
        free = free[unknown.take(free)]
    return order


@dataclass(frozen=True, eq=False)
class _Board:
    """What a grid and a rule fix.

    bits, balls: for every cell, the bit of the cell and the bits of the cells that it repels.
    squared [N, N]: squared distances.
    weights [N, N]: 5 for edge neighbours, 1 for diagonal ones; the sum over known cells names a score.
    ranks [25]: the rank of the score so named, best first, times 2^56, so that ties can be added.
    close: the first rank that scores below tau, times 2^56.
    """

    bits: tuple[int, ...]
    balls: tuple[int, ...]
    squared: Ints
    weights: Ints
    ranks: Ints
    close: int


@lru_cache(maxsize=8)
def _board(height: int, width: int, rule: Rule) -> _Board:
    whole = np.int16 if height**2 + width**2 < 1 << 15 else np.int32
    rows: Ints = np.repeat(np.arange(height), width).astype(whole)
    columns: Ints = np.tile(np.arange(width), height).astype(whole)
    down: Ints = abs(rows[:, None] - rows)
    across: Ints = abs(columns[:, None] - columns)
    squared: Ints = down * down + across * across
    balls = np.packbits(np.maximum(down, across) <= rule.repulsion, axis=1, bitorder="little")
    scores = [edge + diagonal * math.sqrt(0.5) if rule.scored else 0.0 for edge in range(5) for diagonal in range(5)]
    distinct = sorted(set(scores), reverse=True)
    return _Board(
        bits=tuple(1 << cell for cell in range(height * width)),
        balls=tuple(int.from_bytes(row.tobytes(), "little") for row in balls),
        squared=squared,
        weights=(5 * (squared == 1) + (squared == 2)).astype(np.int8),
        ranks=np.array([distinct.index(score) << 56 for score in scores]),
        close=sum(score >= rule.proximity for score in distinct) << 56,
    )


def _spread(ranked: Ints, close: int, size: int, board: _Board) -> tuple[list[int], Ints]:
    """Greedy picks from the first ``close`` cells, none repelled by another; the cells left, in the order to try.

    Nothing is left to try once ``size`` are picked.
    """
    picks: list[int] = []
    rejected: list[int] = []
    blocked = 0
    for cell in ranked[:close].tolist():
        if blocked & board.bits[cell]:
            rejected.append(cell)
            continue
        picks.append(cell)
        if len(picks) == size:
            return picks, ranked[:0]
        blocked |= board.balls[cell]
    return picks, np.concatenate([ranked[close:], np.array(rejected, ranked.dtype)])


def _fill(picks: list[int], others: Ints, size: int, squared: Ints, begin: Callable[[int], int]) -> None:
    """Farthest point sampling: add the cells of ``others`` farthest from all picks, the first of equals."""
    if len(others) <= size - len(picks):
        picks += others.tolist()
        return
    if not picks:
        picks.append(int(others[begin(len(others))]))
    away = squared.take(picks, axis=0).min(axis=0).take(others)
    while len(picks) < size:
        cell = int(others[away.argmax()])
        picks.append(cell)
        np.minimum(away, squared[cell].take(others), out=away)
