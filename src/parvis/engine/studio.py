"""Canvases of many requests to pixels, several in one run of the tokenizer; each the same to the bit as alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from parvis.canvas import Canvas
from parvis.engine.steady import shares
from parvis.generate import pixels
from parvis.system import System

TOGETHER = 8
"""Pictures that are decoded in one run at most: more gain nothing, and take memory."""

T = TypeVar("T")
U = TypeVar("U")


def decoded(system: System, canvases: Sequence[Canvas]) -> list[Tensor]:
    """Pixels float32 [1, 3, H, W] of canvases of one picture each; not clamped."""
    values = torch.cat([canvas.values for canvas in canvases])
    some = shares(min(len(values), TOGETHER))
    surplus = -len(values) % some
    values = torch.cat([values, values[-1:].expand(surplus, *values.shape[1:])])
    drawn = [pixels(system, Canvas(part, part)) for part in values.split(some)]
    return list(torch.cat(drawn)[: len(canvases)].split(1))


def apart(act: Callable[[Sequence[T]], Sequence[U]], items: Sequence[T]) -> list[U | Exception]:
    """What ``act`` makes of all ``items``; where it raises, of their halves by themselves, so that only those that fail
    alone (or find no memory alone) have an error. ``act`` must bear to be asked again."""
    try:
        return list(act(items))
    except Exception as error:
        if len(items) == 1:
            return [error]
    middle = len(items) // 2
    return [*apart(act, items[:middle]), *apart(act, items[middle:])]
