"""RandAR: any order, told by position instruction tokens (Pang et al., arXiv 2412.01827). 256 tokens in 88 passes.

The sequence is class, P_1, X_1, P_2, X_2, ..: in front of every token stands a query that says where it will lie, and
attention is plain causal. LlamaGen's transformer plus one learned vector. Training asks tokens one by one
in random order; several queries side by side ask several tokens at once, which training has not shown.

Quirks kept for its checkpoints: the query vector is turned to its position before it is fed, and the queries and keys
made of it are turned once more; queries of one pass see those before them in the same pass, and are fed again between
the values afterwards; the class row vanishes (see Rotary).
"""

from __future__ import annotations

from torch import nn

from parvis import guidance
from parvis.decode.parallel import parallel
from parvis.grid import Grid
from parvis.model.block import Head, RMSNorm
from parvis.model.context import ClassCondition, Condition
from parvis.model.framing import interleave
from parvis.model.position import Rotary, turned_by_heads
from parvis.model.transformer import Size, Transformer, sized
from parvis.model.visibility import kept_causal
from parvis.noise import Noise
from parvis.order import Order, random
from parvis.schedule import one_then_cosine
from parvis.system import Preset, System
from parvis.systems import llamagen
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.vqgan import VQGAN, VQConfig

CITE = (
    "Pang et al., RandAR: Decoder-only Autoregressive Visual Generation in Random Orders, arXiv 2412.01827, CVPR 2025"
)
SIZES = {size: llamagen.SIZES[size] for size in ("l", "xl", "xxl")}
GUIDANCE = {"l": 3.4}  # 4.0 for XL: the released models' own; XXL was never released


def transformer(size: Size, grid: Grid, *, vocabulary: int, condition: Condition, dropout: float = 0.0) -> Transformer:
    """RandAR's transformer: LlamaGen's blocks, queries and values interleaved."""
    D = size.width
    return Transformer(
        grid=grid,
        framing=interleave,
        rule=kept_causal,
        condition=condition,
        tokens=nn.Embedding(vocabulary, D),
        blocks=llamagen.blocks(size, dropout),
        head=Head(RMSNorm(D), D, vocabulary),
        rotary=Rotary(grid, D // size.heads),
        query=True,
        pose=turned_by_heads,
        dropout=dropout,
    )


def anywhere(grid: Grid, steps: int, noise: Noise) -> Order:
    """A uniformly random order, one per image, in groups that grow by the released schedule."""
    return random(grid, one_then_cosine(grid.tokens, steps), noise)


def randar(
    size: str | Size = "l",
    resolution: int = 256,
    steps: int | None = None,
    *,
    tokenizer: Tokenizer | None = None,
    classes: int = 1000,
) -> System:
    """RandAR, class-conditional.

    Args:
        size: ``l``, ``xl``, ``xxl`` or any :class:`Size`.
        resolution: pixels per side, 16 per token (the releases: 256).
        steps: passes, 88 unless given. tokenizer: VQ-16 unless given. classes: number of classes.
    """
    shape = sized("RandAR", size, SIZES)
    tokenizer = tokenizer or VQGAN(VQConfig())
    grid = tokenizer.grid(resolution, resolution)
    condition = ClassCondition(classes, shape.width)
    return System(
        name=f"randar-{size}-{resolution}",
        cite=CITE,
        grid=grid,
        tokenizer=tokenizer,
        models={"main": transformer(shape, grid, vocabulary=tokenizer.vocabulary, condition=condition)},
        order=anywhere,
        decoder=parallel,
        guidance=guidance.before_step,
        preset=Preset(steps=steps or min(88, grid.tokens), guidance=GUIDANCE.get(str(size), 4.0)),
    )
