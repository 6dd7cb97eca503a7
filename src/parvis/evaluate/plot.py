"""A plot of what can be had for what: points, and the front of those that nothing else beats in both.

Drawn once as plain shapes, then written as SVG or as PNG. Sizes are pixels.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

from parvis.chart import GREY, INK, WHITE, Colour, colour
from parvis.errors import UsageError
from parvis.evaluate.labels import Box, place
from parvis.files import write_bytes

WIDTH, HEIGHT = 720, 460
LEFT, RIGHT, TOP, BOTTOM = 76, 28, 52, 62
RADIUS, SMALL = 4.5, 11
PALE: Colour = (226, 229, 233)
FINE = 2


@dataclass(frozen=True)
class Point:
    """One measurement; points of one ``series`` share a colour. ``low`` and ``high`` bound y, where they are known."""

    x: float
    y: float
    label: str
    series: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """Through ``points``."""

    points: tuple[tuple[float, float], ...]
    fill: Colour
    width: float = 1


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    radius: float
    fill: Colour


@dataclass(frozen=True)
class Text:
    """``anchor``: ``start``, ``middle`` or ``end``; y is its middle."""

    x: float
    y: float
    text: str
    fill: Colour
    size: int = 12
    anchor: str = "middle"


Shape: TypeAlias = Line | Dot | Text


def front(points: Sequence[Point], better: int = -1) -> list[Point]:
    """The points that no other has beaten: none has as little x and a better y. By rising x.

    Args:
        better: -1 where less of y is better, 1 where more is.
    """
    found: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, -better * p.y)):
        if not found or better * point.y > better * found[-1].y:
            found.append(point)
    return found


def scatter(points: Sequence[Point], title: str, x: str, y: str, better: int = -1) -> list[Shape]:
    """Axes, points and their front as shapes; x is logarithmic where it spans a factor of eight or more.

    :raises UsageError: no points, or one that is not finite
    """
    if not points or not all(math.isfinite(p.x) and math.isfinite(p.y) for p in points):
        raise UsageError(f"a plot needs points of finite numbers; got {len(points)}")
    across, down = (
        _Axis.over([p.x for p in points], LEFT, WIDTH - RIGHT),
        _Axis.over(
            [v for p in points for v in (p.y, p.low, p.high) if v is not None], HEIGHT - BOTTOM, TOP, straight=True
        ),
    )
    shapes: list[Shape] = [Text(LEFT, 24, title, INK, 16, "start")]
    for value in down.ticks():
        at = down(value)
        shapes += [Line(((LEFT, at), (WIDTH - RIGHT, at)), PALE), Text(LEFT - 8, at, f"{value:g}", GREY, 12, "end")]
    for value in across.ticks():
        at = across(value)
        shapes += [Line(((at, HEIGHT - BOTTOM), (at, HEIGHT - BOTTOM + 5)), GREY)]
        shapes += [Text(at, HEIGHT - BOTTOM + 17, f"{value:g}", GREY)]
    shapes += [Text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 20, x, INK, 13), Text(LEFT, TOP - 10, y, INK, 13, "start")]
    best = [(across(p.x), down(p.y)) for p in front(points, better)]
    steps = tuple(q for a, b in pairwise(best) for q in (a, (b[0], a[1]), b))
    shapes += [Line(steps, GREY, 1.5)] if steps else []
    series = list(dict.fromkeys(p.series for p in points))
    colours = {name: colour(0.15 + 0.6 * i / max(1, len(series) - 1)) for i, name in enumerate(series)}
    for p in points:
        at_x, at_y = across(p.x), down(p.y)
        if p.low is not None and p.high is not None:
            shapes.append(Line(((at_x, down(p.low)), (at_x, down(p.high))), colours[p.series], 1.5))
        shapes.append(Dot(at_x, at_y, RADIUS, colours[p.series]))
    return shapes + _names(points, across, down)


def _names(points: Sequence[Point], across: _Axis, down: _Axis) -> list[Shape]:
    """The points' labels beside them, with lines to those that had to go further."""
    at = [(across(p.x), down(p.y), p.label) for p in points]
    taken = [Box(x - RADIUS - 1, y - RADIUS - 1, x + RADIUS + 1, y + RADIUS + 1) for x, y, _ in at]
    for (x, _, _), p in zip(at, points, strict=True):
        if p.low is not None and p.high is not None:
            taken.append(Box(x - 2, down(p.high), x + 2, down(p.low)))
    shapes: list[Shape] = []
    labels = place(at, taken, Box(LEFT, TOP, WIDTH - 4, HEIGHT - BOTTOM), SMALL)
    for (x, y, name), label in zip(at, labels, strict=True):
        box = label.box
        if label.far:
            nearest = min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)
            shapes.append(Line(((x, y), nearest), GREY, 0.7))
        shapes.append(Text(box.left, (box.top + box.bottom) / 2, name, INK, SMALL, "start"))
    return shapes


def save(path: Path, shapes: Sequence[Shape]) -> Path:
    """Write ``.svg`` or ``.png``, whole or not at all. Raises UsageError for another suffix."""
    if path.suffix == ".svg":
        return write_bytes(path, as_svg(shapes).encode())
    if path.suffix != ".png":
        raise UsageError(f"{str(path)!r} is no plot; end its name in .svg or .png")
    buffer = io.BytesIO()
    as_image(shapes).save(buffer, "PNG")
    return write_bytes(path, buffer.getvalue())


def as_svg(shapes: Sequence[Shape]) -> str:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{_hex(WHITE)}"/>',
    ]
    for one in shapes:
        if isinstance(one, Line):
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in one.points)
            line = f'<polyline points="{points}" fill="none" stroke="{_hex(one.fill)}" stroke-width="{one.width:g}"/>'
            parts.append(line)
        elif isinstance(one, Dot):
            parts.append(f'<circle cx="{one.x:.1f}" cy="{one.y:.1f}" r="{one.radius:g}" fill="{_hex(one.fill)}"/>')
        else:
            where = f'x="{one.x:.1f}" y="{one.y:.1f}" font-size="{one.size}" fill="{_hex(one.fill)}"'
            parts.append(f'<text {where} text-anchor="{one.anchor}" dy="0.35em">{escape(one.text)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def as_image(shapes: Sequence[Shape]) -> Image.Image:
    page = Image.new("RGB", (WIDTH * FINE, HEIGHT * FINE), WHITE)
    draw = ImageDraw.Draw(page)
    anchors = {"start": "lm", "middle": "mm", "end": "rm"}
    for one in shapes:
        if isinstance(one, Line):
            draw.line([(x * FINE, y * FINE) for x, y in one.points], one.fill, round(one.width * FINE))
        elif isinstance(one, Dot):
            r = one.radius
            draw.ellipse([(v + s * r) * FINE for s in (-1, 1) for v in (one.x, one.y)], one.fill)
        else:
            font = ImageFont.load_default(one.size * FINE)
            draw.text((one.x * FINE, one.y * FINE), one.text, one.fill, font, anchor=anchors[one.anchor])
    return page.reduce(FINE)


@dataclass(frozen=True)
class _Axis:
    """Numbers from ``low`` to ``high`` to pixels from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, straight: bool = False) -> _Axis:
        low, high = min(values), max(values)
        if not straight and low > 0 and high >= 8 * low:
            return cls(low / 1.25, high * 1.25, start, end, True)
        room = (high - low or abs(high) or 1.0) * 0.1
        floor = 0.0 if low >= 0 and low - room < 0.35 * high else low - room
        return cls(floor, high + room, start, end, False)

    def __call__(self, value: float) -> float:
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round numbers, four to nine of them."""
        if self.logarithmic:
            tens = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [10.0**k * m for k in tens for m in ((1, 2, 5) if len(tens) < 5 else (1,))]
        else:
            size = 10 ** math.floor(math.log10((self.high - self.low) / 4))
            step = next(size * m for m in (1, 2, 5, 10) if (self.high - self.low) / (size * m) <= 8)
            first = math.ceil(self.low / step)
            found = [round(step * k, 12) for k in range(first, math.floor(self.high / step) + 1)]
        return [value for value in found if self.low <= value <= self.high]


def _hex(of: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*of)
