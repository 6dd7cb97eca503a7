"""The transformer: padded prompts, training and cached use of one model, half precision."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from parvis.canvas import Canvas
from parvis.decode.job import Job
from parvis.decode.parallel import parallel
from parvis.engine.runner import Runner, run
from parvis.generate import begin, pixels
from parvis.grid import Grid
from parvis.model.context import Features, FeaturesCondition
from parvis.model.transformer import Transformer
from parvis.noise import Noise
from parvis.order import Order, random, raster
from parvis.request import Request
from parvis.sampling import Sampling
from parvis.system import System
from parvis.systems import llamagen, lpd
from parvis.train.objective import teacher_logits
from toys import NAMES, SIZE, VOCABULARY, given, toy

GRID, FEATURES, CPU = Grid.image(2, 3), 6, torch.device("cpu")


def build(kind: str, slots: int) -> Transformer:
    condition = FeaturesCondition(FEATURES, slots, SIZE.width)
    if kind == "lpd":
        return lpd.transformer(SIZE, GRID, vocabulary=VOCABULARY, condition=condition, prefix=0)
    return llamagen.transformer(SIZE, GRID, vocabulary=VOCABULARY, condition=condition)


def pair(kind: str, slots: int, padding: int) -> tuple[Transformer, Transformer]:
    """The same weights for prompts of ``slots`` features and of ``slots - padding``."""
    generator = torch.Generator().manual_seed(0)
    long, short = build(kind, slots), build(kind, slots - padding)
    state = {
        name: 0.3 * torch.randn(value.shape, generator=generator) + ("norm" in name and name.endswith("weight"))
        for name, value in long.state_dict().items()
    }
    long.load_state_dict(state)
    short.load_state_dict(state | {"condition.absent": state["condition.absent"][padding:]})
    return long.eval(), short.eval()


def order_of(kind: str) -> Order:
    return raster(GRID) if kind == "raster" else random(GRID, (1, 2, 3), Noise((4,)))


def stepwise(model: Transformer, prompt: Features, order: Order, guided: bool) -> torch.Tensor:
    system = replace(toy("raster"), grid=GRID, models={"main": model}, preset=replace(toy("raster").preset, steps=1))
    batch = len(prompt.values)
    job = Job(order, Canvas.empty(batch, 6), Noise(range(batch)), Sampling(), torch.full((6,), 2.0) if guided else None)
    runner = Runner(system, order, prompt, batch, guided)
    return torch.cat([prediction.logits for _, prediction in run(parallel, job, runner)], 1)


@torch.no_grad()
@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("kind", ["raster", "lpd"])
def test_a_padded_prompt_is_the_prompt(kind: str, guided: bool) -> None:
    """Left padding changes nothing: not the law of any token, cached or taught, guided or not."""
    long, short = pair(kind, slots=5, padding=2)
    words = torch.randn(1, 3, FEATURES, generator=torch.Generator().manual_seed(1))
    plain = Features(words, torch.ones(1, 3, dtype=torch.bool))
    padding = 100 * torch.randn(2, 2, FEATURES, generator=torch.Generator().manual_seed(2))
    shown = torch.tensor([[0, 0, 1, 1, 1]]).bool().expand(2, -1)
    padded = Features(torch.cat([padding, words.expand(2, -1, -1)], 1), shown)
    order = order_of(kind)
    expected = stepwise(short, plain, order, guided).expand(2, -1, -1)
    both = Order(order.batch(1).expand(2, -1), order.sizes)
    made = stepwise(long, padded, both, guided)
    # draws: image 0 of both runs has seed 0; image 1 has another, so only its first group is the same
    torch.testing.assert_close(made[0], expected[0], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(made[1, :1], expected[1, :1], atol=2e-5, rtol=1e-4)
    codes = torch.randint(VOCABULARY, (1, 6), generator=torch.Generator().manual_seed(3))
    taught = teacher_logits(long, codes.expand(2, -1), padded, both)
    plainly = teacher_logits(short, codes, plain, order)
    torch.testing.assert_close(taught, plainly.expand(2, -1, -1), atol=2e-5, rtol=1e-4)


def test_a_padded_row_sees_itself_and_nobody_sees_it() -> None:
    """A row that saw nothing would be a division by zero."""
    long, _ = pair("raster", slots=5, padding=2)
    shown = torch.tensor([[0, 0, 1, 1, 1]]).bool()
    context = long.context(Features(torch.zeros(1, 5, FEATURES), shown), guided=False)
    for rows in (long.plan((1,) * 6).whole(long.rule, CPU), long.plan((1,) * 6).step(0, long.rule, CPU)):
        mask = long._mask(rows, context)
        assert mask is not None and mask.any(-1).all()
        assert torch.equal(mask[0, 0, :, :2], torch.eye(rows.count, 2, dtype=torch.bool))


@torch.no_grad()
def test_prompts_of_different_lengths_share_a_batch() -> None:
    long, _ = pair("raster", slots=5, padding=2)
    values = torch.randn(2, 5, FEATURES, generator=torch.Generator().manual_seed(1))
    shown = torch.tensor([[0, 0, 0, 1, 1], [1, 1, 1, 1, 1]]).bool()
    codes = torch.randint(VOCABULARY, (2, 6), generator=torch.Generator().manual_seed(3))
    together = teacher_logits(long, codes, Features(values, shown), raster(GRID))
    for image in range(2):
        one = slice(image, image + 1)
        alone = teacher_logits(long, codes[one], Features(values[one], shown[one]), raster(GRID))
        torch.testing.assert_close(together[one], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision(name: str) -> None:
    """bfloat16 weights: float32 logits near those of float32 weights, valid codes, float32 pixels."""
    exact = toy(name)
    half = copy.deepcopy(exact.models["main"]).to(torch.bfloat16)
    system: System = replace(exact, models={"main": half}, tokenizer=copy.deepcopy(exact.tokenizer).to(torch.bfloat16))
    request = Request(given(exact, 2), (1, 2), guidance=1.0)
    logits = []
    with torch.inference_mode():
        for one in (exact, system):
            job, runner = begin(one, request, CPU)
            passes = list(run(one.decoder, job, runner))
            logits.append(passes[0][1].logits)
            assert all(prediction.logits.dtype == torch.float32 for _, prediction in passes)
            assert int(job.canvas.values.min()) >= 0 and int(job.canvas.values.max()) < VOCABULARY
            assert job.canvas.known.all()
        assert pixels(system, job.canvas).dtype == torch.float32
    spread = logits[0].std()
    assert 0 < (logits[1] - logits[0]).abs().mean() < 0.1 * spread


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_trained(name: str) -> None:
    """Teacher forcing reaches every parameter: none is left out of the graph or multiplied by nothing."""
    system = toy(name)
    model = copy.deepcopy(system.models["main"]).requires_grad_(True)
    order = system.order(system.grid, system.preset.steps, Noise((1, 2)))
    codes = torch.randint(VOCABULARY, (2, system.grid.tokens), generator=torch.Generator().manual_seed(0))
    view = None
    if model.view is not None:
        view = torch.randn(2, system.grid.tokens - 1, model.view.in_features)
    condition, dropped = given(system, 2), torch.tensor([True, False])
    teacher_logits(model, codes, condition, order, dropped, view).square().sum().backward()
    untrained = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    }
    assert untrained == set()


def test_dropout_is_for_training_alone() -> None:
    condition = FeaturesCondition(FEATURES, 2, SIZE.width)
    model = llamagen.transformer(SIZE, GRID, vocabulary=VOCABULARY, condition=condition, dropout=0.5)
    torch.manual_seed(0)
    torch.nn.init.normal_(model.head.out.weight)
    torch.nn.init.normal_(model.condition.get_buffer("absent"))
    prompt = Features(torch.randn(1, 2, FEATURES), torch.ones(1, 2, dtype=torch.bool))
    codes = torch.zeros(1, 6, dtype=torch.long)
    for training in (True, False):
        model.train(training)
        one, two = (teacher_logits(model, codes, prompt, raster(GRID)) for _ in range(2))
        assert torch.equal(one, two) is not training
