"""How strong guidance is at every rank: a rule maps group sizes to float32 ``[sum(sizes)]``.

A scale s means ``null + s * (conditional - null)``: 1 = unguided. The published rules differ in what progress means
(token rank, group, fraction before or after the step); each function here says which it uses.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from parvis.errors import UsageError

Guidance = Callable[[tuple[int, ...]], Tensor]


def _check(scale: float) -> float:
    if not math.isfinite(scale):
        raise UsageError(f"a guidance scale is a finite number (1 = unguided); got {scale!r}")
    return float(scale)


def constant(scale: float) -> Guidance:
    """The same ``scale`` at every rank (LlamaGen, PAR, NAR)."""
    scale = _check(scale)
    return lambda sizes: torch.full((sum(sizes),), scale)


def linear(scale: float) -> Guidance:
    """LPD: ``1 + (scale - 1) r / N`` at token rank r = 0..N-1; the first token is unguided."""
    scale = _check(scale)

    def rule(sizes: tuple[int, ...]) -> Tensor:
        tokens = sum(sizes)
        return (1.0 + (scale - 1.0) * torch.arange(tokens, dtype=torch.float64) / tokens).float()

    return rule


def before_step(scale: float) -> Guidance:
    """RandAR: ``1 + (scale - 1) d / N`` for every token of a group before which d tokens are decoded; the first group
    is unguided. The released code leaves guidance out altogether where the scale is not above 1."""
    scale = _check(scale)
    return lambda sizes: _by_share(scale, sizes, [sum(sizes[:k]) for k in range(len(sizes))])


def after_step(scale: float) -> Guidance:
    """ARPG: ``1 + (scale - 1) d / N`` for every token of a group after which d tokens are decoded; the last group has
    the full scale."""
    scale = _check(scale)
    return lambda sizes: _by_share(scale, sizes, [sum(sizes[: k + 1]) for k in range(len(sizes))])


def _by_share(scale: float, sizes: tuple[int, ...], decoded: list[int]) -> Tensor:
    steps = torch.tensor([1.0 + (scale - 1.0) * count / sum(sizes) for count in decoded])
    return steps.repeat_interleave(torch.tensor(sizes))


def by_group(scale: float) -> Guidance:
    """VAR: ``1 + (scale - 1) k / (K - 1)`` for every token of group k = 0..K-1; a single group is unguided.

    The authors' ``cfg`` t is ``scale = 1 + t``.
    """
    scale = _check(scale)

    def rule(sizes: tuple[int, ...]) -> Tensor:
        steps = [1.0 + (scale - 1.0) * k / max(len(sizes) - 1, 1) for k in range(len(sizes))]
        return torch.tensor(steps).repeat_interleave(torch.tensor(sizes))

    return rule


def until(scale: float, ranks: int) -> Guidance:
    """``scale`` for ranks < ``ranks``, then 1.

    LlamaGen's released ``cfg_interval = i`` is ``until(s, i + 2)``; PAR and NAR count otherwise (in their systems).
    """
    scale = _check(scale)
    if ranks < 0:
        raise UsageError(f"ranks is how many tokens are guided, at least 0; got {ranks}")

    def rule(sizes: tuple[int, ...]) -> Tensor:
        scales = torch.ones(sum(sizes))
        scales[:ranks] = scale
        return scales

    return rule
