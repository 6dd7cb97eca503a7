"""Gaussian diffusion of one latent: the schedule, and the prediction that draws by running it backwards.

Improved DDPM (Nichol and Dhariwal, arXiv 2102.09672) as MAR uses it (arXiv 2406.11838, section 3.2): cosine schedule,
the network says the noise, and where the log variance lies between its two bounds (0..1 after rescaling).

Legend: B images, n asked positions, D width of a condition, C channels; T steps, index 0 is the last one taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Protocol

import torch
from torch import Tensor

from parvis.errors import IncompatibleParts, UsageError
from parvis.noise import Noise
from parvis.sampling import Sampling

Number = float | Tensor

TRAINED = 1000
"""Steps of the schedule that networks are trained on."""


@lru_cache(maxsize=1)
def _trained() -> tuple[float, ...]:
    """alpha-bar after each of the 1000 steps: the product of 1 - beta, beta from the squared cosine, at most 0.999."""

    def curve(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    product, bars = 1.0, []
    for i in range(TRAINED):
        product *= 1 - min(1 - curve((i + 1) / TRAINED) / curve(i / TRAINED), 0.999)
        bars.append(product)
    return tuple(bars)


def spread_out(steps: int) -> tuple[int, ...]:
    """``steps`` of the trained timesteps, both ends included, as evenly as whole numbers allow (MAR's own spacing)."""
    if not 2 <= steps <= TRAINED:
        raise UsageError(f"a diffusion head takes 2 to {TRAINED} steps; got {steps}")
    return tuple(round(i * (TRAINED - 1) / (steps - 1)) for i in range(steps))


def strided(steps: int) -> tuple[int, ...]:
    """Every (1000 / ``steps``)-th timestep from 0 (DDIM's spacing): the noisiest tenths of a step are left out."""
    if not 1 <= steps <= TRAINED or TRAINED % steps:
        raise UsageError(f"strided timesteps need a divisor of {TRAINED}; got {steps}")
    return tuple(range(0, TRAINED, TRAINED // steps))


@dataclass(frozen=True)
class Schedule:
    """The coefficients of a chain over some of the trained timesteps; numbers in double precision.

    Args:
        timesteps: which, ascending; the network is told these.
    """

    timesteps: tuple[int, ...] = tuple(range(TRAINED))

    def __post_init__(self) -> None:
        ok = len(self.timesteps) > 1 and list(self.timesteps) == sorted(set(self.timesteps))
        if not ok or self.timesteps[0] < 0 or self.timesteps[-1] >= TRAINED:
            raise UsageError(f"timesteps are at least two of 0..{TRAINED - 1}, ascending; got {self.timesteps}")

    @cached_property
    def bars(self) -> tuple[float, ...]:
        """alpha-bar of every step."""
        return tuple(_trained()[t] for t in self.timesteps)

    @cached_property
    def betas(self) -> tuple[float, ...]:
        """1 - alpha-bar / alpha-bar of the step before."""
        return tuple(1 - bar / before for bar, before in zip(self.bars, (1.0, *self.bars), strict=False))

    @cached_property
    def to_clean(self) -> tuple[tuple[float, float], ...]:
        """(a, b) of every step: clean = a x - b noise."""
        return tuple((math.sqrt(1 / bar), math.sqrt(1 / bar - 1)) for bar in self.bars)

    @cached_property
    def posterior(self) -> tuple[tuple[float, float], ...]:
        """(a, b) of every step: the mean one step less noisy is a clean + b x."""
        triples = zip(self.betas, self.bars, (1.0, *self.bars), strict=False)
        return tuple(
            (beta * math.sqrt(before) / (1 - bar), (1 - before) * math.sqrt(1 - beta) / (1 - bar))
            for beta, bar, before in triples
        )

    @cached_property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """(least, largest) log variance of every step: the posterior's (that of step 0 is step 1's) and beta's."""
        triples = zip(self.betas, self.bars, (1.0, *self.bars), strict=False)
        least = [beta * (1 - before) / (1 - bar) for beta, bar, before in triples]
        least[0] = least[1]
        return tuple((math.log(low), math.log(beta)) for low, beta in zip(least, self.betas, strict=True))

    def at(self, index: int | Tensor) -> Coefficients:
        """The coefficients of a step as numbers, or of many as float32 [M, 1]."""
        pairs = (self.to_clean, self.posterior, self.bounds)
        if isinstance(index, int):
            return Coefficients(*(rows[index] for rows in pairs))
        table = torch.tensor(pairs, dtype=torch.float64).float().to(index.device)[:, index]  # 3, M, 2
        return Coefficients(*((rows[:, :1], rows[:, 1:]) for rows in table))


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Of one step: (a, b) with clean = a x - b noise; (c, d) with mean = c clean + d x; (least, largest) log
    variance."""

    clean: tuple[Number, Number]
    mean: tuple[Number, Number]
    log_variance: tuple[Number, Number]


class Denoiser(Protocol):
    """The network of a diffusion head."""

    schedule: Schedule
    channels: int

    def prepare(self, condition: Tensor) -> Tensor:
        """What all steps have in common, of ``condition`` [..., D]."""
        ...

    def __call__(self, x: Tensor, timestep: Tensor, prepared: Tensor) -> tuple[Tensor, Tensor]:
        """Noise in ``x`` [..., C] and where the log variance lies between its bounds, float32 [..., C] each."""
        ...


@dataclass(frozen=True, eq=False)
class Diffused:
    """One law over latents per asked position: what the head's chain draws under the condition.

    Args:
        condition: [B, n, D]. head: the network.
        null: the answer without the condition, [B, n, D]. scale: guidance, a number, [n] or [B, n]; ``None``: unguided.
    """

    condition: Tensor
    head: Denoiser
    null: Tensor | None = None
    scale: float | Tensor | None = None

    def halves(self) -> tuple[Diffused, Diffused]:
        real, null = self.condition.chunk(2)
        return replace(self, condition=real), replace(self, condition=null)

    def part(self, images: slice) -> Diffused:
        assert self.null is None, "an answer is divided before it is guided"
        return replace(self, condition=self.condition[images])

    def guide(self, null: Diffused, scale: float | Tensor) -> Diffused:
        """Every step's noise becomes ``null + scale * (self - null)``; the variance stays the condition's own."""
        return replace(self, null=null.condition, scale=scale)

    def sample(self, noise: Noise, positions: Tensor, how: Sampling, draw: int = 0) -> Tensor:
        """Latents, float32 ``[B, n, C]``; ``how.temperature`` multiplies the noise that the steps add, not the start.

        Draw d uses the T + 1 numbers from d (T + 1) on: the start, then one for each step by its index.
        """
        schedule, width = self.head.schedule, self.head.channels
        first = draw * (len(schedule.timesteps) + 1)
        guided = self.null is not None
        prepared = self.head.prepare(self.condition if self.null is None else torch.cat([self.condition, self.null]))
        x = noise.normal(positions, first, width)
        for index in reversed(range(len(schedule.timesteps))):
            fed = torch.cat([x, x]) if guided else x
            eps, share = self.head(fed, _timestep(schedule.timesteps[index], x), prepared)
            eps, share = self._guided(eps, share) if guided else (eps, share)
            mean, log_variance = step(schedule.at(index), x, eps, share)
            x = mean
            if index > 0 and how.temperature > 0:
                spread = (0.5 * log_variance).exp() * noise.normal(positions, first + 1 + index, width)
                x = mean + spread * how.temperature
        return x

    def _guided(self, eps: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        real, null = eps.chunk(2)
        scale = self.scale[..., None] if isinstance(self.scale, Tensor) else self.scale
        assert scale is not None
        return null + scale * (real - null), share.chunk(2)[0]

    def log_prob(self, values: Tensor) -> Tensor:
        raise IncompatibleParts(
            "a diffusion head draws latents but cannot say how likely they are; choose the parallel decoder"
        )


def _timestep(value: int, like: Tensor) -> Tensor:
    return torch.full((1,), float(value), device=like.device)


def step(by: Coefficients, x: Tensor, eps: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log variance of the latents one step less noisy than ``x`` [..., C], by that step's coefficients."""
    (a, b), (c, d), (low, high) = by.clean, by.mean, by.log_variance
    return c * (a * x - b * eps) + d * x, share * high + (1 - share) * low
