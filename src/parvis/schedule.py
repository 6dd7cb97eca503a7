"""How many positions each group holds.

LPD ships tables of group sizes for 256 and 1024 tokens; they are data here, exact (:func:`published`). Elsewhere the
rule behind them applies (:func:`cosine`): few tokens while little is known, more later.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

from parvis.errors import UsageError

# LPD's tables (mit-han-lab/lpd, MIT licence), run-length coded: "4x9" is nine groups of four. ";" lies between tables.
_TABLES = {
    256: """
        1x256;
        1x41 2x46 3x41;
        1x10 2x7 3x7 4x9 5x11 6x20;
        1x2 2x2 3x2 4 5x2 6x2 7x2 8x2 9x2 10x3 11x4 12x8;
        1 2 3 4 5 6 7 8 9 10 11x2 12 13 14x3 15x2 16x3 17x2;
        1 2 4 5 7 8 10 11 12 14 15 16 17 18x2 19x2 20x3;
        1 4 6 8 11 13 15 17 19 20 22 23 24x3 25;
        1 7 11 15 19 22 25 28 30 32 33x2;
        1 15 24 32 40 45 49 50""",
    1024: """
        1x1024;
        1x162 2x188 3x162;
        1x39 2x28 3x31 4x34 5x44 6x80;
        1x32 2x21 3x21 4x24 5x27 6x37 7x62;
        1x22 2x15 3x16 4x16 5x19 6x21 7x27 8x55 10;
        1x15 2x11 3x10 4x12 5x12 6x13 7x14 8x17 9x23 10x33;
        1x10 2x6 3x7 4x7 5x7 6x7 7x8 8x9 9x9 10x11 11x14 12x26 13x7;
        1x5 2x4 3x4 4x4 5x3 6x4 7x4 8x5 9x4 10x4 11x6 12x5 13x6 14x7 15x8 16x13 17x10;
        1x4 2x2 3x3 4x2 5x3 6x3 7x2 8x3 9x3 10x3 11x3 12x3 13x3 14x4 15x4 16x4 17x6 18x6 19x7 20x12;
        1x2 2x2 3x2 4 5x2 6x2 7 8x2 9x2 10x2 11 12x2 13x2 14x2 15x2 16x2 17x2 18x3 19x2 20x3 21x3 22x3 23x5 24x6
        25x8;
        1x2 2 3 4x2 5 6 7 8x2 9 10 11x2 12 13 14x2 15 16x2 17 18x2 19x2 20 21x2 22x2 23x2 24x2 25x3 26x3 27x5
        28x6 29x3;
        1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23x2 24 25 26x2 27 28x2 29x2 30x2 31x2 32x3
        33x7 34;
        1 2 4 6 7 9 10 12 13 15 16 18 19 20 22 23 24 26 27 28 29 30 31 32 33 34 35x2 36 37x2 38x2 39x3 40x4;
        1 4 6 9 11 13 16 18 20 23 25 27 29 31 33 35 36 38 40 41 42 44 45 46 47 48x2 49x2 50x3""",
}


@lru_cache(maxsize=1)
def _published() -> dict[tuple[int, int], tuple[int, ...]]:
    """{(tokens, steps): sizes} of every published table."""
    tables = {}
    for tokens, text in _TABLES.items():
        for table in text.split(";"):
            runs = [word.partition("x") for word in table.split()]
            sizes = tuple(int(size) for size, _, count in runs for _ in range(int(count or 1)))
            tables[tokens, len(sizes)] = sizes
    return tables


def published_steps(tokens: int) -> tuple[int, ...]:
    """The numbers of groups that LPD has a table for: 9 for 256 tokens, 14 for 1024, none for others."""
    return tuple(sorted(steps for count, steps in _published() if count == tokens))


def published(tokens: int, steps: int) -> tuple[int, ...]:
    """LPD's own table for ``tokens`` (256 or 1024) in ``steps`` groups.

    Raises:
        UsageError: there is no such table; the message lists those there are.
    """
    tables = _published()
    if (tokens, steps) not in tables:
        have = ", ".join(str(k) for n, k in sorted(tables) if n == tokens)
        hint = f"there are tables of {have} steps" if have else f"there are tables for {sorted(_TABLES)} tokens"
        raise UsageError(f"no published table for {tokens} tokens in {steps} steps; {hint}, or use cosine()")
    return tables[tokens, steps]


@lru_cache(maxsize=256)
def cosine(tokens: int, steps: int) -> tuple[int, ...]:
    """Group sizes by LPD's rule: ``N (cos(pi (i-1) / 2K) - cos(pi i / 2K))``, i = 1..K, rounded, then made to fit.

    To fit: the first group is 1 (if K > 1), none is below 1, sizes never decrease and sum to N. What rounding and these
    limits leave over or short is settled one by one where the size is farthest from the rule.

    Args:
        tokens: N, at least 1.
        steps: K, in 1..N.

    Raises:
        UsageError: ``steps`` out of range.
    """
    _check(tokens, steps)
    if steps == 1:
        return (tokens,)
    edges = [tokens * math.cos(math.pi * i / (2 * steps)) for i in range(steps + 1)]
    ideal = [a - b for a, b in itertools.pairwise(edges)]
    sizes = [1, *(max(1, round(x)) for x in ideal[1:])]
    short = tokens - sum(sizes)
    sign = 1 if short > 0 else -1
    heap = [(sign * (sizes[i] - ideal[i]), -i) for i in range(1, steps) if sign > 0 or sizes[i] > 1]
    heapq.heapify(heap)
    for _ in range(abs(short)):
        error, i = heapq.heappop(heap)
        sizes[-i] += sign
        if sign > 0 or sizes[-i] > 1:
            heapq.heappush(heap, (error + 1, i))
    return tuple(sorted(sizes))


def group_sizes(tokens: int, steps: int) -> tuple[int, ...]:
    """The published table if there is one for (tokens, steps), else :func:`cosine`."""
    return _published().get((tokens, steps)) or cosine(tokens, steps)


@lru_cache(maxsize=256)
def one_then_cosine(tokens: int, steps: int) -> tuple[int, ...]:
    """RandAR's released decoder: one token, then up to ``int(N (1 - cos(pi s / 2K)) + 1)`` in all after pass s = 2..K,
    at least one more every pass. 256 tokens in 88 passes begin with 24 groups of one and end with groups of 4 and 5.

    Args:
        tokens: N, at least 1.
        steps: K, in 1..N; there are always K groups.

    Raises:
        UsageError: ``steps`` out of range.
    """
    _check(tokens, steps)
    if steps == 1:
        return (tokens,)
    sizes, done = [1], 1
    for s in range(2, steps + 1):
        total = int((1.0 - math.cos(math.pi / 2 * s / steps)) * tokens + 1)
        sizes.append(min(max(1, total - done), tokens - done))
        done += sizes[-1]
    return tuple(sizes)


@lru_cache(maxsize=256)
def remaining_arccos(tokens: int, steps: int) -> tuple[int, ...]:
    """ARPG's recommended decoder: ``int(N acos(s / K) / (pi / 2))`` tokens are left after pass s = 1..K, at least one
    less every pass. Groups grow slowly and the last is large: 256 tokens in 64 passes are 3, 3, 2, .. 10, 12, 28.

    Args:
        tokens: N, at least 1. steps: K, in 1..N; there are always K groups.

    Raises:
        UsageError: ``steps`` out of range.
    """
    _check(tokens, steps)
    return _leaving(tokens, [int(tokens * math.acos(s / steps) / (math.pi / 2)) for s in range(1, steps + 1)])


@lru_cache(maxsize=256)
def remaining_cosine(tokens: int, steps: int) -> tuple[int, ...]:
    """ARPG's other schedule, MaskGIT's and MAR's: ``int(N cos(pi s / 2K))`` tokens are left after pass s = 1..K, at
    least one less every pass. Arguments and errors as of :func:`remaining_arccos`."""
    _check(tokens, steps)
    return _leaving(tokens, [int(tokens * math.cos(math.pi / 2 * s / steps)) for s in range(1, steps + 1)])


def _leaving(tokens: int, left: list[int]) -> tuple[int, ...]:
    """Sizes of groups that leave ``left`` tokens after each pass; every pass takes one at least, the last takes all."""
    sizes, remaining = [], tokens
    for count in left[:-1]:
        after = max(1, min(count, remaining - 1))
        sizes.append(remaining - after)
        remaining = after
    return (*sizes, remaining)


def constant(tokens: int, size: int) -> tuple[int, ...]:
    """Groups of ``size`` positions; the last is smaller if ``size`` does not divide ``tokens``.

    Raises:
        UsageError: ``tokens`` < 1 or ``size`` outside 1..tokens.
    """
    if tokens < 1 or not 1 <= size <= tokens:
        raise UsageError(f"a group holds 1..{tokens} of {tokens} tokens; got {size}")
    full, rest = divmod(tokens, size)
    return (size,) * full + ((rest,) if rest else ())


def tail(sizes: Sequence[int], left: int) -> tuple[int, ...]:
    """The end of a schedule that covers the last ``left`` tokens: what remains of it where the others are known.

    The first group may be a part of one.

    Raises:
        UsageError: ``left`` outside 1..sum(sizes).
    """
    if not 1 <= left <= sum(sizes):
        raise UsageError(f"1..{sum(sizes)} tokens can be left; got {left}")
    kept: list[int] = []
    for size in reversed(sizes):
        if left == 0:
            break
        kept.append(min(size, left))
        left -= kept[-1]
    return tuple(reversed(kept))


def _check(tokens: int, steps: int) -> None:
    if tokens < 1 or not 1 <= steps <= tokens:
        raise UsageError(f"{tokens} tokens take 1..{tokens} steps; got {steps}")
