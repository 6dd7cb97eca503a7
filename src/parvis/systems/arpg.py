"""ARPG: any order by guided decoding (Li et al., arXiv 2503.10568). 256 tokens in 64 passes.

Half of the blocks read what is known; the other half answer, from keys and values made once: a query knows its position
alone, no query sees another, and nothing is read twice. So tokens of one pass are independent given those
before, by construction. Training asks tokens one by one in random order: known rows see those before them; in decoding
the tokens of one group see each other as well.

Quirks kept for its checkpoints: classes, the mask token and a spare row lie in the table of the codes, behind them (V:
mask; V + 1 + c: class c; V + 1 + C: null class; the last: nothing); the class row vanishes (see Rotary). The released
decoder has one order for a batch; here every image has its own.
"""

from __future__ import annotations

from torch import nn

from parvis import guidance
from parvis.decode.parallel import parallel
from parvis.errors import IncompatibleParts
from parvis.grid import Grid
from parvis.model.attention import Attention
from parvis.model.block import Block, Head, RMSNorm, SwiGLU
from parvis.model.context import TableCondition
from parvis.model.framing import apart
from parvis.model.position import Rotary
from parvis.model.transformer import Size, Transformer, sized
from parvis.model.twopass import ReadingBlock, SeparateMaps, TwoPass
from parvis.model.visibility import group_causal
from parvis.noise import Noise
from parvis.order import Order, random
from parvis.schedule import remaining_arccos
from parvis.system import Preset, System
from parvis.systems import llamagen
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.vqgan import VQGAN, VQConfig

CITE = "Li et al., Autoregressive Image Generation with Randomized Parallel Decoding, arXiv 2503.10568, ICLR 2026"
SIZES = {size: llamagen.SIZES[size] for size in ("l", "xl", "xxl")}
GUIDANCE = {"l": 5.0, "xl": 6.0, "xxl": 7.5}


def transformer(size: Size, grid: Grid, *, vocabulary: int, classes: int, dropout: float = 0.0) -> Transformer:
    """ARPG's transformer: ``size.depth`` blocks, an even number, half of each kind."""
    D, half = size.width, size.depth // 2
    if size.depth != 2 * half:
        raise IncompatibleParts(
            f"ARPG has as many reading blocks as others; got a depth of {size.depth}: give an even one"
        )

    def mlp() -> SwiGLU:
        return SwiGLU(D, size.hidden, dropout=dropout)

    blocks = [
        Block(RMSNorm(D), Attention(D, size.heads, dropout=dropout, qkv=SeparateMaps(D)), RMSNorm(D), mlp())
        for _ in range(half)
    ]
    reading = [ReadingBlock(RMSNorm(D), D, size.heads, RMSNorm(D), mlp()) for _ in range(half)]
    tokens = nn.Embedding(vocabulary + classes + 3, D)
    return Transformer(
        grid=grid,
        framing=apart,
        rule=group_causal,
        condition=TableCondition(tokens, vocabulary + 1, classes),
        tokens=tokens,
        mask_row=vocabulary,
        blocks=blocks,
        body=TwoPass(RMSNorm(D), reading, D, size.heads),
        head=Head(RMSNorm(D), D, vocabulary),
        rotary=Rotary(grid, D // size.heads),
        dropout=dropout,
    )


def anywhere(grid: Grid, steps: int, noise: Noise) -> Order:
    """A uniformly random order, one per image, in groups by the recommended schedule."""
    return random(grid, remaining_arccos(grid.tokens, steps), noise)


def arpg(
    size: str | Size = "l",
    resolution: int = 256,
    steps: int | None = None,
    *,
    tokenizer: Tokenizer | None = None,
    classes: int = 1000,
) -> System:
    """ARPG, class-conditional.

    Args:
        size: ``l``, ``xl``, ``xxl`` or any :class:`Size`.
        resolution: pixels per side, 16 per token (the releases: 256).
        steps: passes, 64 unless given. tokenizer: VQ-16 unless given. classes: number of classes.
    """
    shape = sized("ARPG", size, SIZES)
    tokenizer = tokenizer or VQGAN(VQConfig())
    grid = tokenizer.grid(resolution, resolution)
    return System(
        name=f"arpg-{size}-{resolution}",
        cite=CITE,
        grid=grid,
        tokenizer=tokenizer,
        models={"main": transformer(shape, grid, vocabulary=tokenizer.vocabulary, classes=classes)},
        order=anywhere,
        decoder=parallel,
        guidance=guidance.after_step,
        preset=Preset(steps=steps or min(64, grid.tokens), guidance=GUIDANCE.get(str(size), 5.0)),
    )
