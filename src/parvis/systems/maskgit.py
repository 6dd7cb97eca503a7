"""MaskGIT: masked tokens, the most confident kept (Chang et al., arXiv 2202.04200). 256 tokens in 8 to 12 passes.

A bidirectional transformer reads the whole canvas every time; what it is least sure of is masked and drawn again
(section 3.2). From the paper: the authors' JAX weights have no layout here.
"""

from __future__ import annotations

import torch
from torch import nn

from parvis import guidance
from parvis.decode.refine import refine
from parvis.grid import Grid
from parvis.model.attention import Attention
from parvis.model.block import Block, Head, Mlp
from parvis.model.context import Condition, LatentNullCondition
from parvis.model.framing import full
from parvis.model.position import LearnedPositions
from parvis.model.transformer import Size, Transformer, sized
from parvis.model.visibility import own_group
from parvis.noise import Noise
from parvis.order import Order
from parvis.system import Preset, System
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.vqgan import VQGAN, VQConfig

CITE = "Chang et al., MaskGIT: Masked Generative Image Transformer, arXiv 2202.04200, CVPR 2022"
SIZES = {"b": Size(24, 768, 8, 3072)}
TEMPERATURE = 4.5
"""Of the Gumbel noise on confidences, falling to 0: the authors' released sampler."""


def transformer(size: Size, grid: Grid, *, vocabulary: int, condition: Condition, dropout: float = 0.0) -> Transformer:
    """A bidirectional transformer: LayerNorm, exact GELU, learned positions, a mask vector."""
    D = size.width

    def norm() -> nn.LayerNorm:
        return nn.LayerNorm(D, eps=1e-6)

    blocks = [
        Block(
            norm(),
            Attention(D, size.heads, bias=(True, True), dropout=dropout),
            norm(),
            Mlp(D, size.hidden, dropout=dropout),
        )
        for _ in range(size.depth)
    ]
    return Transformer(
        grid=grid,
        framing=full,
        rule=own_group,
        condition=condition,
        tokens=nn.Embedding(vocabulary, D),
        blocks=blocks,
        head=Head(norm(), D, vocabulary),
        positions=LearnedPositions(grid, D, condition.prefix),
        query=True,
        drafts=True,
        norm_in=norm(),
        dropout=dropout,
    )


def together(grid: Grid, steps: int, noise: Noise) -> Order:
    """All positions as one group: which come first is decided by confidence."""
    return Order(torch.arange(grid.tokens), (grid.tokens,))


def maskgit(
    size: str | Size = "b",
    resolution: int = 256,
    steps: int = 8,
    *,
    tokenizer: Tokenizer | None = None,
    classes: int = 1000,
) -> System:
    """MaskGIT, class-conditional, with classifier-free guidance (the paper has rejection sampling instead).

    Args:
        size: ``b`` or any :class:`Size`.
        resolution: pixels per side, 16 per token. steps: passes (the paper: 8 at 256 pixels, 12 at 512).
        tokenizer: VQ-16 unless given. classes: number of classes.
    """
    shape = sized("MaskGIT", size, SIZES)
    tokenizer = tokenizer or VQGAN(VQConfig())
    grid = tokenizer.grid(resolution, resolution)
    condition = LatentNullCondition(classes, shape.width)
    return System(
        name=f"maskgit-{size}-{resolution}",
        cite=CITE,
        grid=grid,
        tokenizer=tokenizer,
        models={"main": transformer(shape, grid, vocabulary=tokenizer.vocabulary, condition=condition)},
        order=together,
        decoder=refine(steps, TEMPERATURE),
        guidance=guidance.constant,
        preset=Preset(steps=1, guidance=3.0),
        passes_per_group=steps,
    )
