"""NAR: next-neighbour prediction (He et al., arXiv 2503.10696). An image diagonal by diagonal: 256 tokens in 31 passes.

LlamaGen's transformer with a block more and two heads: after the last block but one, every token predicts the one to
its right, after the last block the one below. A token with a neighbour on either side gets the mean of
both answers. The tokens of a diagonal see each other and all diagonals before.

Quirks kept for its checkpoints: the mean is of logits, not of probabilities, and is taken before guidance; the corner
is the mean of both heads at the last condition row; the condition is plainly causal, and its rows vanish (see Rotary).

Released code conditions on classes, or on text like LlamaGen's (:func:`text`). In training the padding of a prompt is
hidden; their sampler hides it in a mask that it never reads, here it is hidden always. Videos, with a third head, are
not here.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from parvis import guidance
from parvis.decode.parallel import parallel
from parvis.grid import Grid
from parvis.model.block import RMSNorm
from parvis.model.context import ClassCondition, Condition, FeaturesCondition
from parvis.model.framing import neighbours
from parvis.model.neighbours import Depths, SumHead
from parvis.model.position import Rotary
from parvis.model.transformer import Size, Transformer, sized
from parvis.model.visibility import diagonal_causal
from parvis.order import diagonals
from parvis.system import Preset, System
from parvis.systems import llamagen
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.vqgan import VQGAN, VQConfig

CITE = "He et al., Neighboring Autoregressive Modeling for Efficient Visual Generation, arXiv 2503.10696, 2025"
SIZES = {
    "b": llamagen.SIZES["b"],
    "m": llamagen.size(18, 1024, 16),
    "l": llamagen.SIZES["l"],
    "xl": llamagen.SIZES["xl"],
    "xxl": llamagen.SIZES["xxl"],
}
"""As LlamaGen's: the second head's block comes on top."""


def transformer(size: Size, grid: Grid, *, vocabulary: int, condition: Condition, dropout: float = 0.0) -> Transformer:
    """NAR's transformer: ``size.depth`` + 1 of LlamaGen's blocks, two heads."""
    D = size.width
    return Transformer(
        grid=grid,
        framing=neighbours(grid),
        rule=diagonal_causal,
        condition=condition,
        tokens=nn.Embedding(vocabulary, D),
        blocks=llamagen.blocks(Size(size.depth + 1, D, size.heads, size.hidden), dropout),
        body=Depths([RMSNorm(D), RMSNorm(D)]),
        head=SumHead(D, vocabulary, 2),
        rotary=Rotary(grid, D // size.heads),
        dropout=dropout,
    )


def until(scale: float, interval: int) -> guidance.Guidance:
    """The released ``cfg_interval``: a diagonal is guided while at most ``interval`` tokens are before it."""

    def rule(sizes: tuple[int, ...]) -> Tensor:
        before = [sum(sizes[:k]) for k in range(len(sizes))]
        scales = torch.tensor([scale if count <= interval else 1.0 for count in before])
        return scales.repeat_interleave(torch.tensor(sizes))

    return rule


def nar(
    size: str | Size = "l", resolution: int = 256, *, tokenizer: Tokenizer | None = None, classes: int = 1000
) -> System:
    """NAR, class-conditional.

    Args:
        size: a key of ``SIZES``, or any :class:`Size`.
        resolution: pixels per side, 16 per token (the releases: 256).
        tokenizer: VQ-16 unless given. classes: number of classes.
    """
    condition = ClassCondition(classes, sized("NAR", size, SIZES).width)
    return _system("nar", size, resolution, tokenizer, condition, 2.0, "classes")


def text(
    size: str | Size = "xl",
    resolution: int = 256,
    *,
    tokenizer: Tokenizer | None = None,
    features: int = 2048,
    slots: int = 120,
) -> System:
    """NAR, text-conditional: LlamaGen's rows of T5 features in front of the picture, padding first.

    Args:
        size: a key of ``SIZES``, or any :class:`Size` (the releases: ``xl``).
        resolution: pixels per side, 16 per token (the releases: 256 and 512).
        tokenizer: VQ-16 unless given. features: width of the text features (Flan-T5-XL: 2048). slots: rows of them.
    """
    condition = FeaturesCondition(features, slots, sized("NAR", size, SIZES).width)
    return _system("nar-t2i", size, resolution, tokenizer, condition, 7.5, "features")


def _system(
    name: str,
    size: str | Size,
    resolution: int,
    tokenizer: Tokenizer | None,
    condition: Condition,
    scale: float,
    takes: Literal["classes", "features"],
) -> System:
    tokenizer = tokenizer or VQGAN(VQConfig())
    grid = tokenizer.grid(resolution, resolution)
    model = transformer(sized("NAR", size, SIZES), grid, vocabulary=tokenizer.vocabulary, condition=condition)
    return System(
        name=f"{name}-{size}-{resolution}",
        cite=CITE,
        grid=grid,
        tokenizer=tokenizer,
        models={"main": model},
        order=lambda grid, steps, noise: diagonals(grid),
        decoder=parallel,
        guidance=guidance.constant,
        preset=Preset(steps=len(diagonals(grid).sizes), guidance=scale),
        edits="prefix",
        takes=takes,
    )
