"""What holds for the systems with latents, where it must be said otherwise than for codes (tests/properties)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parvis.canvas import Canvas
from parvis.decode.job import proceed
from parvis.engine.runner import Runner, run
from parvis.generate import begin, generate
from parvis.order import Order
from parvis.request import Request
from parvis.sampling import Sampling
from parvis.system import System
from parvis.train.latents import velocities
from toys import CHANNELS, LATENTS, toy
from toys import given as condition_of

CPU = torch.device("cpu")
QUICK = settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 2**40)


@pytest.fixture(params=LATENTS)
def system(request: pytest.FixtureRequest) -> System:
    return toy(request.param)


def ask(system: System, seed: int, **more: object) -> Request:
    return Request(condition_of(system, 2), (seed, seed + 1), **more)  # type: ignore[arg-type]


def said(prediction: object) -> torch.Tensor:
    """What the network says of the asked positions: the condition of a diffusion head, or a velocity."""
    return prediction.condition if hasattr(prediction, "condition") else prediction.velocity  # type: ignore[attr-defined]


@QUICK
@given(seed=seeds, guided=st.booleans())
def test_cached_equals_uncached(system: System, seed: int, guided: bool) -> None:
    """Each pass equals the same pass asked of a runner that has seen nothing before."""
    with torch.inference_mode():
        job, runner = begin(system, ask(system, seed, guidance=None if guided else 1.0), CPU)
        process = system.decoder(job)
        message = proceed(process)
        while message is not None:
            cached = runner.answer(job.canvas, message)
            fresh = Runner(system, job.order, runner.condition, 2, runner.guided).answer(job.canvas, message)
            torch.testing.assert_close(said(cached), said(fresh), atol=2e-4, rtol=1e-4)
            message = proceed(process, cached)


@QUICK
@given(seed=seeds, data=st.data())
def test_hidden_values_have_no_influence(system: System, seed: int, data: st.DataObject) -> None:
    """What lies on the canvas where nothing is known yet is never read; what is known is."""
    with torch.inference_mode():
        job, _ = begin(system, ask(system, seed, guidance=1.0), CPU)
        canvas, _ = generate(system, ask(system, seed, guidance=1.0))
        group = data.draw(st.integers(1, len(job.order.sizes) - 1))
        draft = torch.randn(2, job.order.sizes[group], CHANNELS) if system.models["main"].drafts else None
        message = job.ask(group, draft=draft, time=None if draft is None else (0.7, 0.4))
        later = job.order.batch(2)[:, job.order.bounds[group] :]
        first = job.order.batch(2)[:, :1]
        answers = []
        for positions in (later[:, :0], later, first):
            values = canvas.values.clone()
            changed = Canvas(values, canvas.known.clone())
            changed.write(positions, -changed.read(positions) - 1)
            runner = Runner(system, job.order, condition_of(system, 2), 2, guided=False)
            answers.append(said(runner.answer(changed, message)))
    assert torch.equal(answers[0], answers[1])
    assert (answers[0] - answers[2]).abs().max() > 1e-3


@QUICK
@given(seed=seeds, data=st.data())
def test_training_with_a_clean_context_is_decoding(seed: int, data: st.DataObject) -> None:
    """xAR's training rows, all groups before one clean, answer for that group what the cache answers in decoding."""
    system = toy("xar")
    model, generator = system.models["main"], torch.Generator().manual_seed(seed)
    canvas, _ = generate(system, ask(system, seed))
    with torch.inference_mode():
        job, runner = begin(system, ask(system, seed, guidance=1.0), CPU)
        group, time = data.draw(st.integers(0, 5)), 0.625
        positions = job.order.group(group)
        noise = torch.randn(2, job.order.tokens, CHANNELS, generator=generator)
        times = torch.rand(2, 6, generator=generator)
        times[:, :group], times[:, group] = 0, time
        draft = ((1 - time) * canvas.values + time * noise)[:, positions]
        job.canvas.values[:] = canvas.values
        decoded = runner.answer(job.canvas, job.ask(group, draft=draft, time=(time, 0.5)))
        taught = velocities(model, canvas.values, condition_of(system, 2), job.order, times, noise)
    start, stop = job.order.bounds[group : group + 2]
    torch.testing.assert_close(taught[:, start:stop], said(decoded), atol=2e-4, rtol=1e-4)


def test_noisy_context_sees_no_later_group() -> None:
    system = toy("xar")
    order = system.order(system.grid, 6, None)  # type: ignore[arg-type]
    values, noise, times = torch.randn(2, 24, CHANNELS), torch.randn(2, 24, CHANNELS), torch.rand(2, 6)
    model, labels = system.models["main"], condition_of(system, 2)
    before = velocities(model, values, labels, order, times, noise)
    other = values.clone()
    other[:, order.group(3)] += 1
    after = velocities(model, other, labels, order, times, noise)
    torch.testing.assert_close(after[:, :12], before[:, :12])
    assert (after - before)[:, 12:].abs().amax((0, 2)).min() > 1e-4


def test_the_order_of_mar_does_not_change_what_is_said() -> None:
    """Which cells are known counts, not when they became known: no position in the order is fed."""
    system = toy("mar")
    values = torch.randn(1, 24, CHANNELS)
    answers = []
    for first in (torch.tensor([3, 7, 11]), torch.tensor([11, 3, 7])):
        rest = torch.tensor([i for i in range(24) if i not in first])
        order = Order(torch.cat([first, rest]), (21,), 3)
        canvas = Canvas(values.clone(), torch.zeros(1, 24, dtype=torch.bool))
        with torch.inference_mode():
            runner = Runner(system, order, torch.tensor([2]), 1, guided=False)
            job, _ = begin(system, Request(torch.tensor([2]), (0,)), CPU)
            job.order = order
            answers.append(said(runner.answer(canvas, job.ask(0))))
    torch.testing.assert_close(answers[0], answers[1], atol=1e-4, rtol=1e-4)


def test_temperature_changes_the_image_and_top_k_is_refused(system: System) -> None:
    plain, cool = (generate(system, ask(system, 3, sampling=Sampling(t)))[0].values for t in (1.0, 0.5))
    assert not torch.allclose(plain, cool, atol=1e-2)
    for wrong in (Sampling(top_k=3), Sampling(top_p=0.5), Sampling(coupled=True)):
        with pytest.raises(ValueError, match="draws latents, not codes"):
            generate(system, ask(system, 3, sampling=wrong))


def test_a_continued_image_is_the_image() -> None:
    system = toy("xar")
    whole, _ = generate(system, ask(system, 5))
    with torch.inference_mode():
        job, _ = begin(system, ask(system, 5), CPU)
        for group in (1, 4):
            known = torch.zeros(2, 24, dtype=torch.bool)
            known[:, job.order.positions[: 4 * group]] = True
            again, passes = generate(system, ask(system, 5, values=whole.values, known=known))
            torch.testing.assert_close(again.values, whole.values, atol=2e-4, rtol=2e-4)
            assert passes == 3 * (6 - group)


def test_a_decoder_runs_to_its_end(system: System) -> None:
    with torch.inference_mode():
        job, runner = begin(system, ask(system, 1), CPU)
        passes = [message for message, _ in run(system.decoder, job, runner)]
    assert len(passes) == (6 if system.name == "toy-mar" else 18) and job.canvas.known.all()
