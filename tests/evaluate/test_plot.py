"""Plots: the front, both formats, axes."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from parvis.errors import UsageError
from parvis.evaluate.plot import HEIGHT, WIDTH, Dot, Point, Text, as_image, as_svg, front, save, scatter

POINTS = [
    Point(256, 10, "a <b>", "raster", 9, 11),
    Point(20, 9, "b", "lpd"),
    Point(10, 14, "c", "lpd"),
    Point(40, 9.5, "d"),
]


def test_the_front_holds_what_nothing_beats() -> None:
    assert [p.label for p in front(POINTS)] == ["c", "b"]
    assert [p.label for p in front(POINTS, 1)] == ["c"]
    assert [p.label for p in front([Point(1, 2, "x"), Point(1, 1, "y"), Point(2, 1, "z")])] == ["y"]


def test_every_point_is_inside_and_further_right_for_more() -> None:
    shapes = scatter(POINTS, "title", "passes", "distance")
    dots = [shape for shape in shapes if isinstance(shape, Dot)]
    assert len(dots) == 4 and all(0 < d.x < WIDTH and 0 < d.y < HEIGHT for d in dots)
    assert dots[0].x > dots[3].x > dots[1].x > dots[2].x and dots[2].y < dots[0].y < dots[3].y < dots[1].y
    texts = [shape.text for shape in shapes if isinstance(shape, Text)]
    assert {"title", "passes", "distance", "a <b>", "100"} <= set(texts)


def test_both_formats_are_files_that_can_be_read(tmp_path: Path) -> None:
    shapes = scatter(POINTS, "t", "x", "y")
    root = ElementTree.fromstring(save(tmp_path / "p.svg", shapes).read_text())
    assert len([e for e in root.iter() if e.tag.endswith("circle")]) == 4
    assert any(e.text == "a <b>" for e in root.iter())
    image = as_image(shapes)
    assert image.size == (WIDTH, HEIGHT) and len(image.getcolors(1 << 20) or []) > 20
    assert save(tmp_path / "p.png", shapes).read_bytes()[:4] == b"\x89PNG"
    assert as_svg(shapes) == as_svg(scatter(POINTS, "t", "x", "y"))
    with pytest.raises(UsageError, match=r"\.svg or \.png"):
        save(tmp_path / "p.pdf", shapes)


@pytest.mark.parametrize(
    "points", [[Point(3, 5, "one")], [Point(1, 0, "a"), Point(2, 0, "b")], [Point(-1, -5, "x"), Point(1e6, 3e-7, "y")]]
)
def test_odd_points_have_axes_too(points: list[Point]) -> None:
    dots = [shape for shape in scatter(points, "t", "x", "y") if isinstance(shape, Dot)]
    assert all(0 <= d.x <= WIDTH and 0 <= d.y <= HEIGHT for d in dots)
    as_image(scatter(points, "t", "x", "y"))


def test_no_points_and_no_numbers_are_refused() -> None:
    for points in ([], [Point(1, float("nan"), "x")]):
        with pytest.raises(UsageError, match="finite"):
            scatter(points, "t", "x", "y")
