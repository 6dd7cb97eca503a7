"""Every mask of a whole plan against the formula as the paper (or its released code) writes it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parvis.grid import Grid
from parvis.model.framing import apart, content, interleave, neighbours, query, shift
from parvis.model.plan import Kind, Row, RowPlan, Rule, Slice
from parvis.model.visibility import (
    diagonal_causal,
    group_causal,
    kept_causal,
    own_group,
    peers_and_context,
    slot_causal,
)
from parvis.order import diagonals, regions, scales

CPU = torch.device("cpu")


def mask(plan: RowPlan, rule: Rule) -> torch.Tensor:
    """bool [R, R] of all rows, also where all is visible."""
    rows = plan.whole(rule, CPU)
    return torch.ones(rows.count, rows.count, dtype=torch.bool) if rows.mask is None else rows.mask


def flat(plan: RowPlan) -> list[Row]:
    return [row for rows in plan.passes for row in rows]


@settings(max_examples=30)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_lpd(sizes: list[int]) -> None:
    """LPD lays out [class, tokens but the last group] ++ [queries], context groups 0, 2, 4 .., query groups 1, 3, 5 ..;
    allow(q, k) iff id[q] == id[k] or (id[k] < id[q] and k is context)."""
    tokens, last = sum(sizes), sizes[-1]
    context = 1 + tokens - last
    ids = [0] + [2 * (i + 1) for i, size in enumerate(sizes[:-1]) for _ in range(size)]
    ids += [2 * i + 1 for i, size in enumerate(sizes) for _ in range(size)]
    allowed = torch.tensor(
        [[ids[q] == ids[k] or (ids[k] < ids[q] and k < context) for k in range(len(ids))] for q in range(len(ids))]
    )
    plan = query(tuple(sizes))
    place = {Kind.COND: lambda rank: 0, Kind.VALUE: lambda rank: 1 + rank, Kind.QUERY: lambda rank: context + rank}
    at = torch.tensor([place[row.kind](row.rank) for row in flat(plan)])
    assert sorted(at.tolist()) == list(range(len(ids)))
    assert torch.equal(mask(plan, peers_and_context), allowed[at][:, at])


@pytest.mark.parametrize(("side", "parallel"), [(4, 4), (6, 4), (8, 16), (6, 9), (4, 1)])
def test_par(side: int, parallel: int) -> None:
    """PAR's input is [class, T_0 .. T_{n-1}, M_1 .. M_{n-1}, T_n ..]: lower triangular, and rows n + i n to
    n + (i+1) n - 1 see all columns below n + (i+1) n. Its last n - 1 rows answer nothing; they are not made here."""
    order = regions(Grid.square(side), parallel)
    plan, n, rows = shift(order.sizes), parallel, side * side
    names = (
        ["class"] + [f"T{i}" for i in range(n)] + [f"M{i}" for i in range(n - 1)] + [f"T{i}" for i in range(n, rows)]
    )
    allowed = torch.ones(rows, rows, dtype=torch.bool).tril()
    for row in range(n, rows):
        allowed[row, : n + ((row - n) // n + 1) * n] = True
    letter = {Kind.COND: lambda rank: "class", Kind.VALUE: "T{}".format, Kind.EXTRA: "M{}".format}
    assert [letter[row.kind](row.rank) for row in flat(plan)] == names[:rows]
    assert torch.equal(mask(plan, group_causal), allowed)


@pytest.mark.parametrize("sides", [(1, 2, 3, 4, 5), (1, 3, 4), (1,)])
def test_var(sides: tuple[int, ...]) -> None:
    """VAR: a position sees all positions of its own scale and of every coarser one."""
    grid = Grid.pyramid(sides)
    level = grid.coords()[:, 0]
    plan = content(scales(grid).sizes)
    assert [row.rank for row in flat(plan)] == list(range(grid.tokens))
    assert torch.equal(mask(plan, group_causal), level[None] <= level[:, None])


@pytest.mark.parametrize("prefix", [1, 5])
def test_raster(prefix: int) -> None:
    """LlamaGen: lower triangular over condition and tokens."""
    plan = shift((1,) * 9, prefix)
    assert torch.equal(mask(plan, slot_causal), torch.ones(prefix + 8, prefix + 8, dtype=torch.bool).tril())


@pytest.mark.parametrize("prefix", [1, 4])
def test_randar_trains_plainly_causal(prefix: int) -> None:
    plan = interleave((1,) * 7, prefix)
    assert torch.equal(mask(plan, kept_causal), torch.ones(prefix + 13, prefix + 13, dtype=torch.bool).tril())


@settings(max_examples=30)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_randar_decodes_causally_over_what_stays(sizes: list[int]) -> None:
    """A pass attends causally to class, P_1, X_1 .. P_d, X_d and the queries asked; what earlier passes asked stands
    there in its final place only."""
    plan = interleave(tuple(sizes))
    rows, seen, done = flat(plan), mask(plan, kept_causal), 0
    at = {id(row): i for i, row in enumerate(rows)}
    final = {(row.kind, row.rank): row for row in rows if row.keep or row.rank >= sum(sizes[:-1])}
    for index, size in enumerate(sizes):
        line = [final[Kind.COND, 0]]
        line += [final[kind, rank] for rank in range(done) for kind in (Kind.QUERY, Kind.VALUE)]
        asked = plan.passes[index][-size:]
        expected = torch.zeros(size, len(rows), dtype=torch.bool)
        expected[:, [at[id(row)] for row in line]] = True
        for i in range(size):
            expected[i, [at[id(row)] for row in asked[: i + 1]]] = True
        assert torch.equal(seen[[at[id(row)] for row in asked]], expected)
        done += size
    fed = [row for row in rows if row.kind == Kind.VALUE]
    for row in fed:
        visible = {(rows[j].kind, rows[j].rank) for j in seen[at[id(row)]].nonzero()[:, 0].tolist()}
        pairs = {(kind, rank) for rank in range(row.rank + 1) for kind in (Kind.QUERY, Kind.VALUE)}
        assert visible == {(Kind.COND, 0)} | pairs and len(visible) == int(seen[at[id(row)]].sum())


def test_arpg_trains_causally_in_both_halves() -> None:
    """ARPG: known row i sees rows 0 .. i, query i sees rows 0 .. i (the class is row 0, the first token row 1)."""
    rows = apart((1,) * 6).whole(group_causal, CPU)
    causal = torch.ones(6, 6, dtype=torch.bool).tril()
    assert rows.mask is not None and torch.equal(rows.mask, torch.cat([causal, causal]))


@pytest.mark.parametrize(("height", "width", "prefix"), [(4, 4, 1), (3, 5, 1), (5, 2, 4), (1, 6, 2)])
def test_nar(height: int, width: int, prefix: int) -> None:
    """NAR: a token sees the condition and every token whose y + x is not above its own; the condition is causal. The
    last token answers nothing; it has no row."""
    grid = Grid.image(height, width)
    plan = neighbours(grid)(diagonals(grid).sizes, prefix)
    cells = [divmod(position, width) for position in diagonals(grid).positions.tolist()][:-1]
    distance = [-1] * prefix + [y + x for y, x in cells]
    rows = range(len(distance))
    allowed = [[j <= i if i < prefix else distance[j] <= distance[i] for j in rows] for i in rows]
    assert torch.equal(mask(plan, diagonal_causal), torch.tensor(allowed))


def test_own_group() -> None:
    rows = [Row(Kind.VALUE, i, group, i) for i, group in enumerate((0, 0, 1, 2, 2))]
    seen = own_group(Slice.of(rows), Slice.of(rows))
    assert torch.equal(seen, torch.block_diag(torch.ones(2, 2), torch.ones(1, 1), torch.ones(2, 2)).bool())
