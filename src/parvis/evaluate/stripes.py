"""Does fine detail survive? Stripes are drawn, taken through a tokenizer, and their contrast is measured again.

In the manner of VTBench's pictures of patterns (Lin et al. 2025, arXiv 2505.13439): what is asked is how much of a
known pattern is left, by how fine it is, as with a lens. Legend: B pictures, S pixels of a side.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from parvis.errors import UsageError
from parvis.evaluate.reconstruction import grey

CONTRAST = 0.8
"""Of what is drawn: from -0.8 to 0.8."""


def stripes(side: int, period: int, count: int, seed: int = 0) -> Tensor:
    """Grey sine waves, ``period`` pixels from crest to crest, in every direction and phase, [B, 3, S, S] in [-1, 1].

    :raises UsageError: a period that pixels cannot show, or that does not fit twice
    """
    if period < 3 or 2 * period > side:
        raise UsageError(f"stripes of {period} pixels in a picture of {side}: give 3 or more, at most half of it")
    generator = torch.Generator().manual_seed(seed)
    turn_B11, phase_B11 = (torch.rand(2, count, 1, 1, generator=generator, dtype=torch.float64) * math.pi).unbind()
    at = torch.arange(side, dtype=torch.float64)
    along = at[None, None] * turn_B11.cos() + at[None, :, None] * turn_B11.sin()
    wave = CONTRAST * (2 * math.pi * along / period + 2 * phase_B11).cos()
    return wave[:, None].expand(-1, 3, -1, -1).float()


def contrast(before_B3SS: Tensor, after_B3SS: Tensor) -> Tensor:
    """What is left of the first pictures in the second, [B]: 1 all of it where it was, 0 nothing, below 0 dark where it
    was light. The slope of the grey values, so that another mean counts for nothing."""
    before, after = ((x - x.mean(1, keepdim=True)) for x in (grey(y).flatten(1) for y in (before_B3SS, after_B3SS)))
    return (before * after).sum(1) / before.square().sum(1)
