"""The runner against plain decoding (tests/plain.py): the same tokens, the same logits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from parvis.engine.runner import run
from parvis.generate import begin
from parvis.grid import Grid
from parvis.noise import Noise
from parvis.order import Order, diagonals, halton, random, raster
from parvis.request import Request
from parvis.sampling import Sampling
from parvis.system import System
from plain import decode_lpd, decode_raster
from toys import SIZE, toy

LABELS = torch.tensor([3, 0])
GRID = Grid.image(4, 6)
ORDERS = {
    "random, LPD's table of 20 passes cut to size": lambda: random(GRID, (1, 2, 4, 5, 6, 6), Noise((1, 2))),
    "random, groups that shrink": lambda: random(GRID, (9, 1, 7, 2, 5), Noise((5, 6))),
    "diagonals": lambda: diagonals(GRID),
    "halton, all at once but one": lambda: halton(GRID, (1, 23)),
    "one by one": lambda: raster(GRID),
}


def decode(system: System, order: Order, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    system = replace(system, order=lambda grid, steps, noise: order)
    request = Request(LABELS, (0, 1), guidance=scale, sampling=Sampling(top_k=1))
    with torch.inference_mode():
        job, runner = begin(system, request, torch.device("cpu"))
        logits = [prediction.logits for _, prediction in run(system.decoder, job, runner)]
    return job.canvas.values, torch.cat(logits, 1)


def assert_same(
    ours: tuple[torch.Tensor, torch.Tensor], image: int, plain: tuple[list[int], list[torch.Tensor]]
) -> None:
    codes, logits = plain[0], torch.stack(plain[1])
    assert ours[0][image].tolist() == codes
    assert (ours[1][image] - logits).abs().max() <= 1e-5 * max(1.0, float(logits.abs().max()))


@pytest.mark.parametrize(("name", "scale"), list(zip(ORDERS, [3.0, 1.0, 3.0, 1.0, 3.0], strict=True)))
def test_lpd_equals_plain_decoding(name: str, scale: float) -> None:
    system, order = toy("lpd"), ORDERS[name]()
    ours = decode(system, order, scale)
    image = len(name) % 2  # one of the two; the batch has both
    positions = order.batch(2)[image].tolist()
    groups = [positions[low:high] for low, high in zip(order.bounds, order.bounds[1:], strict=False)]
    plain = decode_lpd(system.models["main"], SIZE.heads, int(LABELS[image]), groups, scale, GRID.tokens)
    assert_same(ours, image, plain)


@pytest.mark.parametrize(("image", "scale"), [(0, 1.0), (1, 2.5)])
def test_raster_equals_plain_decoding(image: int, scale: float) -> None:
    system = toy("raster")
    ours = decode(system, raster(system.grid), scale)
    plain = decode_raster(system.models["main"], SIZE.heads, int(LABELS[image]), 4, 4, scale)
    assert_same(ours, image, plain)
