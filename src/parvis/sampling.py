"""From logits to a token: temperature, top-k, top-p, and the inverse-CDF choice.

The filters follow the helper that LlamaGen, PAR, NAR, RandAR, ARPG and LPD share. Legend: V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from parvis.errors import UsageError
from parvis.noise import spread


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn from its law.

    Args:
        temperature: >= 0; logits are divided by it; 0 = greedy.
        top_k: keep the k largest logits (ties with the k-th stay); 0 = all; 1 = greedy.
        top_p: keep the likeliest tokens until their mass passes p, 0 < p <= 1; 1 = all.
        coupled: draw by one random number per token instead of one for all. The law is the same, but two laws that
            differ by a little then nearly always give the same token, which Jacobi decoding lives on; costs V hashes.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    coupled: bool = False

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

    Top-k drops what is strictly below the k-th logit, so ties stay. Top-p ranks what is left (of equal logits the first
    comes first) and drops every token after the first whose cumulative mass passes p. A filter that is off costs
    nothing.
    """
    if how.temperature != 1.0:
        logits = logits / max(how.temperature, 1e-5)
    if 0 < how.top_k < logits.shape[-1]:
        kth = logits.topk(how.top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < kth, -math.inf)
    if how.top_p < 1.0:
        ranked = _ranked(logits)
        passed = ranked.softmax(dim=-1).cumsum(dim=-1) > how.top_p
        kept = (~passed).sum(dim=-1, keepdim=True).clamp_max(logits.shape[-1] - 1)  # the index of the last one kept
        least = ranked.gather(-1, kept)
        ties, more = logits == least, logits > least
        room = kept + 1 - more.sum(dim=-1, keepdim=True)
        first = ties.cumsum(dim=-1, dtype=torch.int32) <= room
        logits = logits.masked_fill(~(more | (ties & first)), -math.inf)
    return logits


def _ranked(logits: Tensor) -> Tensor:
    """``logits [..., V]`` from large to small. NumPy sorts values alone with vector instructions, 20 times as fast as
    ``Tensor.sort`` sorts values and places."""
    if logits.device.type != "cpu" or logits.dtype != torch.float32:
        return logits.sort(dim=-1, descending=True).values
    ranked = logits.detach().clone()
    ranked.numpy().sort(axis=-1)
    return ranked.flip(-1)


def choose(logits: Tensor, uniform: Tensor, how: Sampling) -> Tensor:
    """Long ``[...]``: the token that each uniform picks from the filtered law of ``logits [..., V]``.

    Greedy: the first largest logit. Coupled: the Gumbel-max rule, the token with the largest logit + Gumbel number, all
    of them made from the one uniform; draws from laws at total variation distance d agree with probability at least
    (1 - d) / (1 + d). Else the inverse CDF: the first token whose cumulative probability exceeds the
    uniform. A token of probability zero is never taken. No host-device synchronisation.

    Args:
        logits: [..., V], not normalised.
        uniform: float32 [...] in [0, 1).
    """
    if how.greedy:
        return logits.argmax(dim=-1)
    logits = filter_logits(logits.float(), how)
    if how.coupled:
        waits = -torch.log1p(-spread(uniform, logits.shape[-1]))  # exponential, exact where short
        return (logits - waits.log()).argmax(dim=-1)
    cdf = logits.softmax(dim=-1).cumsum(dim=-1)
    target = uniform[..., None] * cdf[..., -1:]
    return torch.searchsorted(cdf, target, right=True)[..., 0].clamp_max(logits.shape[-1] - 1)
