"""What holds for every system (docs/design.md, habits, 5): run over all toys."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parvis.canvas import Canvas
from parvis.decode.jacobi import jacobi
from parvis.decode.job import proceed
from parvis.decode.parallel import parallel
from parvis.engine.runner import Runner, content_of, run
from parvis.generate import begin, generate
from parvis.order import Order
from parvis.request import Request
from parvis.sampling import Sampling
from parvis.system import System
from parvis.train.objective import teacher_logits
from toys import CHANNELS, EVERY, NAMES, VOCABULARY, toy
from toys import given as condition_of

CPU = torch.device("cpu")
QUICK = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 2**40)


def draw(system: System, request: Request) -> tuple[torch.Tensor, torch.Tensor, Order]:
    """Final codes, the (guided) logits of every rank, and the order."""
    with torch.inference_mode():
        job, runner = begin(system, request, CPU)
        logits = [prediction.logits for _, prediction in run(system.decoder, job, runner)]
    return job.canvas.values, torch.cat(logits, 1), job.order


def ask(system: System, batch: int, seed: int, **more: object) -> Request:
    return Request(condition_of(system, batch), tuple(range(seed, seed + batch)), **more)  # type: ignore[arg-type]


def content(system: System, rows: object, codes: torch.Tensor) -> torch.Tensor | None:
    return content_of(system, rows, Canvas(codes, torch.ones_like(codes, dtype=torch.bool)))  # type: ignore[arg-type]


def values_of(system: System, request: Request) -> torch.Tensor:
    return generate(system, request)[0].values


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal codes, or latents that differ by rounding alone."""
    return torch.equal(a, b) if a.dtype == torch.long else torch.allclose(a, b, atol=2e-4, rtol=2e-4)


@pytest.fixture(params=EVERY)
def every(request: pytest.FixtureRequest) -> System:
    return toy(request.param)


def test_nothing_is_read_from_a_cache_that_was_not_written(every: System) -> None:
    """Caches of memory that was never written, full of NaN: the same values."""
    request = ask(every, 2, 3, guidance=2.0)
    wanted = values_of(every, request)
    torch.use_deterministic_algorithms(True, warn_only=True)  # so that torch.empty is full of NaN
    try:
        assert torch.empty(3).isnan().all()
        assert torch.equal(values_of(every, request), wanted)
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.fixture(params=NAMES)
def system(request: pytest.FixtureRequest) -> System:
    return toy(request.param)


class CountingCanvas(Canvas):
    """Counts how often each position is written."""

    writes: torch.Tensor

    def write(self, positions: torch.Tensor, values: torch.Tensor) -> None:
        super().write(positions, values)
        index = positions.expand(self.batch, positions.shape[-1])
        self.writes = getattr(self, "writes", torch.zeros_like(self.known, dtype=torch.long)).scatter_add(
            1, index, torch.ones_like(index)
        )


@QUICK
@given(seed=seeds)
def test_each_position_is_written_exactly_once(every: System, seed: int) -> None:
    system = every
    with torch.inference_mode():
        job, runner = begin(system, ask(system, 2, seed), CPU)
        job.canvas = CountingCanvas(job.canvas.values, job.canvas.known)
        for _ in run(system.decoder, job, runner):
            pass
    assert (job.canvas.writes == 1).all()
    assert job.canvas.known.all()


@QUICK
@given(seed=seeds, guided=st.booleans())
def test_cached_equals_uncached(system: System, seed: int, guided: bool) -> None:
    """Each pass through the cache equals the same pass with everything before it computed anew."""
    request = ask(system, 2, seed, guidance=None if guided else 1.0)
    with torch.inference_mode():
        job, runner = begin(system, request, CPU)
        process = parallel(job)
        message = proceed(process)
        while message is not None:
            cached = runner.answer(job.canvas, message)
            fresh = Runner(system, job.order, runner.condition, 2, runner.guided).answer(job.canvas, message)
            torch.testing.assert_close(cached.logits, fresh.logits, atol=2e-4, rtol=1e-4)
            message = proceed(process, cached)


@QUICK
@given(seed=seeds, batch=st.integers(2, 4))
def test_alone_equals_batched(every: System, seed: int, batch: int) -> None:
    together = values_of(every, ask(every, batch, seed))
    for index in range(batch):
        alone = Request(condition_of(every, batch)[index : index + 1], (seed + index,))
        assert same(values_of(every, alone)[0], together[index])


@QUICK
@given(seed=seeds)
def test_same_seed_same_image_other_seed_other_image(every: System, seed: int) -> None:
    first, again = values_of(every, ask(every, 2, seed)), values_of(every, ask(every, 2, seed))
    assert torch.equal(first, again)
    assert not same(first, values_of(every, ask(every, 2, seed + 2)))


@QUICK
@given(seed=seeds)
def test_one_pass_training_logits_equal_stepwise_logits(system: System, seed: int) -> None:
    request = ask(system, 3, seed, guidance=1.0)
    codes, stepwise, order = draw(system, request)
    model = system.models["main"]
    view = content(system, model.plan(order.sizes).whole(model.rule, CPU), codes)
    taught = teacher_logits(model, codes, request.given, order, view_BnC=view)
    torch.testing.assert_close(taught, stepwise, atol=2e-4, rtol=1e-4)


@QUICK
@given(seed=seeds, data=st.data())
def test_known_positions_never_change(every: System, seed: int, data: st.DataObject) -> None:
    system, latents = every, every.tokenizer.channels is not None
    batch, tokens = 2, system.grid.tokens
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(VOCABULARY, (batch, tokens), generator=generator)
    if latents:
        values = torch.randn(batch, tokens, CHANNELS, generator=generator)
    if system.edits == "any":
        count = data.draw(st.integers(1, tokens - 1))
        known = torch.rand(batch, tokens, generator=generator).argsort(1) < count
    else:
        whole = system.order(system.grid, system.preset.steps, None)  # type: ignore[arg-type]
        count = whole.bounds[data.draw(st.integers(1, len(whole.sizes) - 1))]
        known = torch.zeros(batch, tokens, dtype=torch.bool)
        known[:, whole.positions[:count]] = True
    request = ask(system, batch, seed, values=values, known=known)
    if system.edits == "none":
        with pytest.raises(ValueError, match="cannot be given known tokens"):
            values_of(system, request)
        return
    drawn = values_of(system, request)
    assert torch.equal(drawn[known], values[known])
    assert begin(system, request, CPU)[0].order.given == count
    one, other = values_of(system, replace(request, seeds=(seed, seed + 9)))
    assert not same(one, other)


def test_known_values_are_seen(system: System) -> None:
    """What is asked depends on the known tokens: other known values give other logits."""
    if system.edits == "none":
        pytest.skip("this order cannot be given known tokens")
    tokens = system.grid.tokens
    first = system.order(system.grid, system.preset.steps, None).bounds[-2] if system.edits == "prefix" else tokens // 2  # type: ignore[arg-type]
    known = (torch.arange(tokens) < first)[None]
    logits = []
    for value in (0, 1):
        request = ask(system, 1, 3, values=torch.full((1, tokens), value), known=known, sampling=Sampling(top_k=1))
        logits.append(draw(system, request)[1])
    assert (logits[0] - logits[1]).abs().max() > 1e-3


@QUICK
@given(seed=seeds, data=st.data())
def test_hidden_rows_have_no_influence(system: System, seed: int, data: st.DataObject) -> None:
    """Changing tokens of group k and later changes no logit of groups up to k."""
    request = ask(system, 2, seed, guidance=1.0)
    codes, _, order = draw(system, request)
    group = data.draw(st.integers(0, len(order.sizes) - 1))
    model, start = system.models["main"], order.bounds[group]
    later = order.batch(2)[:, start:]
    other = codes.scatter(1, later, (codes.gather(1, later) + 1) % VOCABULARY)
    rows = model.plan(order.sizes).whole(model.rule, CPU)
    before, after = (
        teacher_logits(model, c, request.given, order, view_BnC=content(system, rows, c)) for c in (codes, other)
    )
    stop = order.bounds[group + 1]
    torch.testing.assert_close(before[:, :stop], after[:, :stop], atol=1e-5, rtol=1e-5)
    if stop < order.tokens:
        assert (before[:, stop:] - after[:, stop:]).abs().max() > 1e-4


@QUICK
@given(seed=seeds, window=st.integers(2, 7), greedy=st.booleans())
def test_jacobi_equals_sequential(seed: int, window: int, greedy: bool) -> None:
    """On a real network: the same codes in at most as many passes."""
    raster = toy("raster")
    request = ask(raster, 2, seed, sampling=Sampling(top_k=1) if greedy else Sampling())
    sequential, _ = generate(raster, request)
    parallelised, passes = generate(replace(raster, decoder=jacobi(window), passes_per_group=None), request)
    assert torch.equal(parallelised.values, sequential.values)
    assert passes <= raster.grid.tokens
