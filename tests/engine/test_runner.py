"""The runner: hand-over between models, known tokens, guesses, and no waiting for the device."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from parvis.canvas import Canvas
from parvis.decode.denoise import denoise
from parvis.decode.jacobi import jacobi
from parvis.decode.job import Job
from parvis.decode.parallel import parallel
from parvis.decode.refine import refine
from parvis.decode.relay import relay
from parvis.engine.runner import Runner, content_of, run
from parvis.errors import IncompatibleParts
from parvis.flow import times
from parvis.generate import begin, generate
from parvis.model.transformer import Transformer
from parvis.noise import Noise
from parvis.order import Order
from parvis.request import Request
from parvis.sampling import Sampling
from parvis.system import System
from parvis.train.objective import teacher_logits
from toys import CHANNELS, EVERY, LATENTS, NAMES, VOCABULARY, given, toy

CPU = torch.device("cpu")
SAMPLINGS = {
    "plain": Sampling(),
    "filtered": Sampling(temperature=0.7, top_k=5, top_p=0.9),
    "greedy": Sampling(top_k=1),
    "coupled": Sampling(coupled=True),
}


def order_of(system: System, *seeds: int) -> Order:
    return system.order(system.grid, system.preset.steps, Noise(seeds))


def other(model: Transformer) -> Transformer:
    """Another model of the same shape."""
    generator = torch.Generator().manual_seed(8)
    changed = copy.deepcopy(model)
    for parameter in changed.parameters():
        parameter.data.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return changed


def taught(system: System, model: Transformer, codes: torch.Tensor, order: Order) -> torch.Tensor:
    rows = model.plan(order.sizes).whole(model.rule, CPU)
    view = content_of(system, rows, Canvas(codes, torch.ones_like(codes, dtype=torch.bool)))
    return teacher_logits(model, codes, given(system, len(codes)), order, view_BnC=view)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_relay_hands_over_in_the_middle(name: str) -> None:
    """The second model answers as if it had read all the first wrote, and it is not the first."""
    one = toy(name)
    first, second = one.models["main"], other(one.models["main"])
    order = order_of(one, 1, 2)
    handoff = len(order.sizes) // 2
    models = {"main": first, "draft": first, "refine": second}
    system = replace(one, models=models, decoder=relay(handoff), order=lambda grid, steps, noise: order)
    job, runner = begin(system, Request(given(one, 2), (1, 2), guidance=1.0), CPU)
    logits = torch.cat([prediction.logits for _, prediction in run(system.decoder, job, runner)], 1)
    rank = order.bounds[handoff]
    drafted, refined = (taught(one, model, job.canvas.values, order) for model in (first, second))
    torch.testing.assert_close(logits[:, :rank], drafted[:, :rank], atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(logits[:, rank:], refined[:, rank:], atol=2e-4, rtol=1e-4)
    assert (drafted - refined)[:, rank:].abs().max() > 0.1


@pytest.mark.parametrize("name", ["raster", "lpd", "var", "randar", "arpg", "nar"])
def test_relay_of_a_model_with_itself_is_the_model(name: str) -> None:
    one = toy(name)
    model, request = one.models["main"], Request(given(one, 2), (1, 2))
    system = replace(one, models={"main": model, "draft": model, "refine": model}, decoder=relay(2))
    assert torch.equal(generate(system, request)[0].values, generate(one, request)[0].values)


@pytest.mark.parametrize("name", ["raster", "var", "nar"])
def test_a_continued_image_is_the_image(name: str) -> None:
    """Given its own first groups, the same seed draws the same rest, guidance and all."""
    system, request = toy(name), Request(given(toy(name), 2), (3, 4))
    whole, _ = generate(system, request)
    order = order_of(system, 3, 4)
    for count in order.bounds[1:-1][:: 4 if name == "raster" else 1]:
        known = torch.zeros(2, order.tokens, dtype=torch.bool)
        known[:, order.positions[:count]] = True
        again, passes = generate(system, replace(request, values=whole.values, known=known))
        assert torch.equal(again.values, whole.values)
        assert passes == len(order.sizes) - order.bounds.index(count)


@torch.no_grad()
@pytest.mark.parametrize("name", ["randar", "arpg"])
def test_one_by_one_is_what_is_taught_and_groups_are_not(name: str) -> None:
    """These papers train with groups of one and decode larger ones, whose tokens see other rows than in training."""
    system = toy(name)
    tokens = system.grid.tokens
    for steps, same in ((tokens, True), (system.preset.steps, False)):
        order = system.order(system.grid, steps, Noise((1, 2)))
        one = replace(system, order=lambda grid, steps, noise, order=order: order)
        job, runner = begin(one, Request(given(system, 2), (1, 2), guidance=1.0), CPU)
        logits = torch.cat([prediction.logits for _, prediction in run(system.decoder, job, runner)], 1)
        lesson = taught(system, system.models["main"], job.canvas.values, Order(order.positions, (1,) * tokens))
        assert bool((logits - lesson).abs().max() < 2e-4) is same


def test_known_tokens_are_the_first_group_of_a_plan() -> None:
    """LPD with known tokens answers as teacher forcing with the known tokens as one group."""
    system = toy("lpd")
    values = torch.randint(VOCABULARY, (2, 24), generator=torch.Generator().manual_seed(0))
    known = torch.stack([torch.arange(24) % 3 == 0, torch.arange(24) % 3 == 1])
    with torch.inference_mode():
        request = Request(given(system, 2), (1, 2), guidance=1.0, values=values, known=known)
        job, runner = begin(system, request, CPU)
        logits = torch.cat([prediction.logits for _, prediction in run(system.decoder, job, runner)], 1)
        order = Order(job.order.positions, (8, *job.order.sizes))
        expected = taught(system, system.models["main"], job.canvas.values, order)
    torch.testing.assert_close(logits, expected[:, 8:], atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("window", [1, 3, 16])
def test_jacobi_continues_what_is_known(window: int) -> None:
    system, request = toy("raster"), Request(given(toy("raster"), 2), (5, 6))
    whole, _ = generate(system, request)
    known = torch.arange(16).expand(2, -1) < 5
    edited = replace(request, values=whole.values, known=known)
    parallel, passes = generate(replace(system, decoder=jacobi(window), passes_per_group=None), edited)
    assert torch.equal(parallel.values, whole.values) and passes <= 11


@pytest.mark.parametrize("name", ["lpd", "par", "var", "nar", "randar", "arpg", "mar"])
def test_a_window_of_guesses_needs_the_raster_framing(name: str) -> None:
    with pytest.raises(IncompatibleParts, match="choose the parallel decoder"):
        generate(replace(toy(name), decoder=jacobi(4)), Request(given(toy(name), 1), (0,)))


def test_guesses_inside_a_group_are_refused_and_not_ignored() -> None:
    with pytest.raises(IncompatibleParts, match="toy-lpd: the decoder guesses values inside a group"):
        generate(replace(toy("lpd"), decoder=refine(2)), Request(given(toy("lpd"), 1), (0,)))


@pytest.mark.parametrize("name", ["lpd", "mar"])
def test_only_a_model_that_reads_drafts_denoises(name: str) -> None:
    with pytest.raises(IncompatibleParts, match="which this model cannot be shown; choose the parallel decoder"):
        generate(replace(toy(name), decoder=denoise(times(2))), Request(given(toy(name), 1), (0,)))


def test_a_model_that_reads_drafts_needs_them() -> None:
    with pytest.raises(IncompatibleParts, match=r"toy-xar: .* choose the denoise decoder"):
        generate(replace(toy("xar"), decoder=parallel), Request(given(toy("xar"), 1), (0,)))


WAITING = ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::masked_select", "aten::equal")
"""What reads values back to the host (``item``, ``bool``, masks as indices)."""
MAKING = ("aten::lift_fresh", "aten::from_file")
"""What brings a constant from the host (``torch.tensor([...])``)."""


class Forbid(TorchDispatchMode):
    """Raises where an operation would wait for the device, or copy from the host."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        assert name not in WAITING + MAKING, f"{name} makes the host and the device wait for each other"
        indices = args[1] if name in ("aten::index", "aten::index_put_") else ()
        assert all(index is None or index.dtype != torch.bool for index in indices), f"{name} by a mask waits"
        return func(*args, **(kwargs or {}))


def test_waiting_is_noticed() -> None:
    x = torch.arange(3)
    for wait in (lambda: x[0].item(), lambda: bool(x.any()), lambda: x[x > 1], lambda: torch.tensor([1])):
        with Forbid(), pytest.raises(AssertionError, match="wait"):
            wait()


@pytest.mark.parametrize(
    ("name", "sampling"), [(n, s) for n in NAMES for s in SAMPLINGS] + [(n, "plain") for n in LATENTS]
)
def test_passes_never_wait_for_the_device(name: str, sampling: str) -> None:
    """Once the rows of a plan are made, a whole guided generation reads nothing back and makes nothing anew."""
    system, order = toy(name), order_of(toy(name), 1, 2)
    request = Request(given(system, 2), (1, 2), sampling=SAMPLINGS[sampling])
    system = replace(system, order=lambda grid, steps, noise: order)
    with torch.inference_mode():
        begin_and_end(system, request)
        job, runner = begin(system, request, CPU)
        with Forbid():
            for _ in run(system.decoder, job, runner):
                pass
    assert job.canvas.known.all()


def begin_and_end(system: System, request: Request) -> None:
    job, runner = begin(system, request, CPU)
    for _ in run(system.decoder, job, runner):
        pass


def answer_of(prediction: Any) -> torch.Tensor:
    """Logits of codes, what a diffusion head is told, or a velocity."""
    names = ("logits", "condition", "velocity")
    return next(getattr(prediction, name) for name in names if hasattr(prediction, name))


@pytest.mark.parametrize("name", EVERY)
def test_a_whole_generation_on_the_meta_device(name: str) -> None:
    """All tensors of a generation are on the model's device: nothing is mixed with the host, nothing read back."""
    system = toy(name)
    order, meta = order_of(system, 1, 2).to("meta"), torch.device("meta")
    moved = replace(
        system,
        models={"main": copy.deepcopy(system.models["main"]).to(meta)},
        tokenizer=copy.deepcopy(system.tokenizer).to(meta),
    )
    canvas = Canvas.empty(2, order.tokens, meta, system.tokenizer.channels)
    scales = system.guidance(2.0)(order.sizes).to(meta)
    job = Job(order, canvas, Noise((1, 2), meta), Sampling(top_k=5, top_p=0.9), scales)
    with torch.inference_mode():
        runner = Runner(moved, order, given(system, 2).to(meta), 2, guided=True)
        answers = [answer_of(prediction) for _, prediction in run(system.decoder, job, runner)]
    width = {"mar": 32, "xar": CHANNELS}.get(name, VOCABULARY)
    passes = {"xar": 3, "maskgit": 4}.get(name, 1)
    assert [answer.shape for answer in answers] == [(2, size, width) for size in order.sizes for _ in range(passes)]
    assert {answer.device.type for answer in answers} == {"meta"}


def test_rows_are_shared_by_generations() -> None:
    """A second generation of the same sizes makes no rows anew, though its orders are others."""
    system = toy("lpd")
    generate(system, Request(given(system, 1), (1,)))
    model, order = system.models["main"], order_of(system, 1)
    made = dict(model.plan(order.sizes)._made)
    generate(system, Request(given(system, 2), (7, 8)))
    again = model.plan(order.sizes)._made
    assert len(again) == len(made) and all(again[key] is made[key] for key in made)
