"""From logits to a token: temperature, top-k, top-p, and the inverse-CDF choice.

The filters follow the helper that LlamaGen, PAR, NAR, RandAR, ARPG and LPD share. Legend: V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from parvis.errors import UsageError


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn from its law.

    Args:
        temperature: >= 0; logits are divided by it; 0 = greedy.
        top_k: keep the k largest logits (ties with the k-th stay); 0 = all; 1 = greedy.
        top_p: keep the likeliest tokens until their mass passes p, 0 < p <= 1; 1 = all.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UsageError(f"temperature is a finite number >= 0 (0 = greedy); got {self.temperature!r}")
        if isinstance(self.top_k, bool) or not isinstance(self.top_k, int) or self.top_k < 0:
            raise UsageError(f"top_k is a whole number >= 0 (0 = off); got {self.top_k!r}")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p is in (0, 1] (1 = off); got {self.top_p!r}")

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.temperature == 0 or self.top_k == 1


def filter_logits(logits: Tensor, how: Sampling) -> Tensor:
    """Logits ``[..., V]`` after temperature, top-k and top-p, in this order; dropped tokens are -inf.

    Top-k drops what is strictly below the k-th logit, so ties stay. Top-p sorts the softmax of what is left and drops
    every token after the first whose cumulative mass passes p. A filter that is off costs nothing.
    """
    if how.temperature != 1.0:
        logits = logits / max(how.temperature, 1e-5)
    if 0 < how.top_k < logits.shape[-1]:
        kth = logits.topk(how.top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < kth, -math.inf)
    if how.top_p < 1.0:
        ranked, index = logits.sort(dim=-1, descending=True, stable=True)
        passed = ranked.softmax(dim=-1).cumsum(dim=-1) > how.top_p
        passed = torch.cat([torch.zeros_like(passed[..., :1]), passed[..., :-1]], dim=-1)
        logits = logits.masked_fill(torch.zeros_like(passed).scatter(-1, index, passed), -math.inf)
    return logits


def choose(logits: Tensor, uniform: Tensor, how: Sampling) -> Tensor:
    """Long ``[...]``: the token that each uniform picks from the filtered law of ``logits [..., V]``.

    Greedy: the first largest logit. Else the inverse CDF: the first token whose cumulative probability exceeds
    ``uniform [...]`` (in [0, 1)), so a token of probability zero is never taken. No host-device synchronisation.
    """
    if how.greedy:
        return logits.argmax(dim=-1)
    cdf = filter_logits(logits.float(), how).softmax(dim=-1).cumsum(dim=-1)
    target = uniform[..., None] * cdf[..., -1:]
    return torch.searchsorted(cdf, target, right=True)[..., 0].clamp_max(logits.shape[-1] - 1)
