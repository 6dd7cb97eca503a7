"""The denoise decoder, driven without a network."""

from __future__ import annotations

import pytest
import torch

from oracle import CountedCanvas
from parvis.canvas import Canvas
from parvis.decode.denoise import denoise
from parvis.decode.job import Job, proceed
from parvis.errors import UsageError
from parvis.flow import Velocity, times
from parvis.grid import Grid
from parvis.noise import Noise
from parvis.order import cells
from parvis.sampling import Sampling


def test_every_cell_is_asked_once_per_time_and_written_when_clean() -> None:
    order, steps = cells(Grid.square(4), 2), times(3)
    empty = Canvas.empty(2, 16, channels=3)
    noise = Noise((1, 2))
    job = Job(order, CountedCanvas(empty.values, empty.known), noise, Sampling(), torch.arange(16.0))
    process = denoise(steps)(job)
    ask, passes, expected = proceed(process), [], None
    while ask is not None:
        passes.append((ask.group, ask.time, int(job.canvas.known[0].sum())))
        positions = order.group(ask.group)
        first = ask.time == steps[0]
        assert torch.equal(ask.draft, noise.normal(positions, 0, 3) if first else expected)
        assert ask.scale.tolist() == list(range(4 * ask.group, 4 * ask.group + 4))
        answer = Velocity(torch.sin(ask.draft), ask.draft, ask.time)
        expected = answer.sample(noise, positions, Sampling(), 1 + steps.index(ask.time))
        ask = proceed(process, answer)
    assert passes == [(group, time, 4 * group) for group in range(4) for time in steps]
    assert (job.canvas.writes == 1).all() and torch.equal(job.canvas.read(positions), expected)


@pytest.mark.parametrize("wrong", [(), ((1.0, 0.5),), ((0.9, 0.0),), ((1.0, 0.5), (0.4, 0.0))])
def test_times_must_lead_from_noise_to_clean(wrong: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(UsageError, match="lead from 1 to 0"):
        denoise(wrong)
