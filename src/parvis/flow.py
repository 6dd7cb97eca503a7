"""Flow matching of latents: the prediction that says a velocity, and the solver that follows it.

x_t = (1 - t) clean + t noise, so the velocity is noise - clean; t = 1 is noise, t = 0 is clean (xAR, arXiv 2502.20388,
section 3.3; the solver is SiT's Euler-Maruyama, arXiv 2401.08740).

Legend: B images, n asked positions, C channels.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from parvis.errors import IncompatibleParts, UsageError
from parvis.noise import Noise
from parvis.sampling import Sampling


def times(steps: int, last: float = 0.04) -> tuple[tuple[float, float], ...]:
    """(from, to) of every solver step: from 1 to ``last`` evenly, then to 0.

    Raises:
        UsageError: fewer than 2 steps, or ``last`` outside (0, 1).
    """
    if steps < 2 or not 0 < last < 1:
        raise UsageError(f"a solver takes at least 2 steps and ends from a time between 0 and 1; got {steps}, {last}")
    stops = [*torch.linspace(1.0, last, steps, dtype=torch.float64, device="cpu").tolist(), 0.0]
    return tuple(itertools.pairwise(stops))


@dataclass(frozen=True, eq=False)
class Velocity:
    """Where the draft is going at every asked position.

    Args:
        velocity: float32 [B, n, C]. draft: [B, n, C], what was asked about. time: of the draft, and the time to which
            a sample brings it.
    """

    velocity: Tensor
    draft: Tensor
    time: tuple[float, float]

    def halves(self) -> tuple[Velocity, Velocity]:
        real, null = self.velocity.chunk(2)
        return replace(self, velocity=real), replace(self, velocity=null)

    def part(self, images: slice) -> Velocity:
        return replace(self, velocity=self.velocity[images], draft=self.draft[images])

    def guide(self, null: Velocity, scale: float | Tensor) -> Velocity:
        """``null + scale * (self - null)``; ``scale`` is a number, ``[n]`` (by rank) or ``[B, n]``; 1 = unguided."""
        if isinstance(scale, Tensor):
            scale = scale[..., None]
        return replace(self, velocity=null.velocity + scale * (self.velocity - null.velocity))

    def sample(self, noise: Noise, positions: Tensor, how: Sampling, draw: int = 0) -> Tensor:
        """The draft one solver step on, float32 ``[B, n, C]``: a step of Euler-Maruyama, the last without noise.

        The reverse process drifts by v - t s, s = -((1 - t) v + x) / t being the score, and spreads by sqrt(2 t dt);
        ``how.temperature`` multiplies the spread. The draft between two steps is float32 here, theirs is float64.
        """
        now, then = self.time
        x, v = self.draft, self.velocity
        moved = x + (then - now) * ((2 - now) * v + x)
        if then > 0 and how.temperature > 0:
            spread = math.sqrt(2 * now * (now - then)) * how.temperature
            moved = moved + spread * noise.normal(positions, draw, x.shape[-1])
        return moved

    def log_prob(self, values: Tensor) -> Tensor:
        raise IncompatibleParts(
            "a velocity draws latents but cannot say how likely they are; choose the denoise decoder"
        )
