"""Conditions as rows: the null condition, stacking it, dropping to it, and what each condition refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from parvis.errors import UsageError
from parvis.model.context import (
    ClassCondition,
    Condition,
    Context,
    Features,
    FeaturesCondition,
    LatentNullCondition,
    WordsCondition,
)

CLASSES = torch.tensor([4, 0, 2])


def filled(condition: Condition) -> Condition:
    for index, parameter in enumerate([*condition.parameters(), *condition.buffers()]):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(index))
    return condition


def features(visible: list[list[int]], seed: int = 0) -> Features:
    shown = torch.tensor(visible).bool()
    return Features(torch.randn(*shown.shape, 6, generator=torch.Generator().manual_seed(seed)), shown)


CASES: list[tuple[Condition, object]] = [
    (filled(ClassCondition(5, 8)), CLASSES),
    (filled(ClassCondition(5, 8, start=True)), CLASSES),
    (filled(LatentNullCondition(5, 8)), CLASSES),
    (filled(WordsCondition(7, 3, 8)), torch.tensor([[1, 2, 0], [6, 0, 0], [3, 3, 3]])),
    (filled(FeaturesCondition(6, 3, 8)), features([[1, 1, 1], [0, 1, 1], [0, 0, 1]])),
]
every = pytest.mark.parametrize(("condition", "given"), CASES, ids=lambda x: type(x).__name__)


@every
def test_the_null_condition_does_not_depend_on_what_is_given(condition: Condition, given: object) -> None:
    context, null = condition(given), condition.null(given)
    condition.check(given)
    assert context.rows.shape == null.rows.shape == (3, condition.prefix, 8)
    assert (null.rows == null.rows[:1]).all()
    assert all(not torch.equal(row, other) for row, other in zip(context.rows, null.rows, strict=True))
    assert len({tuple(row.flatten().tolist()) for row in context.rows}) == 3


@every
def test_stack_puts_the_null_condition_behind(condition: Condition, given: object) -> None:
    context, null = condition(given), condition.null(given)
    both = context.stack(null)
    assert both.copies == 2
    assert torch.equal(both.rows, torch.cat([context.rows, null.rows]))
    assert (both.vector is None) == (context.vector is None)
    if context.vector is not None and both.vector is not None and null.vector is not None:
        assert torch.equal(both.vector, torch.cat([context.vector, null.vector]))
    if context.visible is not None:
        assert both.visible is not None
        assert torch.equal(both.visible, context.visible.repeat(2, 1))  # the prompt's padding holds for both


@every
def test_drop_replaces_whole_images(condition: Condition, given: object) -> None:
    context, null = condition(given), condition.null(given)
    dropped = context.drop(torch.tensor([False, True, False]), null)
    for part in ("rows", "vector"):
        ours, real, absent = (getattr(c, part) for c in (dropped, context, null))
        if real is not None:
            assert torch.equal(ours[0], real[0]) and torch.equal(ours[1], absent[1]) and torch.equal(ours[2], real[2])


def test_stack_shows_everything_where_only_one_side_is_padded() -> None:
    padded = Context(torch.zeros(2, 3, 4), torch.tensor([[False, True, True], [True, True, True]]))
    both = Context(torch.zeros(2, 3, 4)).stack(padded)
    assert both.visible is not None
    assert both.visible.tolist() == [[True] * 3, [True] * 3, [False, True, True], [True] * 3]


def test_the_start_vector_is_in_the_row_and_not_in_the_norms() -> None:
    condition = CASES[1][0]
    context = condition(CLASSES)
    assert isinstance(condition, ClassCondition) and condition.start is not None and context.vector is not None
    torch.testing.assert_close(context.rows - context.vector[:, None], condition.start.expand(3, 1, 8))


@pytest.mark.parametrize(
    ("condition", "given", "message"),
    [
        (0, torch.tensor([0, 5]), r"classes are numbers from 0 to 4; got 0 to 5"),
        (2, torch.tensor([-1]), r"got -1 to -1"),
        (0, torch.tensor([[1], [2]]), r"whole numbers \[B\]; got torch.int64 \[2, 1\]"),
        (0, torch.tensor([0.5]), r"got torch.float32 \[1\]"),
        (0, "cat", r"got str"),
        (3, torch.tensor([[1, 2]]), r"words are a tensor of whole numbers \[B, 3\]; got torch.int64 \[1, 2\]"),
        (3, torch.tensor([[1, 7, 0]]), r"words are numbers from 0 to 6; got 0 to 7"),
        (4, torch.tensor([1]), r"Features with values \[B, 3, 6\]; got Tensor"),
        (4, Features(torch.zeros(1, 4, 6), torch.ones(1, 4).bool()), r"got \[1, 4, 6\]"),
        (4, Features(torch.zeros(1, 3, 6), torch.ones(1, 3)), r"bool \[1, 3\]; got torch.float32 \[1, 3\]"),
    ],
)
def test_what_a_condition_cannot_use_is_refused(condition: int, given: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CASES[condition][0].check(given)
