"""PAR: distant tokens together, near ones in sequence (Wang et al., arXiv 2412.15119). LlamaGen's transformer plus
transition tokens.

The grid is cut into n regions; the first token of every region comes one by one, then every pass writes one token of
each region. The pass from one token to n is filled with n - 1 learned rows, turned by cos = sin = 0 like the class row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from parvis import guidance
from parvis.decode.parallel import parallel
from parvis.grid import Grid
from parvis.model.context import ClassCondition
from parvis.model.transformer import Size, Transformer, sized
from parvis.model.visibility import group_causal
from parvis.order import regions
from parvis.system import Preset, System
from parvis.systems import llamagen
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.vqgan import VQGAN, VQConfig

CITE = "Wang et al., Parallelized Autoregressive Visual Generation, arXiv 2412.15119, CVPR 2025"

GUIDANCE = {("l", 4): 1.6, ("xl", 4): 1.5, ("xxl", 4): 1.435, ("3b", 4): 1.345, ("3b", 16): 1.5}
"""(size, parallel tokens) -> guidance of the published runs; 1.5 for what was not published."""


def transformer(size: Size, grid: Grid, parallel_tokens: int, *, vocabulary: int, classes: int) -> Transformer:
    """LlamaGen's transformer, groups seeing themselves whole, with ``parallel_tokens`` - 1 transition tokens."""
    return llamagen.transformer(
        size,
        grid,
        vocabulary=vocabulary,
        condition=ClassCondition(classes, size.width),
        rule=group_causal,
        fillers=parallel_tokens - 1,
    )


def until(scale: float, interval: int, parallel_tokens: int) -> guidance.Guidance:
    """The released ``cfg_interval``: a count of tokens that begins anew with the parallel phase.

    Rank r < n is guided while r - 1 <= interval; group g of the parallel phase while g n <= interval.
    """

    def rule(sizes: tuple[int, ...]) -> Tensor:
        rank = torch.arange(sum(sizes))
        count = torch.where(rank < parallel_tokens, rank - 1, (rank // parallel_tokens - 1) * parallel_tokens)
        return torch.where(count <= interval, scale, 1.0)

    return rule


def par(
    size: str | Size = "xl",
    resolution: int = 384,
    parallel_tokens: int = 4,
    *,
    tokenizer: Tokenizer | None = None,
    classes: int = 1000,
) -> System:
    """PAR, class-conditional.

    Args:
        size: a key of LlamaGen's ``SIZES``, or any :class:`Size`.
        resolution: pixels per side. parallel_tokens: n, a perfect square (4 or
            16).
        tokenizer: VQ-16 unless given. classes: number of classes.
    """
    shape = sized("PAR", size, llamagen.SIZES)
    tokenizer = tokenizer or VQGAN(VQConfig())
    grid = tokenizer.grid(resolution, resolution)
    model = transformer(shape, grid, parallel_tokens, vocabulary=tokenizer.vocabulary, classes=classes)
    return System(
        name=f"par-{size}-{resolution}-{parallel_tokens}x",
        cite=CITE,
        grid=grid,
        tokenizer=tokenizer,
        models={"main": model},
        order=lambda grid, steps, noise: regions(grid, parallel_tokens),
        decoder=parallel,
        guidance=guidance.constant,
        preset=Preset(
            steps=len(regions(grid, parallel_tokens).sizes), guidance=GUIDANCE.get((str(size), parallel_tokens), 1.5)
        ),
        edits="none",
    )
