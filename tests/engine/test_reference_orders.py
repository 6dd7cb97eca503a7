"""RandAR, ARPG and NAR against plain decoding (tests/plain_order.py): the same tokens, logits and lessons."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from parvis.canvas import Canvas
from parvis.decode.job import Job
from parvis.engine.runner import Runner, run
from parvis.generate import begin
from parvis.grid import Grid
from parvis.model.context import ClassCondition, Condition, Features
from parvis.noise import Noise
from parvis.order import Order, diagonals, halton, random, raster
from parvis.request import Request
from parvis.sampling import Sampling
from parvis.schedule import one_then_cosine
from parvis.system import Preset, System
from parvis.systems import nar
from parvis.train.objective import teacher_logits
from plain_order import decode_arpg, decode_nar, decode_randar, teach_arpg, teach_randar
from toys import SIZE, VOCABULARY, given, toy

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


GRIDS = [(3, 5), (4, 2), (1, 4)]


def nar_of(height: int, width: int, condition: Condition) -> System:
    """The toy with another image and another condition; its own weights, where there are such."""
    grid = Grid.image(height, width)
    model = nar.transformer(SIZE, grid, vocabulary=VOCABULARY, condition=condition).eval().requires_grad_(False)
    own = {name: value for name, value in toy("nar").models["main"].state_dict().items() if "condition" not in name}
    generator = torch.Generator().manual_seed(4)
    other = {
        name: 0.3 * torch.randn(value.shape, generator=generator)
        for name, value in model.state_dict().items()
        if "condition" in name
    }
    model.load_state_dict(own | other)
    order = diagonals(grid)
    return replace(
        toy("nar"), grid=grid, models={"main": model}, order=lambda *_: order, preset=Preset(len(order.sizes))
    )


@torch.no_grad()
@pytest.mark.parametrize("scale", [1.0, 2.5])
@pytest.mark.parametrize(("height", "width"), GRIDS)
def test_nar_equals_plain_decoding(height: int, width: int, scale: float) -> None:
    """Decoding, and the lesson whose codes are those decoded."""
    system = nar_of(height, width, ClassCondition(5, SIZE.width))
    model, order = system.models["main"], diagonals(system.grid)
    made, logits = decode(system, order, scale)
    image = height % 2
    table = model.condition.get_parameter("table.weight")
    conditions = [[table[label]] for label in (int(LABELS[image]), -1)]
    codes, laws = decode_nar(model, SIZE.heads, conditions, (height, width), scale)
    assert made[image].tolist() == codes
    assert_near(logits[image], laws)
    if scale == 1.0:
        values = torch.zeros_like(made).scatter(1, order.batch(2), made)
        assert_near(teacher_logits(model, values, LABELS, order)[image], laws)


@torch.no_grad()
@pytest.mark.parametrize(("image", "scale"), [(0, 2.0), (1, 2.0), (1, 1.0)])
def test_nar_from_text_equals_plain_decoding(image: int, scale: float) -> None:
    """Prompts of one and two words in four slots, causal among themselves; padding, in front, is seen by nobody. The
    lesson whose codes are those decoded too."""
    system = toy("nar-text")
    model, order, prompt = system.models["main"], diagonals(system.grid), given(system, 2)
    assert isinstance(prompt, Features) and prompt.visible.sum(1).tolist() == [1, 2]
    sides = (model.condition(prompt), model.condition.null(prompt))
    rows = [list(side.rows[image][prompt.visible[image]]) for side in sides]
    scales = torch.full((12,), scale)
    job = Job(order, Canvas.empty(2, 12), Noise((0, 1)), Sampling(top_k=1), None if scale == 1.0 else scales)
    answers = run(system.decoder, job, Runner(system, order, prompt, 2, guided=scale != 1.0))
    logits = torch.cat([prediction.logits for _, prediction in answers], 1)
    codes, laws = decode_nar(model, SIZE.heads, rows, (3, 4), scale)
    assert job.canvas.read(order.positions)[image].tolist() == codes
    assert_near(logits[image], laws)
    if scale == 1.0:
        assert_near(teacher_logits(model, job.canvas.values, prompt, order)[image], laws)
