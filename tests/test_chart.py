"""Pictures of orders: what they show, not how pretty they are."""

from __future__ import annotations

from itertools import pairwise

import pytest

from parvis.chart import COLOURS, EMPTY, FRAMES, INK, Chart, as_text, colour, frames, still
from parvis.errors import UsageError
from parvis.grid import Grid
from parvis.noise import Noise
from parvis.order import Order, diagonals, raster, scales
from parvis.planners import PLANNERS


def lightness(rgb: tuple[int, ...]) -> float:
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), rgb, strict=True))


def test_colours_go_from_dark_to_light_without_a_jump() -> None:
    shades = [lightness(colour(i / 200)) for i in range(201)]
    assert shades == sorted(shades) and shades[-1] - shades[0] > 150
    assert max(b - a for a, b in pairwise(shades)) < 4
    assert colour(0) == COLOURS[0] and colour(1) == COLOURS[-1]


def test_letters_show_the_pass_of_every_position() -> None:
    grid = Grid.image(2, 3)
    assert as_text(Chart.of(diagonals(grid), grid)) == "1 2 3\n2 3 4"
    assert as_text(Chart.of(raster(Grid.square(4)), Grid.square(4))).splitlines()[-1] == "d e f g"
    pyramid = Grid.pyramid((1, 2))
    assert as_text(Chart.of(scales(pyramid), pyramid)) == "1   2 2\n    2 2"


def test_each_image_of_a_batch_has_its_own_chart() -> None:
    grid = Grid.square(4)
    order = PLANNERS["lpd"](grid, 5, Noise((3, 4)))
    for image in (0, 1):
        chart = Chart.of(order, grid, image)
        for group in range(5):
            positions = {p for p, g in enumerate(chart.groups) if g == group}
            assert positions == set(order.group(group)[image].tolist())


def test_a_still_has_every_cell_in_the_colour_of_its_group() -> None:
    grid = Grid.square(4)
    order = raster(grid)
    picture = still(Chart.of(order, grid), "raster")
    seen = {rgb for _, rgb in picture.getcolors(1 << 24)}
    assert {colour(k / 15) for k in range(16)} <= seen


def test_frames_show_the_groups_one_after_the_other() -> None:
    grid = Grid.square(8)
    chart = Chart.of(PLANNERS["lpd"](grid, 6, Noise((0,))), grid)
    shown = frames(chart, "lpd")
    assert len(shown) == 7 and len({picture.size for picture in shown}) == 1
    empty = [sum(n for n, rgb in picture.getcolors(1 << 24) if rgb == EMPTY) for picture in shown]
    assert empty == sorted(empty, reverse=True) and empty[0] > 10_000 and empty[-1] == 0
    assert any(rgb == INK for _, rgb in shown[2].getcolors(1 << 24))  # the current group's ring


def test_many_groups_are_thinned_out_to_the_last_one() -> None:
    grid = Grid.image(10, 20)
    shown = frames(Chart.of(raster(grid), grid), "raster")
    assert len(shown) <= FRAMES + 2


def test_only_images_are_drawn() -> None:
    film = Grid(((2, 2, 2),))
    with pytest.raises(UsageError, match="order of an image"):
        Chart.of(raster(film), film)
    with pytest.raises(UsageError, match="4 positions"):
        Chart.of(Order(raster(Grid.square(2)).positions, (4,)), Grid.square(3))
