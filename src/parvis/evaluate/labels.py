"""Where the names of points go, so that none covers another name, a point or an error bar."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import ImageFont


@dataclass(frozen=True)
class Box:
    """What takes room: from (left, top) to (right, bottom), in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """The area in common."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, across) * max(0.0, down)

    def outside(self, frame: Box) -> float:
        """The area that sticks out of ``frame``."""
        return (self.right - self.left) * (self.bottom - self.top) - self.overlap(frame)


@dataclass(frozen=True)
class Label:
    """A name in its place; ``far`` where a line should lead to its point."""

    box: Box
    far: bool


DISTANCES = (6.0, 14.0, 26.0, 40.0, 58.0, 80.0)
DIRECTIONS = 16


def place(
    points: Sequence[tuple[float, float, str]], taken: Sequence[Box], frame: Box, size: int, gap: float = 4.5
) -> list[Label]:
    """A place for the name of every point (x, y, name): the nearest that is free, else the one with least overlap.

    Args:
        taken: what names must not cover. frame: what they must lie in. size: of the font, in pixels. gap: radius of a
            point.
    """
    placed: list[Label] = []
    for x, y, name in points:
        width, height = ImageFont.load_default(size).getlength(name), 1.1 * size
        obstacles = [*taken, *(label.box for label in placed)]
        best = min(_places(x, y, width, height, gap), key=lambda label: _cost(label[1], obstacles, frame) + label[0])
        placed.append(Label(best[1], best[0] > DISTANCES[1]))
    return placed


def _cost(box: Box, obstacles: Sequence[Box], frame: Box) -> float:
    return 100 * (sum(box.overlap(other) for other in obstacles) + 4 * box.outside(frame))


def _places(x: float, y: float, width: float, height: float, gap: float) -> Iterator[tuple[float, Box]]:
    """Boxes around a point with how far each is, near ones first, beginning on the upper right."""
    for distance in DISTANCES:
        for turn in range(DIRECTIONS):
            angle = 2 * math.pi * turn / DIRECTIONS - math.pi / 8
            toward_x, toward_y = math.cos(angle), math.sin(angle)
            middle_x = x + toward_x * (gap + distance + width / 2)
            middle_y = y + toward_y * (gap + distance + height / 2)
            yield (
                distance,
                Box(middle_x - width / 2, middle_y - height / 2, middle_x + width / 2, middle_y + height / 2),
            )
