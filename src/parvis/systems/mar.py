"""MAR: masked autoregression without codes (Li et al., arXiv 2406.11838). Latents of KL-16, a random order per image.

Every pass reads the whole canvas anew: known latents through the encoder, mask tokens in the decoder, no cache; a small
diffusion head then draws the asked latents, each on its own. Class rows of one vector ("buffer") go through both
halves.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from parvis.decode.parallel import parallel
from parvis.diffusion import Schedule, spread_out, strided
from parvis.grid import Grid
from parvis.guidance import Guidance
from parvis.model.attention import Attention
from parvis.model.block import Block, Mlp
from parvis.model.context import LatentNullCondition
from parvis.model.denoiser import DiffusionHead
from parvis.model.masked import MaskedAutoencoder
from parvis.model.transformer import Size, sized
from parvis.order import random
from parvis.schedule import remaining_cosine
from parvis.system import Preset, System
from parvis.tokenizer.kl import KL, KLConfig

CITE = "Li et al., Autoregressive Image Generation without Vector Quantization, arXiv 2406.11838, NeurIPS 2024"
SIZES = {"b": Size(12, 768, 12, 3072), "l": Size(16, 1024, 16, 4096), "h": Size(20, 1280, 16, 5120)}
"""Of the encoder and of the decoder each."""
HEADS = {"b": (6, 1024), "l": (8, 1280), "h": (12, 1536)}
"""Depth and width of the diffusion head."""
GUIDANCE = {"b": 2.9, "l": 3.0, "h": 3.2}


def transformer(
    size: Size,
    grid: Grid,
    head: tuple[int, int],
    schedule: Schedule,
    *,
    channels: int = 16,
    classes: int = 1000,
    buffer: int = 64,
    dropout: float = 0.0,
) -> MaskedAutoencoder:
    """MAR's network: LayerNorm, exact GELU, learned positions.

    Args:
        size: of each half. head: depth and width of the diffusion head. schedule: the diffusion steps taken.
        channels: C. buffer: class rows. dropout: on the outputs of attention and MLP, in training (theirs: 0.1, on
            attention's weights as well).
    """

    def norm() -> nn.LayerNorm:
        return nn.LayerNorm(size.width, eps=1e-6)

    def half() -> list[Block]:
        return [
            Block(
                norm(),
                Attention(size.width, size.heads, bias=(True, True), dropout=dropout),
                norm(),
                Mlp(size.width, size.hidden, dropout=dropout),
            )
            for _ in range(size.depth)
        ]

    return MaskedAutoencoder(
        grid=grid,
        condition=LatentNullCondition(classes, size.width, buffer),
        encoder=half(),
        decoder=half(),
        norms=(norm(), norm(), norm()),
        head=DiffusionHead(channels, size.width, head[1], head[0], schedule),
    )


def initialise(model: MaskedAutoencoder) -> None:
    """The authors' start: N(0, 0.02) for everything embedded, Xavier-uniform linear maps, zero biases; the diffusion
    head begins as no change at all."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 or name == "query":
            nn.init.normal_(parameter, std=0.02)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
            if not name.startswith("head.time."):
                nn.init.xavier_uniform_(module.weight)
            if name.startswith("head.") and (".adapt." in name or name == "head.out"):
                nn.init.zeros_(module.weight)


def linear(scale: float) -> Guidance:
    """``1 + (scale - 1) d / N``, d the tokens known *after* the pass; the last pass counts one too few, as in the
    released code, so ``scale`` itself is never reached."""

    def rule(sizes: tuple[int, ...]) -> Tensor:
        tokens = sum(sizes)
        after = torch.tensor(sizes).cumsum(0).clamp_max(tokens - 1)
        return (1.0 + (scale - 1.0) * after.double() / tokens).float().repeat_interleave(torch.tensor(sizes))

    return rule


def mar(
    size: str | Size = "b",
    resolution: int = 256,
    steps: int | None = None,
    *,
    diffusion_steps: int = 100,
    tokenizer: KL | None = None,
    classes: int = 1000,
) -> System:
    """MAR, class-conditional.

    Args:
        size: ``b``, ``l``, ``h`` or any :class:`Size`. resolution: pixels per side, 16 per token.
        steps: passes; one per token unless given (their evaluation).
        diffusion_steps: of the head, per pass. For sizes of one's own a divisor of 1000: the noisiest steps are left
            out, where the chain enlarges the error of a head that was trained briefly a thousand times.
        tokenizer: KL-16 unless given. classes: number of classes.
    """
    shape = sized("MAR", size, SIZES)
    tokenizer = tokenizer or KL(KLConfig())
    grid = tokenizer.grid(resolution, resolution)
    schedule = Schedule(spread_out(diffusion_steps) if size in SIZES else strided(diffusion_steps))
    head = HEADS.get(str(size), (3, shape.width))
    model = transformer(
        shape, grid, head, schedule, channels=tokenizer.config.z_channels, classes=classes,
        buffer=max(1, grid.tokens // 4),
    )  # fmt: skip
    return System(
        name=f"mar-{size}-{resolution}",
        cite=CITE,
        grid=grid,
        tokenizer=tokenizer,
        models={"main": model},
        order=lambda grid, steps, noise: random(grid, remaining_cosine(grid.tokens, steps), noise),
        decoder=parallel,
        guidance=linear,
        preset=Preset(steps=steps or grid.tokens, guidance=GUIDANCE.get(str(size), 3.0)),
    )
