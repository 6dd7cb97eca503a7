"""Row plans: what a pass may see through the cache is what its rows see in teacher forcing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parvis import order
from parvis.grid import Grid
from parvis.model.framing import Framing, apart, content, full, interleave, neighbours, query, shift
from parvis.model.plan import NOWHERE, Kind, Row, RowPlan, Rows, Rule
from parvis.model.visibility import (
    diagonal_causal,
    group_causal,
    kept_causal,
    own_group,
    peers_and_context,
    slot_causal,
)

CPU = torch.device("cpu")
Name = tuple[int, int, int]
sizes_of = st.lists(st.integers(1, 5), min_size=1, max_size=6)


def diagonals(sizes: tuple[int, ...], prefix: int = 1) -> RowPlan:
    """The plan of a flat image whose diagonals have these sizes."""
    return neighbours(Grid.image(max(sizes), len(sizes) + 1 - max(sizes)))(sizes, prefix)


PAIRS: dict[str, tuple[Framing, Rule]] = {
    "shift": (shift, group_causal),
    "raster": (shift, slot_causal),
    "query": (query, peers_and_context),
    "content": (content, group_causal),
    "interleave": (interleave, kept_causal),
    "apart": (apart, group_causal),
    "neighbours": (diagonals, diagonal_causal),
    "draft": (lambda sizes, prefix: query(sizes, 0), peers_and_context),
    "noisy context": (lambda sizes, prefix: content(sizes, 0), group_causal),
}


def fit(name: str, sizes: list[int]) -> tuple[int, ...]:
    """Sizes that the framing takes."""
    return {
        "shift": (1, *sorted(sizes)),
        "raster": (1,) * sum(sizes),
        "query": tuple(sizes),
        "content": (1, *sizes),
        "interleave": tuple(sizes),
        "apart": tuple(sizes),
        "neighbours": order.diagonals(Grid.image(len(sizes), sizes[0])).sizes,
        "draft": tuple(sizes),
        "noisy context": tuple(sizes),
    }[name]


def names(rows: Rows) -> list[Name]:
    """(kind, rank, slot) of every row, in row order, those without a key last; fillers of two growths differ by their
    slot alone."""
    pieces = [(int(kind), rank) for kind, ranks in rows.ranks.items() for rank in ranks.tolist()]
    listed = pieces if rows.arrange is None else [pieces[i] for i in rows.arrange.tolist()]
    slots = rows.slots.tolist() + [NOWHERE] * (rows.count - rows.keyed)
    return [(*piece, slot) for piece, slot in zip(listed, slots, strict=True)]


def seen(rows: Rows, keys: list[Name | None]) -> dict[Name, set[Name | None]]:
    """What every row sees, given what lies in each key's place."""
    mask = torch.ones(rows.count, len(keys), dtype=torch.bool) if rows.mask is None else rows.mask
    assert mask.shape == (rows.count, len(keys))
    return {
        name: {key for key, ok in zip(keys, line, strict=True) if ok}
        for name, line in zip(names(rows), mask.tolist(), strict=True)
    }


class Slots:
    """A cache that remembers who wrote each slot last: stale rows included."""

    def __init__(self, plan: RowPlan) -> None:
        self.content: list[Name | None] = [None] * plan.slots

    def feed(self, rows: Rows) -> dict[Name, set[Name | None]]:
        for slot, name in zip(rows.slots.tolist(), names(rows)[: rows.keyed], strict=True):
            self.content[slot] = name
        return seen(rows, self.content[: rows.length])


def whole(plan: RowPlan, rule: Rule) -> dict[Name, set[Name | None]]:
    rows = plan.whole(rule, CPU)
    return seen(rows, list(names(rows)[: rows.keyed]))


def answered(rows: Rows) -> list[object]:
    """The row that answers each rank; of several heads the row and the share of each."""
    listed = names(rows)
    if rows.share is None:
        return [listed[i] for i in rows.answers.tolist()]
    pairs = torch.stack([rows.answers, rows.share], -1).transpose(0, 1).tolist()
    return [tuple((listed[int(i)], share) if share else None for i, share in line) for line in pairs]


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=20)
@given(sizes=sizes_of)
def test_steps_see_what_teacher_forcing_sees(name: str, sizes: list[int]) -> None:
    framing, rule = PAIRS[name]
    plan = framing(fit(name, sizes), 1)
    everything, slots = whole(plan, rule), Slots(plan)
    for index in range(len(plan.sizes)):
        rows = plan.step(index, rule, CPU)
        for row, keys in slots.feed(rows).items():
            assert keys == everything[row]
        assert rows.asked == (sum(plan.sizes[:index]), sum(plan.sizes[: index + 1]))
        assert len(answered(rows)) == plan.sizes[index]


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=20)
@given(sizes=sizes_of, data=st.data())
def test_catching_up_ends_where_single_steps_end(name: str, sizes: list[int], data: st.DataObject) -> None:
    framing, rule = PAIRS[name]
    plan = framing(fit(name, sizes), 1)
    last = data.draw(st.integers(0, len(plan.sizes) - 1))
    first = data.draw(st.integers(0, last))
    stepwise, caught, everything = Slots(plan), Slots(plan), whole(plan, rule)
    for index in range(last + 1):
        step = plan.step(index, rule, CPU)
        stepwise.feed(step)
        if index < first:
            caught.feed(step)
    rows = plan.catch_up(first, last, rule, CPU)
    for row, keys in caught.feed(rows).items():
        assert keys == everything[row]
    assert caught.content == stepwise.content
    assert answered(rows) == answered(step) and rows.asked == step.asked


@settings(max_examples=20)
@given(tokens=st.integers(2, 9), prefix=st.integers(1, 3), data=st.data())
def test_a_window_answers_every_rank_and_sees_the_guesses_before_it(
    tokens: int, prefix: int, data: st.DataObject
) -> None:
    plan = shift((1,) * tokens, prefix)
    start = data.draw(st.integers(0, tokens - 1))
    first, last = data.draw(st.integers(0, start)), data.draw(st.integers(start, tokens - 1))
    slots, everything = Slots(plan), whole(plan, slot_causal)
    for index in range(first):
        slots.feed(plan.step(index, slot_causal, CPU))
    rows = plan.window(first, start, last, slot_causal, CPU)
    for row, keys in slots.feed(rows).items():
        assert keys == everything[row]
    assert rows.asked == (start, last + 1)
    assert answered(rows) == [
        (Kind.VALUE, rank - 1, prefix + rank - 1) if rank else (Kind.COND, prefix - 1, prefix - 1)
        for rank in range(start, last + 1)
    ]


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=20)
@given(sizes=sizes_of)
def test_teacher_forcing_answers_every_rank_once_in_order(name: str, sizes: list[int]) -> None:
    framing, rule = PAIRS[name]
    plan = framing(fit(name, sizes), 1)
    rows = plan.whole(rule, CPU)
    stepwise = [row for index in range(len(plan.sizes)) for row in answered(plan.step(index, rule, CPU))]
    assert answered(rows) == stepwise and len(stepwise) == sum(plan.sizes)
    assert rows.asked == (0, sum(plan.sizes)) and not rows.cached


@settings(max_examples=20)
@given(sizes=sizes_of, prefix=st.integers(0, 3), data=st.data())
def test_the_full_framing_shows_the_whole_canvas(sizes: list[int], prefix: int, data: st.DataObject) -> None:
    """Every pass: the condition, the known values, a query for all else; all see all; the group's queries answer."""
    plan, tokens = full(tuple(sizes), prefix), sum(sizes)
    index = data.draw(st.integers(0, len(sizes) - 1))
    known, asked = sum(sizes[:index]), sum(sizes[: index + 1])
    first = data.draw(st.integers(0, index))
    for rows in (plan.step(index, own_group, CPU), plan.catch_up(first, index, own_group, CPU)):
        listed = [(Kind.COND, i) for i in range(prefix)]
        listed += [(Kind.VALUE if r < known else Kind.QUERY, r) for r in range(tokens)]
        assert [name[:2] for name in names(rows)] == listed
        assert rows.mask is None and rows.count == rows.length == prefix + tokens
        assert [name[1] for name in answered(rows)] == list(range(known, asked)) and rows.asked == (known, asked)
        assert all(kind == Kind.QUERY for kind, _, _ in answered(rows))


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=20)
@given(sizes=sizes_of, data=st.data())
def test_a_group_asked_again_sees_what_it_saw(name: str, sizes: list[int], data: st.DataObject) -> None:
    """Only what answers or does not stay is fed once more, to the same keys; the cache is left as it was."""
    framing, rule = PAIRS[name]
    plan = framing(fit(name, sizes), 1)
    index = data.draw(st.integers(0, len(plan.sizes) - 1))
    slots = Slots(plan)
    for earlier in range(index + 1):
        step = plan.step(earlier, rule, CPU)
        before = slots.feed(step)
    left, again = list(slots.content), plan.again(index, rule, CPU)
    for row, keys in slots.feed(again).items():
        assert keys == before[row]
    assert answered(again) == answered(step) and again.asked == step.asked
    assert slots.content == left
    if name == "draft":
        assert again.count == plan.sizes[index]  # the values of the group before are in the cache
    assert plan.again(index, rule, CPU) is again


def test_rows_are_made_once() -> None:
    plan = query((1, 3))
    assert plan.step(1, peers_and_context, CPU) is plan.step(1, peers_and_context, CPU)
    assert plan.step(1, peers_and_context, CPU) is not plan.step(1, group_causal, CPU)
    assert query((1, 3)) is plan


def test_rows_that_see_everything_need_no_mask() -> None:
    assert content((1, 4, 9), 1).step(2, group_causal, CPU).mask is None
    assert query((1, 3, 5)).step(1, peers_and_context, CPU).mask is not None  # values do not see the queries


def test_rows_without_a_key_come_last_and_take_no_slot() -> None:
    plan = apart((2, 3), 1)
    assert plan.slots == 3  # the last group is never fed
    for rows in (plan.step(1, group_causal, CPU), plan.whole(group_causal, CPU)):
        assert rows.tail and rows.count - rows.keyed == rows.asked[1] - rows.asked[0]
        assert [slot for _, _, slot in names(rows)[rows.keyed :]] == [NOWHERE] * (rows.count - rows.keyed)
    assert plan.step(1, group_causal, CPU).mask is None


def test_rows_of_one_pass_cannot_share_a_slot() -> None:
    plan = RowPlan((1,), 1, ((Row(Kind.COND, 0, 0, 0), Row(Kind.QUERY, 0, 0, 0)),), ((1,),))
    with pytest.raises(AssertionError, match="share a cache slot"):
        plan.step(0, group_causal, CPU)


def test_answers_that_are_not_the_last_rows_are_picked() -> None:
    rows = tuple(Row(Kind.QUERY, rank, 0, rank) for rank in (1, 0, 2))
    made = RowPlan((2,), 0, (rows,), ((1, 0),)).step(0, group_causal, CPU)
    hidden = torch.arange(3.0).view(1, 3, 1)
    assert not made.tail and made.answering(hidden).flatten().tolist() == [1, 0]
