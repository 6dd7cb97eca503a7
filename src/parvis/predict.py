"""What a model says about the asked positions: a law that can be guided, sampled and scored.

Legend: B images, n asked positions, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

from torch import Tensor

from parvis.noise import Noise
from parvis.sampling import Sampling, choose


class Prediction(Protocol):
    """The answer to a pass: one law per asked position."""

    def guide(self, null: Self, scale: float | Tensor) -> Self:
        """Classifier-free guidance: move away from ``null``, the answer without the condition."""
        ...

    def halves(self) -> tuple[Self, Self]:
        """The first and the second half of the batch: the answers with and without the condition."""
        ...

    def part(self, images: slice) -> Self:
        """The answers of some images of the batch."""
        ...

    def sample(self, noise: Noise, positions: Tensor, how: Sampling, draw: int = 0) -> Tensor:
        """Values ``[B, n]`` or ``[B, n, C]``; the same (seed, position, draw) always gives the same value."""
        ...

    def log_prob(self, values: Tensor) -> Tensor:
        """Float ``[B, n]``: natural log of the probability (density) of ``values``; IncompatibleParts where there is
        none."""
        ...


@dataclass(frozen=True, eq=False)
class Categorical:
    """One law over V codes per asked position.

    Args:
        logits: float32 [B, n, V], not normalised.
    """

    logits: Tensor

    def guide(self, null: Categorical, scale: float | Tensor) -> Categorical:
        """``null + scale * (self - null)``; ``scale`` is a number, ``[n]`` (by rank) or ``[B, n]``; 1 = unguided."""
        if isinstance(scale, Tensor):
            scale = scale[..., None]
        return Categorical(null.logits + scale * (self.logits - null.logits))

    def halves(self) -> tuple[Categorical, Categorical]:
        real, null = self.logits.chunk(2)
        return Categorical(real), Categorical(null)

    def part(self, images: slice) -> Categorical:
        return Categorical(self.logits[images])

    def sample(self, noise: Noise, positions: Tensor, how: Sampling, draw: int = 0) -> Tensor:
        """Codes, long ``[B, n]``, at ``positions`` ([n] or [B, n])."""
        return choose(self.logits, noise.uniform(positions, draw), how)

    def log_prob(self, values: Tensor) -> Tensor:
        """Float ``[B, n]``: log probability of the codes ``values [B, n]`` under the unfiltered law."""
        chosen = self.logits.gather(-1, values[..., None])[..., 0]
        return chosen - self.logits.logsumexp(dim=-1)

    def confidence(self, values: Tensor) -> Tensor:
        """Float ``[B, n]`` in [0, 1]: probability of the codes ``values``."""
        return self.log_prob(values).exp()
