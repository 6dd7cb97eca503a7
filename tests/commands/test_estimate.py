"""``parvis estimate``: the line through two thin models against a whole one, and what is printed."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from inspect import signature

import pytest
import torch

from parvis.assemble import build, published
from parvis.cli import main
from parvis.systems.small import KINDS, small
from parvis.train.estimate import measure
from parvis.train.optim import optimizers
from recipes import plan as plans
from recipes.small import SMALL

Capture = pytest.CaptureFixture[str]


def toy(kind: str) -> plans.Plan:
    codec = plans.CODECS.get(kind, plans.VQ)
    make = partial(small, kind, 64, width=32, heads=2, tokenizer=codec)
    return plans.Plan(kind, 6, lambda depth: make(depth=depth), 4)


@pytest.mark.parametrize("kind", ["lpd", "raster", "randar", "arpg", "var", "mar", "xar"])
def test_the_line_meets_the_whole_model(kind: str) -> None:
    """Parameters and the optimizer's memory exactly; activations and arithmetic to 1 %."""
    plan = toy(kind)
    torch.manual_seed(0)
    system = plan.build(plan.depth)
    model = system.models["main"].train()
    step = plans.step_of(kind, system, 4, "cpu")
    true = measure(model, step, repeat=1)
    found = plans.estimate(plan, 4)  # from depths 2 and 4, batches 1 and 2
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.flops == pytest.approx(true.flops, rel=0.01)
    assert found.activations == pytest.approx(true.activations, rel=0.01)
    assert found.cache == plans.cache_bytes(system, "cpu")
    step().backward()
    for parameter in model.parameters():  # the null class, which this batch has not
        parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    opts = optimizers(model, "adamw", 1e-3, 0.05)
    for opt in opts:
        opt.step()
    state = sum(
        t.nbytes
        for opt in opts
        for entry in opt.state.values()
        for t in entry.values()
        if torch.is_tensor(t) and t.ndim
    )
    assert found.optimizer == pytest.approx(state, rel=1e-6)
    assert found.weights == sum(p.nbytes for p in model.parameters())


def test_what_is_kept_for_the_backward_pass_is_counted_once_and_without_parameters() -> None:
    linear = torch.nn.Linear(8, 8, bias=False)
    x = torch.randn(5, 8)
    assert measure(linear, lambda: linear(x).sum(), 1).activations == x.nbytes
    assert measure(linear, lambda: (linear(x) + linear(x)).exp().sum(), 1).activations == x.nbytes + 5 * 8 * 4
    assert measure(linear, lambda: linear(x).sum(), 1).flops == 2 * (2 * 5 * 8 * 8)  # x needs no gradient


def test_the_plans_of_published_trainings_and_of_small_recipes() -> None:
    plan = plans.plan_of("lpd-l-256")
    assert (plan.kind, plan.depth, plan.batch, plan.epochs, plan.average) == ("lpd", 24, 2048, 450, False)
    with torch.device("meta"):
        thin = [sum(p.numel() for p in plan.build(depth).models["main"].parameters()) for depth in (2, 4)]
    whole = sum(p.numel() for p in build(published("lpd-l-256")).models["main"].parameters())
    assert thin[0] + (thin[1] - thin[0]) * 11 == whole
    for kind in KINDS:
        own, taken = plans.plan_of(f"{kind}-small"), signature(SMALL[f"{kind}-small"]).parameters
        assert (own.kind, own.steps, own.batch) == (kind, taken["steps"].default, taken["batch"].default)


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(plans, "plan_of", lambda name: replace(toy("raster"), epochs=2, pictures=100))
    assert main(["estimate", "raster-small", "--batch", "10", "--accumulate", "2", "--tflops", "0.001", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    parts = ("weights", "gradients", "optimizer", "average", "activations")
    assert told["batch"] == 10 and told["total"] == sum(told[key] for key in parts) and told["steps"] == 20
    assert told["seconds"] == pytest.approx(told["flops"] / 1e9) and told["hours"] > 0
    assert main(["estimate", "raster-small"]) == 0
    assert "50 steps:" in capsys.readouterr().out


def test_wrong_calls(capsys: Capture) -> None:
    assert main(["estimate", "lpd-smal"]) == 2
    assert "did you mean 'lpd-small'" in capsys.readouterr().err
    assert main(["estimate", "lpd-small", "--batch", "0"]) == 2
    assert main(["estimate", "llamagen-t2i-xl-256"]) == 2
