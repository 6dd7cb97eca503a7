"""The diffusion of a latent: the schedule from its definition, the chain against plain loops and a law it must draw."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from parvis.diffusion import Coefficients, Diffused, Schedule, spread_out, step, strided
from parvis.errors import IncompatibleParts, UsageError
from parvis.noise import Noise
from parvis.sampling import Sampling


@dataclass
class Said:
    """A network that knows the noise of latents drawn from N(mean, deviation^2), and says a fixed share."""

    schedule: Schedule
    mean: float = 0.0
    deviation: float = 1.0
    said: float = 0.0
    channels: int = 2
    asked: list[float] = field(default_factory=list)

    def prepare(self, condition: Tensor) -> Tensor:
        return condition

    def __call__(self, x: Tensor, timestep: Tensor, prepared: Tensor) -> tuple[Tensor, Tensor]:
        self.asked.append(float(timestep))
        bar = Schedule().bars[int(timestep)]
        variance = bar * self.deviation**2 + 1 - bar
        eps = math.sqrt(1 - bar) * (x - math.sqrt(bar) * (self.mean + prepared[..., :1])) / variance
        return eps, torch.full_like(eps, self.said)


def test_the_schedule_is_the_squared_cosine() -> None:
    full = Schedule()
    curve = [math.cos((i / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(1001)]
    assert full.bars[500] == pytest.approx(curve[501] / curve[0])
    assert full.betas[10] == pytest.approx(1 - curve[11] / curve[10])
    assert max(full.betas) == pytest.approx(0.999)  # the end of the cosine is cut


@pytest.mark.parametrize("timesteps", [tuple(range(1000)), spread_out(7), strided(10)])
def test_the_posterior_is_that_of_two_gaussians(timesteps: tuple[int, ...]) -> None:
    """Mean and variance of a step, by the product of q(x_t | x_before) and q(x_before | clean)."""
    schedule = Schedule(timesteps)
    for index in (1, len(timesteps) // 2, len(timesteps) - 1):
        beta, before = schedule.betas[index], schedule.bars[index - 1]
        precision = (1 - beta) / beta + 1 / (1 - before)
        clean, x = 0.3, -1.7
        mean = (math.sqrt(1 - beta) / beta * x + math.sqrt(before) / (1 - before) * clean) / precision
        by = schedule.at(index)
        assert by.mean[0] * clean + by.mean[1] * x == pytest.approx(mean)
        assert by.log_variance == pytest.approx((math.log(1 / precision), math.log(beta)))
        eps = (x - math.sqrt(schedule.bars[index]) * clean) / math.sqrt(1 - schedule.bars[index])
        assert by.clean[0] * x - by.clean[1] * eps == pytest.approx(clean, abs=1e-6)
    assert schedule.bounds[0][0] == schedule.bounds[1][0]


def test_coefficients_of_many_steps_are_those_of_each() -> None:
    schedule, index = Schedule(strided(10)), torch.tensor([3, 0, 9])
    many = schedule.at(index)
    for row, i in enumerate(index.tolist()):
        one = schedule.at(i)
        for name in ("clean", "mean", "log_variance"):
            assert [float(t[row]) for t in getattr(many, name)] == pytest.approx(list(getattr(one, name)))


def test_spacings() -> None:
    assert spread_out(4) == (0, 333, 666, 999) and strided(4) == (0, 250, 500, 750)
    for wrong in (lambda: spread_out(1), lambda: strided(3), lambda: Schedule((5,)), lambda: Schedule((5, 5))):
        with pytest.raises(UsageError):
            wrong()


def test_a_sample_is_the_chain_step_by_step() -> None:
    """Guided, at a temperature, by plain loops over numbers; the numbers of noise are those of draw 2."""
    schedule = Schedule(strided(5))
    head, noise, positions = Said(schedule, said=0.3), Noise((4, 9)), torch.tensor([[5, 1, 7], [0, 5, 2]])
    real, null = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    law = Diffused(real, head).guide(Diffused(null, head), torch.tensor([1.0, 2.5, 4.0]))
    drawn = law.sample(noise, positions, Sampling(temperature=0.7), draw=2)
    for b, n, c in ((0, 0, 0), (1, 2, 1), (0, 1, 1)):
        numbers = [float(noise.normal(positions, 2 * 6 + k, 2)[b, n, c]) for k in range(6)]
        x = numbers[0]
        for index in (4, 3, 2, 1, 0):
            said = [head(torch.tensor(x), torch.tensor(schedule.timesteps[index]), z[b, n])[0] for z in (real, null)]
            eps = float(said[1] + (1.0, 2.5, 4.0)[n] * (said[0] - said[1]))
            mean, log_variance = step(schedule.at(index), torch.tensor(x), torch.tensor(eps), torch.tensor(0.3))
            x = float(mean) + (index > 0) * 0.7 * math.exp(0.5 * float(log_variance)) * numbers[1 + index]
        assert float(drawn[b, n, c]) == pytest.approx(x, rel=1e-4, abs=1e-4)
    assert head.asked[:5] == [800.0, 600.0, 400.0, 200.0, 0.0]


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (0.8, 0.4)])
def test_the_chain_draws_the_law_that_its_network_knows(mean: float, deviation: float) -> None:
    law = Diffused(torch.zeros(4, 1000, 1), Said(Schedule(strided(50)), mean, deviation, said=0.0))
    drawn = law.sample(Noise(range(4)), torch.arange(1000), Sampling())
    assert drawn.mean().item() == pytest.approx(mean, abs=0.05)
    assert drawn.std().item() == pytest.approx(deviation, abs=0.06)
    still = law.sample(Noise(range(4)), torch.arange(1000), Sampling(temperature=0.0))
    assert still.std() < 0.95 * drawn.std()


def test_a_draw_is_a_function_of_seed_position_and_draw() -> None:
    law = Diffused(torch.zeros(2, 3, 1), Said(Schedule(strided(5)), said=0.5))
    whole = law.sample(Noise((1, 2)), torch.tensor([4, 0, 9]), Sampling())
    alone = Diffused(torch.zeros(1, 1, 1), law.head).sample(Noise((2,)), torch.tensor([9]), Sampling())
    assert torch.equal(alone[0, 0], whole[1, 2])
    assert not torch.allclose(law.sample(Noise((1, 2)), torch.tensor([4, 0, 9]), Sampling(), draw=1), whole)


def test_halves_and_scores() -> None:
    stacked = Diffused(torch.arange(8.0).view(4, 2, 1), Said(Schedule(strided(5))))
    real, null = stacked.halves()
    assert real.condition[1, 1] == 3 and null.condition[0, 0] == 4
    with pytest.raises(IncompatibleParts, match="cannot say how likely"):
        stacked.log_prob(torch.zeros(4, 2, 2))


def test_step_takes_the_share_of_the_log_variance() -> None:
    by = Coefficients((1.0, 0.0), (1.0, 0.0), (-3.0, -1.0))
    _, log_variance = step(by, torch.zeros(3), torch.zeros(3), torch.tensor([0.0, 0.5, 1.0]))
    assert log_variance.tolist() == [-3.0, -2.0, -1.0]
