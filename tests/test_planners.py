"""Orders by name."""

from __future__ import annotations

import pytest
import torch

from parvis import locality, order
from parvis.errors import UnknownName, UsageError
from parvis.grid import Grid
from parvis.noise import Noise
from parvis.planners import PLANNERS, find_planner, fixed, planned
from parvis.schedule import group_sizes

GRID = Grid.image(6, 8)


@pytest.mark.parametrize("name", PLANNERS)
def test_every_name_plans_every_position_once(name: str) -> None:
    made = PLANNERS[name](GRID, 7, Noise((0, 1)))
    assert torch.equal(made.batch(2).sort().values, torch.arange(48).expand(2, 48))
    again = PLANNERS[name](GRID, 7, Noise((1,)))
    assert torch.equal(again.batch(1)[0], made.batch(2)[1])


def test_names_mean_what_they_say() -> None:
    noise, sizes = Noise((5,)), group_sizes(48, 7)
    for name, expected in (
        ("raster", order.raster(GRID)),
        ("random", order.random(GRID, sizes, noise)),
        ("lpd", locality.lpd(GRID, sizes, noise)),
        ("proximity", locality.proximity_only(GRID, sizes, noise)),
        ("repulsion", locality.repulsion_only(GRID, sizes, noise)),
        ("halton", order.halton(GRID, sizes, noise)),
        ("nar", order.diagonals(GRID)),
        ("scales", order.scales(GRID)),
    ):
        made = find_planner(name)(GRID, 7, noise)
        assert torch.equal(made.positions, expected.positions) and made.sizes == expected.sizes


def test_regions_come_as_near_to_the_steps_as_they_can() -> None:
    passes = [len(PLANNERS["par"](Grid.square(16), steps, Noise((0,))).sizes) for steps in (1, 31, 60, 256)]
    assert passes == [31, 31, 67, 256]


def test_what_was_asked_is_what_is_planned() -> None:
    noise = Noise((0,))
    made = planned(PLANNERS["lpd"], GRID, None, noise, usual=9, who="x")
    assert len(made.sizes) == 9
    with pytest.raises(UsageError, match="takes 48 passes, its order fixes that; got steps=7"):
        planned(PLANNERS["raster"], GRID, 7, noise, usual=9, who="x")
    with pytest.raises(UsageError, match="order of 16 positions; its grid has 48"):
        planned(fixed(order.raster(Grid.square(4))), GRID, None, noise, usual=9, who="x")


def test_an_unknown_name_names_its_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'raster'"):
        find_planner("rastr")
