"""Which examples a step sees: a pure function of (seed, step), so that a resumed run sees what it would have seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from parvis.errors import UsageError
from parvis.train.seeds import generator

Picker = Callable[[int], Tensor]
"""step -> long [batch]: indices of examples."""
Batches = Callable[[int], dict[str, Tensor]]


def shuffled(count: int, batch: int, seed: int = 0) -> Picker:
    """Every example once an epoch, in a new order each epoch; a batch may span two epochs."""
    if count < 1 or batch < 1:
        raise UsageError(f"shuffled batches need at least one example and a batch of 1; got {count} and {batch}")
    known: dict[int, Tensor] = {}

    def order(epoch: int) -> Tensor:
        if epoch not in known:
            while len(known) > 1:
                known.pop(min(known))
            known[epoch] = torch.randperm(count, generator=generator(seed, "epoch", epoch))
        return known[epoch]

    def pick(step: int) -> Tensor:
        at, out = step * batch, []
        while (missing := (step + 1) * batch - at) > 0:
            part = order(at // count)[at % count : at % count + missing]
            out.append(part)
            at += len(part)
        return torch.cat(out)

    return pick


def weighted(weights: Tensor, batch: int, seed: int = 0) -> Picker:
    """Examples drawn with replacement in proportion to ``weights`` [n] (need not sum to 1)."""
    if weights.ndim != 1 or not len(weights) or bool((weights < 0).any()) or float(weights.sum()) <= 0:
        raise UsageError("weights must be one non-negative number per example, not all zero")

    def pick(step: int) -> Tensor:
        return torch.multinomial(weights, batch, replacement=True, generator=generator(seed, "draw", step))

    return pick


def gather(tensors: Mapping[str, Tensor], pick: Picker) -> Batches:
    """Batches of the rows that ``pick`` names, under the same keys; on the tensors' own device."""
    sizes = {len(t) for t in tensors.values()}
    if len(sizes) != 1:
        shapes = ", ".join(f"{k} {tuple(t.shape)}" for k, t in tensors.items())
        raise UsageError(f"all tensors of a data set need the same first dimension; got {shapes}")

    def batches(step: int) -> dict[str, Tensor]:
        index = pick(step)
        return {name: t[index.to(t.device)] for name, t in tensors.items()}

    return batches


def choose_caption(ids: Tensor, count: Tensor, step: int, seed: int = 0, first: float = 0.7) -> Tensor:
    """One caption of each row of ``ids`` [B, A, slots]: the first with probability ``first``, else any of its
    ``count`` [B] alike."""
    g = generator(seed, "caption", step)
    uniform = torch.rand(2, len(ids), generator=g)
    other = (uniform[1] * count).long()
    choice = torch.where(uniform[0] < first, torch.zeros_like(other), other)
    return ids[torch.arange(len(ids)), choice]
