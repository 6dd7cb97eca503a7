"""RandAR and ARPG against plain decoding (tests/plain_order.py): the same tokens, the same logits, the same lessons."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from parvis.engine.runner import run
from parvis.generate import begin
from parvis.noise import Noise
from parvis.order import Order, diagonals, halton, random, raster
from parvis.request import Request
from parvis.sampling import Sampling
from parvis.schedule import one_then_cosine
from parvis.system import System
from parvis.train.objective import teacher_logits
from plain_order import decode_arpg, decode_randar, teach_arpg, teach_randar
from toys import SIZE, VOCABULARY, toy

LABELS = torch.tensor([3, 0])
ORDERS = {
    "the released schedule": lambda grid: random(grid, one_then_cosine(grid.tokens, 6), Noise((1, 2))),
    "groups that shrink": lambda grid: random(grid, (6, 1, 5, 1, 2), Noise((5, 6))),
    "halton, all at once but one": lambda grid: halton(grid, (1, 14)),
    "diagonals": diagonals,
    "one by one": raster,
}
ANY = {"randar": decode_randar, "arpg": decode_arpg}
TAUGHT = {"randar": teach_randar, "arpg": teach_arpg}


def decode(system: System, order: Order, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes and logits of both images, in the order of generation."""
    system = replace(system, order=lambda grid, steps, noise: order)
    request = Request(LABELS, (0, 1), guidance=scale, sampling=Sampling(top_k=1))
    with torch.inference_mode():
        job, runner = begin(system, request, torch.device("cpu"))
        logits = [prediction.logits for _, prediction in run(system.decoder, job, runner)]
    return job.canvas.read(order.batch(2)), torch.cat(logits, 1)


def assert_near(ours: torch.Tensor, plain: list[torch.Tensor]) -> None:
    laws = torch.stack(plain)
    assert (ours - laws).abs().max() <= 1e-5 * max(1.0, float(laws.abs().max()))


def cells(system: System, order: Order, image: int) -> list[tuple[int, int]]:
    return [divmod(position, system.grid.width) for position in order.batch(2)[image].tolist()]


@pytest.mark.parametrize(("kind", "scale"), list(zip(ORDERS, [3.0, 1.0, 3.0, 1.0, 3.0], strict=True)))
@pytest.mark.parametrize("name", ANY)
def test_equals_plain_decoding(name: str, kind: str, scale: float) -> None:
    system = toy(name)
    order = ORDERS[kind](system.grid)
    image = len(kind) % 2  # one of the two; the batch has both
    line = cells(system, order, image)
    groups = [line[low:high] for low, high in zip(order.bounds, order.bounds[1:], strict=False)]
    codes, laws = ANY[name](system.models["main"], SIZE.heads, int(LABELS[image]), groups, scale)
    made, logits = decode(system, order, scale)
    assert made[image].tolist() == codes
    assert_near(logits[image], laws)


@torch.no_grad()
@pytest.mark.parametrize("name", TAUGHT)
def test_lessons_equal_plain_ones(name: str) -> None:
    """The paper trains on one token after the other, so groups of one are what is taught."""
    system, generator = toy(name), torch.Generator().manual_seed(3)
    order = random(system.grid, (1,) * system.grid.tokens, Noise((8, 9)))
    codes = torch.randint(VOCABULARY, (2, system.grid.tokens), generator=generator)
    logits = teacher_logits(system.models["main"], codes, LABELS, order)
    for image in range(2):
        by_rank = codes[image, order.positions[image]].tolist()
        laws = TAUGHT[name](system.models["main"], SIZE.heads, int(LABELS[image]), cells(system, order, image), by_rank)
        assert_near(logits[image], laws)
