"""LlamaGen: raster order, one token per pass (Sun et al., arXiv 2406.06525). The baseline that the others make
parallel.

Quirk kept for its checkpoints: condition rows are turned by cos = sin = 0, so their queries and keys vanish (see
Rotary).
"""

from __future__ import annotations

from torch import nn

from parvis import guidance
from parvis.decode.parallel import parallel
from parvis.errors import UnknownName
from parvis.grid import Grid
from parvis.model.attention import Attention
from parvis.model.block import Block, Head, ModulatedBlock, RMSNorm, SwiGLU, swiglu_hidden
from parvis.model.context import ClassCondition, Condition, FeaturesCondition
from parvis.model.framing import shift
from parvis.model.plan import Rule
from parvis.model.position import Rotary
from parvis.model.transformer import Size, Transformer, sized
from parvis.model.visibility import slot_causal
from parvis.order import raster
from parvis.sampling import Sampling
from parvis.system import Preset, System
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.vqgan import VQGAN, VQConfig

CITE = "Sun et al., Autoregressive Model Beats Diffusion: Llama for Scalable Image Generation, arXiv 2406.06525, 2024"


def size(depth: int, width: int, heads: int) -> Size:
    """A LlamaGen size: the hidden width follows from the width."""
    return Size(depth, width, heads, swiglu_hidden(width))


SIZES = {
    "b": size(12, 768, 12),
    "l": size(24, 1024, 16),
    "xl": size(36, 1280, 20),
    "xxl": size(48, 1536, 24),
    "xxxl": size(48, 2560, 40),
    "1b": size(22, 2048, 32),
    "3b": size(24, 3200, 32),
    "7b": size(32, 4096, 32),
}
GUIDANCE = {"b": 2.0, "l": 2.0}  # 1.75 and 1.65 for the larger ones: the authors' evaluation scripts


def blocks(size: Size, dropout: float = 0.0) -> list[Block | ModulatedBlock]:
    """LlamaGen's blocks: RMSNorm, SwiGLU, no biases."""
    D = size.width
    return [
        Block(
            RMSNorm(D), Attention(D, size.heads, dropout=dropout), RMSNorm(D), SwiGLU(D, size.hidden, dropout=dropout)
        )
        for _ in range(size.depth)
    ]


def transformer(
    size: Size,
    grid: Grid,
    *,
    vocabulary: int,
    condition: Condition,
    rule: Rule = slot_causal,
    fillers: int = 0,
    dropout: float = 0.0,
    vanish: bool = True,
) -> Transformer:
    """LlamaGen's transformer: RMSNorm, SwiGLU, 2-D rotary positions, no biases.

    ``vanish=False`` drops the quirk, for a condition of several rows that must be told apart (words).
    """
    D = size.width
    return Transformer(
        grid=grid,
        framing=shift,
        rule=rule,
        condition=condition,
        tokens=nn.Embedding(vocabulary, D),
        blocks=blocks(size, dropout),
        head=Head(RMSNorm(D), D, vocabulary),
        rotary=Rotary(grid, D // size.heads, vanish=vanish),
        fillers=fillers,
        dropout=dropout,
    )


def initialise(model: nn.Module) -> None:
    """The authors' start: N(0, 0.02) for linear maps and embeddings, the output head zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, Head):
            nn.init.zeros_(module.out.weight)


def llamagen(
    size: str | Size = "l", resolution: int = 256, *, tokenizer: Tokenizer | None = None, classes: int = 1000
) -> System:
    """LlamaGen, class-conditional.

    Args:
        size: a key of ``SIZES``, or any :class:`Size`.
        resolution: pixels per side, 16 per token (the releases: 256 and 384).
        tokenizer: VQ-16 unless given. classes: number of classes.
    """
    shape = sized("LlamaGen", size, SIZES)
    tokenizer = tokenizer or VQGAN(VQConfig())
    grid = tokenizer.grid(resolution, resolution)
    scale = GUIDANCE.get(str(size), 1.65 if size == "3b" else 1.75)
    return System(
        name=f"llamagen-{size}-{resolution}",
        cite=CITE,
        grid=grid,
        tokenizer=tokenizer,
        models={
            "main": transformer(
                shape, grid, vocabulary=tokenizer.vocabulary, condition=ClassCondition(classes, shape.width)
            )
        },
        order=lambda grid, steps, noise: raster(grid),
        decoder=parallel,
        guidance=guidance.constant,
        preset=Preset(steps=grid.tokens, guidance=scale, sampling=Sampling()),
        edits="prefix",
    )


def text(
    size: str = "xl",
    resolution: int = 256,
    *,
    tokenizer: Tokenizer | None = None,
    features: int = 2048,
    slots: int = 120,
) -> System:
    """LlamaGen, text-conditional: rows of T5 features in front of the picture, padding first (see ``parvis/text.py``).

    Args:
        size: a key of ``SIZES``. resolution: pixels per side, 16 per token (the releases: 256 and 512, both ``xl``).
        tokenizer: VQ-16 unless given. features: width of the text features (Flan-T5-XL: 2048). slots: rows of them.
    """
    if size not in SIZES:
        raise UnknownName("LlamaGen size", size, SIZES)
    tokenizer = tokenizer or VQGAN(VQConfig())
    grid = tokenizer.grid(resolution, resolution)
    condition = FeaturesCondition(features, slots, SIZES[size].width)
    return System(
        name=f"llamagen-t2i-{size}-{resolution}",
        cite=CITE,
        grid=grid,
        tokenizer=tokenizer,
        models={"main": transformer(SIZES[size], grid, vocabulary=tokenizer.vocabulary, condition=condition)},
        order=lambda grid, steps, noise: raster(grid),
        decoder=parallel,
        guidance=guidance.constant,
        preset=Preset(steps=grid.tokens, guidance=7.5, sampling=Sampling(top_k=1000)),
        edits="prefix",
        takes="features",
    )
