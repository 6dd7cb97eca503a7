"""The runner against plain decoding of latents (tests/plain_latents.py): the same latents."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from parvis.flow import times
from parvis.generate import generate
from parvis.grid import Grid
from parvis.noise import Noise
from parvis.order import Order, random, raster
from parvis.request import Request
from parvis.system import System
from plain_latents import decode_mar, decode_xar
from toys import CHANNELS, SIZE, toy

GRID, LABELS, SEEDS = Grid.image(4, 6), torch.tensor([3, 0]), (7, 8)


def normal(image: int, tokens: int) -> object:
    noise = Noise(SEEDS)
    return lambda cell, draw: noise.normal(torch.arange(tokens), draw, CHANNELS)[image, cell].double()


def assert_near(ours: torch.Tensor, plain: torch.Tensor) -> None:
    """The models are in float64 here, drafts on the canvas in float32: what that rounds grows from cell to cell."""
    assert (ours - plain).abs().max() <= 1e-3 * plain.abs().max()


def exact(name: str) -> System:
    """The toy in float64."""
    system = toy(name)
    return replace(system, models={"main": copy.deepcopy(system.models["main"]).double()})


@pytest.mark.parametrize(
    ("image", "scale", "order"),
    [
        (0, 3.0, random(GRID, (1, 3, 5, 7, 8), Noise(SEEDS))),
        (1, 1.0, random(GRID, (9, 1, 14), Noise(SEEDS))),
        (1, 3.0, Order(raster(GRID).positions, (12, 12))),
    ],
)
def test_mar_equals_plain_decoding(image: int, scale: float, order: Order) -> None:
    system = replace(exact("mar"), order=lambda grid, steps, noise: order)
    model = system.models["main"]
    canvas, passes = generate(system, Request(LABELS, SEEDS, guidance=scale))
    places = order.batch(2)[image].tolist()
    groups = [places[low:high] for low, high in zip(order.bounds, order.bounds[1:], strict=False)]
    timesteps, numbers = model.head.schedule.timesteps, normal(image, GRID.tokens)
    plain = decode_mar(model, SIZE.heads, int(LABELS[image]), groups, scale, GRID.tokens, timesteps, numbers)
    assert_near(canvas.values[image], plain)
    assert passes == len(groups)


@pytest.mark.parametrize(("image", "scale"), [(0, 2.5), (1, 1.0)])
def test_xar_equals_plain_decoding(image: int, scale: float) -> None:
    system = exact("xar")
    canvas, passes = generate(system, Request(LABELS, SEEDS, guidance=scale))
    where = [[(y + i, x + j) for i in (0, 1) for j in (0, 1)] for y in (0, 2) for x in (0, 2, 4)]
    stops = [1.0, 0.52, 0.04, 0.0]
    assert [time for pair in times(3) for time in pair] == pytest.approx([1.0, 0.52, 0.52, 0.04, 0.04, 0.0])
    model, numbers = system.models["main"], normal(image, GRID.tokens)
    plain = decode_xar(model, SIZE.heads, int(LABELS[image]), where, GRID.width, scale, stops, numbers)
    for cell, places in enumerate(where):
        ours = canvas.values[image, [y * GRID.width + x for y, x in places]]
        assert_near(ours, plain[cell])
    assert passes == 6 * 3
