"""What is done for many requests at once outside the model: values are drawn, canvases decoded. Each is the same to the
bit as alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from parvis.canvas import Canvas
from parvis.decode.job import Draw
from parvis.engine.steady import shares
from parvis.generate import pixels
from parvis.noise import Noise
from parvis.predict import Categorical
from parvis.sampling import choose
from parvis.system import System

TOGETHER = 8
"""Pictures that are decoded in one run at most: more gain nothing, and take memory."""


def drawn(wishes: Sequence[Draw]) -> list[Tensor]:
    """Values of one image each; codes that are drawn in the same way in one go."""
    groups: dict[object, list[int]] = {}
    for index, wish in enumerate(wishes):
        groups.setdefault(_way(wish) or index, []).append(index)
    found: dict[int, Tensor] = {}
    for group in groups.values():
        values = [wishes[group[0]].values()] if len(group) == 1 else _codes([wishes[index] for index in group])
        found.update(zip(group, values, strict=True))
    return [found[index] for index in range(len(wishes))]


def _way(wish: Draw) -> object:
    """What draws have in common that can be made in one go; ``None`` where they cannot. (Coupled ones take logarithms,
    whose last bits depend on the number of elements.)"""
    if not isinstance(wish.prediction, Categorical) or wish.sampling.coupled:
        return None
    return wish.sampling, wish.prediction.logits.shape[-1]


def _codes(wishes: Sequence[Draw]) -> list[Tensor]:
    """Codes [1, n] of each: rows of logits are filtered and chosen from one by one, whoever they belong to."""
    logits = [wish.prediction.logits for wish in wishes if isinstance(wish.prediction, Categorical)]
    uniforms = Noise.uniforms([(wish.noise, wish.positions, wish.draw) for wish in wishes])
    codes = choose(torch.cat(logits, 1), uniforms, wishes[0].sampling)
    return list(codes.split_with_sizes([part.shape[1] for part in logits], 1))


def decoded(system: System, canvases: Sequence[Canvas]) -> list[Tensor]:
    """Pixels float32 [1, 3, H, W] of canvases of one picture each; not clamped."""
    some = min(len(canvases), TOGETHER)
    some = shares(system.tokenizer, some) if canvases[0].values.device.type == "cpu" else some
    filled = [*canvases, *[canvases[-1]] * (-len(canvases) % some)]
    drawn = [pixels(system, _joined(filled[low : low + some])) for low in range(0, len(filled), some)]
    return list(torch.cat(drawn)[: len(canvases), None])


def _joined(canvases: Sequence[Canvas]) -> Canvas:
    """Several as one batch."""
    return Canvas(torch.cat([one.values for one in canvases]), torch.cat([one.known for one in canvases]))
