"""Orders by name: for models that take any order, and for looking at orders.

A planner makes the order of a batch: ``(grid, steps, noise) -> Order``. Orders that fix their number of passes (raster,
diagonals, regions, scales) pay no heed to ``steps``; :func:`planned` refuses where that is not what was asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from parvis import locality, order
from parvis.errors import UnknownName, UsageError
from parvis.grid import Grid
from parvis.noise import Noise
from parvis.order import Order
from parvis.schedule import group_sizes

Planner: TypeAlias = Callable[[Grid, int, Noise], Order]
"""(grid, steps, noise) -> order; ``steps`` is ignored where the order fixes it."""
Around: TypeAlias = Callable[[Grid, tuple[int, ...], Noise, Tensor], Order]
"""(grid, sizes of what is left, noise, known bool [B, N]) -> order that begins with what is known."""


def fixed(given: Order) -> Planner:
    """Always ``given``."""
    return lambda grid, steps, noise: given


def _raster(grid: Grid, steps: int, noise: Noise) -> Order:
    return order.raster(grid)


def _random(grid: Grid, steps: int, noise: Noise) -> Order:
    return order.random(grid, group_sizes(grid.tokens, steps), noise)


def _halton(grid: Grid, steps: int, noise: Noise) -> Order:
    return order.halton(grid, group_sizes(grid.tokens, steps), noise)


def _lpd(grid: Grid, steps: int, noise: Noise) -> Order:
    return locality.lpd(grid, group_sizes(grid.tokens, steps), noise)


def _proximity(grid: Grid, steps: int, noise: Noise) -> Order:
    return locality.proximity_only(grid, group_sizes(grid.tokens, steps), noise)


def _repulsion(grid: Grid, steps: int, noise: Noise) -> Order:
    return locality.repulsion_only(grid, group_sizes(grid.tokens, steps), noise)


def _regions(grid: Grid, steps: int, noise: Noise) -> Order:
    """Of the numbers of regions that divide the grid, the one whose passes are nearest to ``steps``; fewer of
    equals."""
    common = math.gcd(grid.height, grid.width)
    made = [order.regions(grid, side * side) for side in range(1, common + 1) if common % side == 0]
    return min(made, key=lambda one: abs(len(one.sizes) - steps))


def _diagonals(grid: Grid, steps: int, noise: Noise) -> Order:
    return order.diagonals(grid)


def _scales(grid: Grid, steps: int, noise: Noise) -> Order:
    return order.scales(grid)


PLANNERS: dict[str, Planner] = {
    "raster": _raster,
    "random": _random,
    "lpd": _lpd,
    "proximity": _proximity,
    "repulsion": _repulsion,
    "halton": _halton,
    "regions": _regions,
    "par": _regions,
    "diagonals": _diagonals,
    "nar": _diagonals,
    "scales": _scales,
}
"""LPD with the thresholds of its smaller models (tau 1, rho 2) and its two ablations; ``par`` and ``nar`` are the
papers' names for regions and diagonals."""


def find_planner(name: str) -> Planner:
    """The planner of that name. Raises :class:`UnknownName` with the nearest names."""
    if name not in PLANNERS:
        raise UnknownName("order", name, PLANNERS)
    return PLANNERS[name]


def as_planner(given: str | Order | Planner | None, part: slice, count: int) -> Planner | None:
    """An order in any of its forms as a planner for the images ``part`` of ``count``; ``None`` stays."""
    if isinstance(given, str):
        return find_planner(given)
    if not isinstance(given, Order):
        return given
    if given.positions.ndim == 1:
        return fixed(given)
    return fixed(Order(given.batch(count)[part], given.sizes, given.given, given.before))


def planned(planner: Planner, grid: Grid, steps: int | None, noise: Noise, *, usual: int, who: str) -> Order:
    """The order of a batch, checked.

    Args:
        steps: how many groups are asked for; ``None`` is ``usual``, or what the order fixes. who: begins the messages.

    Raises:
        UsageError: the order fixes another number of groups, or is for another number of positions.
    """
    made = planner(grid, usual if steps is None else steps, noise)
    if made.tokens != grid.tokens:
        raise UsageError(f"{who} is given an order of {made.tokens} positions; its grid has {grid.tokens}")
    if steps is not None and len(made.sizes) != steps:
        raise UsageError(
            f"{who} takes {len(made.sizes)} passes, its order fixes that; got steps={steps}: leave steps out, or use "
            "an order that takes any number, such as lpd or random"
        )
    return made
