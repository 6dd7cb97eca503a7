"""From a request to a canvas: steps, guidance, known tokens, the events of a stream."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from parvis.decode.jacobi import jacobi
from parvis.errors import UsageError
from parvis.generate import begin, generate, pixels, plan, stream
from parvis.locality import lpd as locality_order
from parvis.noise import Noise
from parvis.request import Request
from parvis.sampling import Sampling
from parvis.schedule import tail
from parvis.systems import lpd
from toys import NAMES, VOCABULARY, given, toy

CPU = torch.device("cpu")


def ask(name: str, batch: int = 2, **more: object) -> Request:
    return Request(given(toy(name), batch), tuple(range(batch)), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_the_canvas_fills_up_group_by_group(name: str) -> None:
    system = toy(name)
    order = system.order(system.grid, system.preset.steps, Noise((0, 1)))
    events, before = 0, torch.zeros(2, order.tokens, dtype=torch.bool)
    for event in stream(system, ask(name)):
        events += 1
        assert (event.index, event.total) == (events, len(order.sizes))
        written = event.canvas.known & ~before
        expected = torch.zeros_like(before).scatter(
            1, order.batch(2)[:, order.bounds[events - 1] : order.bounds[events]], True
        )
        assert torch.equal(written, expected)
        before = event.canvas.known.clone()
    assert before.all() and events == len(order.sizes)


def test_events_show_the_canvas_that_is_returned() -> None:
    *_, last = stream(toy("lpd"), ask("lpd"))
    canvas, passes = generate(toy("lpd"), ask("lpd"))
    assert torch.equal(last.canvas.values, canvas.values) and passes == last.index == toy("lpd").preset.steps


def test_a_stream_that_is_left_early_leaves_nothing_behind() -> None:
    first = next(iter(stream(toy("lpd"), ask("lpd"))))
    assert first.canvas.known.sum() == 2 and not torch.is_inference_mode_enabled()
    assert torch.equal(generate(toy("lpd"), ask("lpd"))[0].values, generate(toy("lpd"), ask("lpd"))[0].values)


def test_a_decoder_of_no_fixed_length_promises_no_total() -> None:
    system = replace(toy("raster"), decoder=jacobi(4), passes_per_group=None)
    totals = {event.total for event in stream(system, ask("raster"))}
    assert totals == {None}


@pytest.mark.parametrize("steps", [1, 3, 24])
def test_steps_are_passes_where_the_order_allows(steps: int) -> None:
    assert generate(toy("lpd"), ask("lpd", steps=steps))[1] == steps


@pytest.mark.parametrize("steps", [0, -2, 25])
def test_impossible_steps_are_refused_before_anything_runs(steps: int) -> None:
    with pytest.raises(UsageError, match=f"steps is {steps}; toy-lpd has 24 tokens, so give 1 to 24"):
        begin(toy("lpd"), ask("lpd", steps=steps), CPU)


def test_guidance_of_one_is_none_and_costs_no_second_copy() -> None:
    job, runner = begin(toy("lpd"), ask("lpd", guidance=1.0), CPU)
    assert job.scales is None and not runner.guided
    assert runner.seat("main").cache.keys.shape[1] == 2
    job, runner = begin(toy("lpd"), ask("lpd", guidance=2.0), CPU)
    assert job.scales is not None and job.scales.tolist() == pytest.approx([1 + r / 24 for r in range(24)])
    assert runner.seat("main").cache.keys.shape[1] == 4


def test_the_preset_holds_where_the_request_is_silent() -> None:
    system = replace(toy("lpd"), preset=replace(toy("lpd").preset, sampling=Sampling(top_k=1)))
    greedy = generate(toy("lpd"), ask("lpd", guidance=2.0, steps=6, sampling=Sampling(top_k=1)))[0]
    assert torch.equal(generate(system, ask("lpd"))[0].values, greedy.values)
    assert not torch.equal(generate(toy("lpd"), ask("lpd"))[0].values, greedy.values)


def known_of(name: str, *positions: list[int]) -> dict[str, torch.Tensor]:
    """Known tokens, one list of positions per image."""
    known = torch.zeros(len(positions), toy(name).grid.tokens, dtype=torch.bool)
    for row, some in zip(known, positions, strict=True):
        row[some] = True
    return {"known": known, "values": torch.full(known.shape, VOCABULARY - 1)}


def test_known_tokens_stay_and_shorten_the_way() -> None:
    """LPD takes any set; half the tokens known, about half the passes or fewer are left of the same table."""
    some = known_of("lpd", list(range(12)), list(range(0, 24, 2)))
    canvas, passes = generate(toy("lpd"), ask("lpd", **some))
    assert (canvas.values[some["known"]] == VOCABULARY - 1).all() and canvas.known.all()
    assert passes <= toy("lpd").preset.steps
    order, _ = plan(toy("lpd"), ask("lpd", **some), CPU)
    assert order.given == 12 and sum(order.sizes) == 12 and order.before == (12,)


def test_the_passes_are_those_that_the_schedule_has_left_or_as_asked() -> None:
    system, some = toy("lpd"), known_of("lpd", list(range(12)), list(range(0, 24, 2)))
    whole, _ = plan(system, ask("lpd"), CPU)
    assert plan(system, ask("lpd", **some), CPU)[0].sizes == tail(whole.sizes, 12)
    assert len(plan(system, ask("lpd", steps=9, **some), CPU)[0].sizes) == 9


def test_an_order_is_planned_round_what_is_known() -> None:
    system, some = replace(toy("lpd"), around=lpd.around(1.0)), known_of("lpd", list(range(12)), list(range(0, 24, 2)))
    order, noise = plan(system, ask("lpd", **some), CPU)
    want = locality_order(system.grid, order.sizes, noise, repulsion=1.0, known=some["known"])
    assert torch.equal(order.positions, want.positions)
    canvas, _ = generate(system, ask("lpd", **some))
    assert (canvas.values[some["known"]] == VOCABULARY - 1).all() and canvas.known.all()


def test_a_mask_of_nothing_is_no_editing() -> None:
    empty = known_of("lpd", [], [])
    assert torch.equal(generate(toy("lpd"), ask("lpd", **empty))[0].values, generate(toy("lpd"), ask("lpd"))[0].values)


@pytest.mark.parametrize("positions", [[[0, 2], [0, 2]], [[1], [1]], [[0, 1], [0]], [list(range(16))] * 2])
def test_raster_is_given_what_comes_first(positions: list[list[int]]) -> None:
    message = r"toy-raster continues .* must be the first 1, 2, 3, \.\.\. of its 16, in every image alike"
    with pytest.raises(UsageError, match=message):
        generate(toy("raster"), ask("raster", **known_of("raster", *positions)))


@pytest.mark.parametrize("positions", [[0, 1], [1, 2, 3, 4], list(range(14))])
def test_scales_are_given_whole(positions: list[int]) -> None:
    with pytest.raises(UsageError, match="must be the first 1, 5 of its 14"):
        generate(toy("var"), ask("var", **known_of("var", positions, positions)))


@pytest.mark.parametrize(("name", "count"), [("var", 5), ("raster", 7)])
def test_a_continuation_is_guided_as_the_whole(name: str, count: int) -> None:
    system, some = toy(name), list(range(count))
    job, _ = begin(system, ask(name, guidance=4.0, **known_of(name, some, some)), CPU)
    whole, _ = begin(system, ask(name, guidance=4.0), CPU)
    assert job.scales is not None and whole.scales is not None and torch.equal(job.scales, whole.scales)
    assert torch.equal(job.ask(0).scale, whole.scales[count : job.order.bounds[1]])  # type: ignore[arg-type]


def test_an_order_for_each_image_is_continued_for_each() -> None:
    """`prefix` systems whose images have orders of their own."""
    system = replace(toy("lpd"), edits="prefix")
    order = system.order(system.grid, system.preset.steps, Noise((0, 1)))
    first = order.positions[:, : order.bounds[2]]
    some = known_of("lpd", *first.tolist())
    continued, _ = plan(system, ask("lpd", **some), CPU)
    assert continued.given == order.bounds[2] and continued.before == order.sizes[:2]
    assert torch.equal(continued.positions, order.positions) and continued.sizes == order.sizes[2:]


def test_unequally_many_known_tokens_are_refused() -> None:
    with pytest.raises(UsageError, match="every image of a batch must know equally many"):
        generate(toy("lpd"), ask("lpd", **known_of("lpd", [0, 1], [3])))


def test_everything_known_is_refused() -> None:
    everything = list(range(24))
    with pytest.raises(UsageError, match="nothing is left to generate"):
        generate(toy("lpd"), ask("lpd", **known_of("lpd", everything, everything)))


@pytest.mark.parametrize("name", NAMES)
def test_pixels_have_the_size_of_the_grid(name: str) -> None:
    system = toy(name)
    canvas, _ = generate(system, ask(name))
    side = system.tokenizer.factor
    picture = pixels(system, canvas)
    assert picture.shape == (2, 3, side * system.grid.height, side * system.grid.width)
    assert picture.dtype == torch.float32 and not torch.equal(picture[0], picture[1])


def test_steps_that_the_order_fixes_are_refused() -> None:
    raster = toy("raster")
    with pytest.raises(UsageError, match="takes 16 passes"):
        generate(raster, Request(given(raster, 1), (0,), steps=8))
    _, passes = generate(raster, Request(given(raster, 1), (0,), steps=16))
    assert passes == 16
