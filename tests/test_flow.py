"""Flow matching: the solver's step from its definition, and laws that it must draw."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from parvis.errors import IncompatibleParts, UsageError
from parvis.flow import Velocity, times
from parvis.noise import Noise
from parvis.sampling import Sampling


def test_times_lead_from_noise_to_clean() -> None:
    steps = times(4, 0.1)
    assert [pair[0] for pair in steps] == pytest.approx([1.0, 0.7, 0.4, 0.1]) and steps[-1][1] == 0.0
    assert all(a[1] == b[0] for a, b in itertools.pairwise(steps))
    for wrong in (lambda: times(1), lambda: times(4, 0.0), lambda: times(4, 1.0)):
        with pytest.raises(UsageError, match="at least 2 steps"):
            wrong()


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.0])
def test_a_sample_is_one_step_of_euler_maruyama(temperature: float) -> None:
    """dx = (v - t s) dt + sqrt(2 t) dw, with the score s of the Gaussian path."""
    draft, velocity, noise, positions = (
        torch.randn(2, 3, 4),
        torch.randn(2, 3, 4),
        Noise((1, 2)),
        torch.tensor([4, 0, 2]),
    )
    now, then = 0.6, 0.35
    drawn = Velocity(velocity, draft, (now, then)).sample(noise, positions, Sampling(temperature), draw=3)
    score = -((1 - now) * velocity + draft) / now
    mean = draft + (then - now) * (velocity - 0.5 * (2 * now) * score)
    spread = math.sqrt(2 * now) * math.sqrt(now - then) * temperature
    torch.testing.assert_close(drawn, mean + spread * noise.normal(positions, 3, 4))
    last = Velocity(velocity, draft, (now, 0.0)).sample(noise, positions, Sampling())
    torch.testing.assert_close(last, draft - now * (velocity - now * score))


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (0.7, 0.3)])
def test_the_solver_draws_the_law_whose_velocity_it_is_told(mean: float, deviation: float) -> None:
    noise, positions = Noise(range(4)), torch.arange(1000)
    draft = noise.normal(positions, 0, 1)
    for draw, (now, then) in enumerate(times(100), start=1):
        variance = ((1 - now) * deviation) ** 2 + now**2
        away = draft - (1 - now) * mean
        velocity = -mean + (now - (1 - now) * deviation**2) / variance * away
        draft = Velocity(velocity, draft, (now, then)).sample(noise, positions, Sampling(), draw)
    assert draft.mean().item() == pytest.approx(mean, abs=0.03)
    assert draft.std().item() == pytest.approx(deviation, abs=0.05)


def test_guidance_is_by_rank() -> None:
    zero, one = torch.zeros(2, 3, 2), torch.ones(2, 3, 2)
    stacked = Velocity(torch.cat([one, zero]), zero, (0.5, 0.4))
    real, null = stacked.halves()
    guided = real.guide(null, torch.tensor([1.0, 2.0, 5.0]))
    assert guided.velocity[1, :, 0].tolist() == [1.0, 2.0, 5.0] and guided.time == (0.5, 0.4)
    with pytest.raises(IncompatibleParts, match="cannot say how likely"):
        real.log_prob(zero)
