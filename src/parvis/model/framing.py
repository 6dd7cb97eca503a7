"""Framings: how known and asked positions become rows. Group sizes in, :class:`RowPlan` out.

``shift``    feed the last group, its outputs are the next group (raster, PAR);
``query``    feed the last group's values, then one position query for every token asked (LPD, arXiv 2507.01957,
section 3.1);
``interleave`` as ``query``, each query staying in front of its value (RandAR, arXiv 2412.01827);
``apart`` as ``query``, but queries only read (ARPG, arXiv 2503.10568);
``neighbours``  feed the last anti-diagonal, whose tokens answer for those to their right and below (NAR, arXiv
2503.10696);
``content``  every asked position carries the coarse image so far (VAR, arXiv 2404.02905, section 3.2);
``full``     the whole canvas every time: known values, and a query for every unknown position (MAR, arXiv 2406.11838).

xAR's drafts (arXiv 2502.20388) are rows of the query framing without a condition row: what is known, then the draft of
the group that is asked. Known tokens (editing) are groups like any other that are not asked: see ``RowPlan.catch_up``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import lru_cache

from parvis.errors import IncompatibleParts
from parvis.grid import Grid
from parvis.model.plan import NOBODY, NOWHERE, Kind, Row, RowPlan

Framing = Callable[[tuple[int, ...], int], RowPlan]
"""(sizes, prefix rows) -> plan."""


def _last(passes: list[tuple[Row, ...]], sizes: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(range(len(rows) - n, len(rows))) for rows, n in zip(passes, sizes, strict=True))


@lru_cache(maxsize=256)
def shift(sizes: tuple[int, ...], prefix: int = 1) -> RowPlan:
    """Each pass feeds the group before; its last rows answer the next group.

    Where a group is larger than the one before (PAR: 1 -> n), learned EXTRA rows fill up (PAR, arXiv 2412.15119,
    section 3.2: the transition tokens M_1 .. M_{n-1}). All keys stay. Cache slots follow the feeding order.

    Raises:
        IncompatibleParts: a group is smaller than the one before it: its rows would answer more positions than are
            asked.
    """
    passes: list[tuple[Row, ...]] = []
    slot, done = 0, 0
    for index, size in enumerate(sizes):
        feed = [(Kind.COND, i) for i in range(prefix)]
        if index > 0:
            feed = [(Kind.VALUE, r) for r in range(done - sizes[index - 1], done)]
            if size < sizes[index - 1]:
                raise IncompatibleParts(
                    f"group {index} has {size} tokens after a group of {sizes[index - 1]}: the shift framing "
                    "needs groups that never shrink; use an order with such sizes or a model with the query framing"
                )
        fillers = max(0, size - (len(feed) if index > 0 else 1))
        feed += [(Kind.EXTRA, i) for i in range(fillers)]
        passes.append(tuple(Row(kind, rank, index, slot + i) for i, (kind, rank) in enumerate(feed)))
        slot, done = slot + len(feed), done + size
    return RowPlan(sizes, prefix, tuple(passes), _last(passes, sizes))


@lru_cache(maxsize=256)
def query(sizes: tuple[int, ...], prefix: int = 1) -> RowPlan:
    """Each pass feeds the values of the group before, then a position query for every token of the next.

    Queries are provisional: they lie in the cache slots of the tokens they ask about and are overwritten by these
    tokens' own keys in the next pass (LPD, section 3.1 and its released decoder), so the cache holds condition and
    image tokens only.
    """
    passes: list[tuple[Row, ...]] = []
    shown, done = 0, 0
    for index, size in enumerate(sizes):
        rows = [Row(Kind.COND, i, 0, i) for i in range(prefix)] if index == 0 else []
        rows += [Row(Kind.VALUE, r, index, prefix + r) for r in range(shown, done)]
        rows += [Row(Kind.QUERY, r, index + 1, prefix + r, keep=False) for r in range(done, done + size)]
        passes.append(tuple(rows))
        shown, done = done, done + size
    return RowPlan(sizes, prefix, tuple(passes), _last(passes, sizes))


@lru_cache(maxsize=256)
def apart(sizes: tuple[int, ...], prefix: int = 1) -> RowPlan:
    """Each pass feeds the values of the group before, and a query for every token of the next that nothing sees, not
    even another query: it has no key and no cache slot (ARPG). The cache holds condition and image tokens.
    """
    passes: list[tuple[Row, ...]] = []
    shown, done = 0, 0
    for index, size in enumerate(sizes):
        rows = [Row(Kind.COND, i, 0, i) for i in range(prefix)] if index == 0 else []
        rows += [Row(Kind.VALUE, r, index, prefix + r) for r in range(shown, done)]
        rows += [Row(Kind.QUERY, r, index, NOWHERE, keep=False) for r in range(done, done + size)]
        passes.append(tuple(rows))
        shown, done = done, done + size
    return RowPlan(sizes, prefix, tuple(passes), _last(passes, sizes))


@lru_cache(maxsize=256)
def interleave(sizes: tuple[int, ...], prefix: int = 1) -> RowPlan:
    """Query and value of a token side by side, Q_0 V_0 Q_1 V_1 ..; the queries of a pass stand together at the end.

    Only the first of them stands where it will stay. The next pass feeds the others a second time, each in front of its
    value, over the slots of their first place (RandAR's released decoder). Groups of one are the
    sequence that RandAR trains on: nothing is fed twice.
    """
    passes: list[tuple[Row, ...]] = []
    place, done = prefix, 0  # slot of the first query of the group asked last, and its rank
    for index, size in enumerate(sizes):
        rows = [Row(Kind.COND, i, 0, i) for i in range(prefix)] if index == 0 else []
        for i in range(sizes[index - 1] if index else 0):
            known = [Row(Kind.QUERY, done + i, 2 * index, place + 2 * i)] if i else []
            rows += [*known, Row(Kind.VALUE, done + i, 2 * index, place + 2 * i + 1)]
        if index:
            place, done = place + 2 * sizes[index - 1], done + sizes[index - 1]
        rows += [Row(Kind.QUERY, done + i, 2 * index + 1, place + i, keep=i == 0) for i in range(size)]
        passes.append(tuple(rows))
    return RowPlan(sizes, prefix, tuple(passes), _last(passes, sizes))


@lru_cache(maxsize=64)
def neighbours(grid: Grid) -> Framing:
    """The framing of one image's anti-diagonals, for a model with two heads: a token answers for the one to its right
    with the first and for the one below with the second. The last condition row answers for the corner with both.

    Raises:
        IncompatibleParts: the grid is not one plain image; by the framing, that groups are not its diagonals.
    """
    if not grid.flat:
        raise IncompatibleParts(
            f"neighbours are those of one image; the grid has scales {grid.scales}: give a flat one"
        )
    diagonals = [
        [(y, s - y) for y in range(max(0, s - grid.width + 1), min(s, grid.height - 1) + 1)]
        for s in range(grid.height + grid.width - 1)
    ]

    @lru_cache(maxsize=4)
    def frame(sizes: tuple[int, ...], prefix: int = 1) -> RowPlan:
        if sizes != tuple(map(len, diagonals)):
            raise IncompatibleParts(
                f"neighbours of a {grid.height} x {grid.width} image answer diagonal by diagonal, in groups of "
                f"{tuple(map(len, diagonals))}; got groups of {sizes}: use the diagonal order"
            )
        passes = [tuple(Row(Kind.COND, i, 0, i) for i in range(prefix))]
        answers: list[tuple[int, ...]] = [(prefix - 1, prefix - 1)]
        done = 0
        for index, (before, asked) in enumerate(itertools.pairwise(diagonals), start=1):
            ranks = range(done, done + len(before))
            passes.append(tuple(Row(Kind.VALUE, rank, index, prefix + rank) for rank in ranks))
            at = {cell: i for i, cell in enumerate(before)}
            left, above = ([at.get((y - dy, x - dx), NOBODY) for y, x in asked] for dy, dx in ((0, 1), (1, 0)))
            answers.append((*left, *above))
            done += len(before)
        return RowPlan(sizes, prefix, tuple(passes), tuple(answers), heads=2)

    return frame


@lru_cache(maxsize=16)  # a plan has all tokens in every pass: megabytes
def full(sizes: tuple[int, ...], prefix: int = 1) -> RowPlan:
    """Each pass feeds the condition, every known value and a query for every unknown position; those of the group
    answer.

    Nothing is kept: all rows of a pass see one another, so each pass is computed anew (MAR, section 3.4).
    """
    passes: list[tuple[Row, ...]] = []
    answers: list[tuple[int, ...]] = []
    done, tokens = 0, sum(sizes)
    for index, size in enumerate(sizes):
        kinds = [(Kind.COND, i) for i in range(prefix)]
        kinds += [(Kind.VALUE if r < done else Kind.QUERY, r) for r in range(tokens)]
        passes.append(tuple(Row(kind, rank, index, slot, keep=False) for slot, (kind, rank) in enumerate(kinds)))
        answers.append(tuple(range(prefix + done, prefix + done + size)))
        done += size
    return RowPlan(sizes, prefix, tuple(passes), tuple(answers))


@lru_cache(maxsize=256)
def content(sizes: tuple[int, ...], prefix: int = 1) -> RowPlan:
    """Group 0 is answered by the condition rows themselves, every later group by rows that carry the coarse image so
    far. Without condition rows the first group is asked like the others (xAR's training: the content is a draft).

    Raises:
        IncompatibleParts: the first scale has another number of positions than there are condition rows.
    """
    if prefix not in (0, sizes[0]):
        raise IncompatibleParts(
            f"the first scale has {sizes[0]} positions but the condition gives {prefix} rows: the content framing "
            "answers the first scale from the condition; begin the scales with one of that many positions"
        )
    passes: list[tuple[Row, ...]] = []
    done = 0
    for index, size in enumerate(sizes):
        kind = Kind.QUERY if index or not prefix else Kind.COND
        passes.append(tuple(Row(kind, r, index, r) for r in range(done, done + size)))
        done += size
    return RowPlan(sizes, prefix, tuple(passes), _last(passes, sizes))
