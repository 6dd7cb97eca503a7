"""Framings: which rows each pass feeds, written out."""

from __future__ import annotations

import pytest

from parvis.errors import IncompatibleParts
from parvis.grid import Grid
from parvis.model.framing import apart, content, interleave, neighbours, query, shift
from parvis.model.plan import NOBODY, NOWHERE, Kind, RowPlan

LETTERS = {Kind.COND: "c", Kind.VALUE: "v", Kind.QUERY: "q", Kind.EXTRA: "m"}


def written(plan: RowPlan) -> list[str]:
    """One word per row: kind, rank, @ cache slot; ``-`` where the key does not stay; no slot where there is no key."""
    return [
        " ".join(
            f"{LETTERS[row.kind]}{row.rank}"
            + ("" if row.slot == NOWHERE else f"@{row.slot}")
            + ("" if row.keep else "-")
            for row in rows
        )
        for rows in plan.passes
    ]


def answering(plan: RowPlan) -> list[list[int]]:
    return [list(answers) for answers in plan.answers]


def test_shift_one_by_one_feeds_the_token_before() -> None:
    plan = shift((1, 1, 1), 2)
    assert written(plan) == ["c0@0 c1@1", "v0@2", "v1@3"]
    assert answering(plan) == [[1], [0], [0]]
    assert plan.slots == 4


def test_shift_fills_a_group_that_grows_with_learned_rows() -> None:
    plan = shift((1, 1, 3, 3), 1)
    assert written(plan) == ["c0@0", "v0@1", "v1@2 m0@3 m1@4", "v2@5 v3@6 v4@7"]
    assert answering(plan) == [[0], [0], [0, 1, 2], [0, 1, 2]]


def test_shift_of_a_first_group_of_many_fills_behind_the_condition() -> None:
    plan = shift((3,), 2)
    assert written(plan) == ["c0@0 c1@1 m0@2 m1@3"]
    assert answering(plan) == [[1, 2, 3]]


def test_shift_refuses_groups_that_shrink() -> None:
    with pytest.raises(IncompatibleParts, match="group 2 has 1 tokens after a group of 2"):
        shift((1, 2, 1), 1)


def test_query_asks_in_the_slots_of_the_tokens_asked() -> None:
    plan = query((1, 2, 3), 1)
    assert written(plan) == [
        "c0@0 q0@1-",
        "v0@1 q1@2- q2@3-",
        "v1@2 v2@3 q3@4- q4@5- q5@6-",
    ]
    assert answering(plan) == [[1], [1, 2], [2, 3, 4]]
    assert plan.slots == 7  # the condition and one per token


def test_query_takes_groups_of_any_size() -> None:
    assert [len(rows) for rows in query((5, 1, 2), 3).passes] == [3 + 5, 5 + 1, 1 + 2]


def test_interleave_feeds_queries_again_in_front_of_their_values() -> None:
    plan = interleave((1, 3, 2), 1)
    assert written(plan) == [
        "c0@0 q0@1",
        "v0@2 q1@3 q2@4- q3@5-",
        "v1@4 q2@5 v2@6 q3@7 v3@8 q4@9 q5@10-",
    ]
    assert answering(plan) == [[1], [1, 2, 3], [5, 6]]
    assert plan.slots == 11


def test_interleave_of_groups_of_one_feeds_nothing_twice() -> None:
    """RandAR's training sequence: class, P_1, X_1, P_2 .. P_N."""
    assert written(interleave((1, 1, 1), 1)) == ["c0@0 q0@1", "v0@2 q1@3", "v1@4 q2@5"]


def test_apart_asks_without_keys() -> None:
    plan = apart((1, 3, 2), 1)
    assert written(plan) == ["c0@0 q0-", "v0@1 q1- q2- q3-", "v1@2 v2@3 v3@4 q4- q5-"]
    assert answering(plan) == [[1], [1, 2, 3], [3, 4]]


def test_neighbours_answer_to_their_right_and_below() -> None:
    """A 2 x 3 image: diagonals (0 0), (0 1)(1 0), (0 2)(1 1), (1 2); the first head answers to the right."""
    plan = neighbours(Grid.image(2, 3))((1, 2, 2, 1), 2)
    assert written(plan) == ["c0@0 c1@1", "v0@2", "v1@3 v2@4", "v3@5 v4@6"]
    assert answering(plan) == [[1, 1], [0, NOBODY, NOBODY, 0], [0, 1, NOBODY, 0], [1, 0]]
    assert neighbours(Grid.image(2, 3)) is neighbours(Grid.image(2, 3))


def test_neighbours_refuse_other_groups_and_grids() -> None:
    with pytest.raises(IncompatibleParts, match=r"in groups of \(1, 2, 2, 1\); got groups of \(2, 2, 2\)"):
        neighbours(Grid.image(2, 3))((2, 2, 2), 1)
    with pytest.raises(IncompatibleParts, match="neighbours are those of one image"):
        neighbours(Grid.pyramid((1, 2)))


def test_content_answers_the_first_scale_from_the_condition() -> None:
    plan = content((1, 2), 1)
    assert written(plan) == ["c0@0", "q1@1 q2@2"]
    assert answering(plan) == [[0], [0, 1]]


def test_content_refuses_a_condition_that_is_not_the_first_scale() -> None:
    with pytest.raises(IncompatibleParts, match="the first scale has 4 positions but the condition gives 1 rows"):
        content((4, 9), 1)
