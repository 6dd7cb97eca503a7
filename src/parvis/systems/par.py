"""PAR: distant tokens together, near ones in sequence (Wang et al., arXiv 2412.15119). LlamaGen's transformer plus transition tokens.

The grid is cut into n regions; the first token of every region comes one by one, then every pass writes one token of each
region. The pass from one token to n is filled with n - 1 learned rows, turned by cos = sin = 0 like the class row.
"""

from __future__ import annotations

from parvis import guidance
from parvis.decode.parallel import parallel
from parvis.errors import UnknownName
from parvis.model.context import ClassCondition
from parvis.model.visibility import group_causal
from parvis.order import regions
from parvis.system import Preset, System
from parvis.systems import llamagen
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.vqgan import VQGAN, VQConfig

CITE = "Wang et al., Parallelized Autoregressive Visual Generation, arXiv 2412.15119, CVPR 2025"


def par(
    size: str = "xl",
    resolution: int = 384,
    parallel_tokens: int = 4,
    *,
    tokenizer: Tokenizer | None = None,
    classes: int = 1000,
) -> System:
    """PAR, class-conditional.

    Args:
        size: a key of LlamaGen's ``SIZES``. resolution: pixels per side. parallel_tokens: n, a perfect square (4 or 16).
        tokenizer: VQ-16 unless given. classes: number of classes.
    """
    if size not in llamagen.SIZES:
        raise UnknownName("PAR size", size, llamagen.SIZES)
    tokenizer = tokenizer or VQGAN(VQConfig())
    grid = tokenizer.grid(resolution, resolution)
    shape = llamagen.SIZES[size]
    model = llamagen.transformer(
        shape,
        grid,
        vocabulary=tokenizer.vocabulary,
        condition=ClassCondition(classes, shape.width),
        rule=group_causal,
        fillers=parallel_tokens - 1,
    )
    return System(
        name=f"par-{size}-{resolution}-{parallel_tokens}x",
        cite=CITE,
        grid=grid,
        tokenizer=tokenizer,
        models={"main": model},
        order=lambda grid, steps, noise: regions(grid, parallel_tokens),
        decoder=parallel,
        guidance=guidance.constant,
        preset=Preset(steps=len(regions(grid, parallel_tokens).sizes), guidance=llamagen.GUIDANCE.get(size, 1.75)),
        edits="none",
    )
