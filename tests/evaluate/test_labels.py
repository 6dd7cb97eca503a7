"""Names of points: each in the frame, none on another, on a point or on a bar, as long as there is room."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from parvis.evaluate.labels import Box, place

FRAME = Box(0, 0, 720, 460)


@pytest.mark.parametrize("seed", range(5))
def test_a_crowd_of_points_has_names_that_can_be_read(seed: int) -> None:
    chance = random.Random(seed)
    points = [(chance.uniform(200, 420), chance.uniform(150, 300), f"system {i}") for i in range(20)]
    dots = [Box(x - 5, y - 5, x + 5, y + 5) for x, y, _ in points]
    labels = place(points, dots, FRAME, 11)
    boxes = [label.box for label in labels]
    assert all(a.overlap(b) == 0 for a, b in combinations(boxes, 2))
    assert all(box.overlap(dot) == 0 for box in boxes for dot in dots)
    assert all(box.outside(FRAME) == 0 for box in boxes)


def test_a_point_by_itself_has_its_name_close_by_and_at_the_edge_inside() -> None:
    for x, y in ((300, 200), (718, 2), (1, 459), (719, 459)):
        (label,) = place([(x, y, "a long name")], [Box(x - 5, y - 5, x + 5, y + 5)], FRAME, 11)
        assert not label.far and label.box.outside(FRAME) == 0


def test_overlap_and_what_sticks_out() -> None:
    assert Box(0, 0, 2, 2).overlap(Box(1, 1, 3, 3)) == 1 and Box(0, 0, 1, 1).overlap(Box(1, 0, 2, 1)) == 0
    assert Box(-1, 0, 1, 2).outside(FRAME) == 2
