"""VAR: next-scale prediction (Tian et al., arXiv 2404.02905). 10 passes for 256 pixels, one scale at a time.

Guidance counts from 1 here as everywhere: the authors' ``cfg`` t is guidance 1 + t (1.5 for their FID, so 2.5).
Every position of a scale is fed the coarse image so far, shrunk to that scale (section 3.2); the class sets all norms
(AdaLN).
"""

from __future__ import annotations

import math

from torch import nn

from parvis import guidance
from parvis.decode.parallel import parallel
from parvis.errors import UnknownName
from parvis.grid import Grid
from parvis.model.attention import Attention
from parvis.model.block import Mlp, ModulatedBlock, ModulatedHead
from parvis.model.context import ClassCondition
from parvis.model.framing import content
from parvis.model.position import LearnedPositions
from parvis.model.transformer import Size, Transformer, sized
from parvis.model.visibility import group_causal
from parvis.order import scales
from parvis.sampling import Sampling
from parvis.system import Preset, System
from parvis.tokenizer.multiscale import MultiScaleConfig, MultiScaleVQ

CITE = (
    "Tian et al., Visual Autoregressive Modeling: Scalable Image Generation via Next-Scale Prediction, "
    "arXiv 2404.02905, 2024"
)
SIZES = {f"d{depth}": Size(depth, 64 * depth, depth, 256 * depth) for depth in (16, 20, 24, 30, 36)}
SIDES = {
    256: (1, 2, 3, 4, 5, 6, 8, 10, 13, 16),
    512: (1, 2, 3, 4, 6, 9, 13, 18, 24, 32),
    1024: (1, 2, 3, 4, 5, 7, 9, 12, 16, 21, 27, 36, 48, 64),
}


def transformer(
    size: Size, grid: Grid, *, vocabulary: int, channels: int, classes: int, shared: bool = False
) -> Transformer:
    """VAR's transformer.

    Args:
        channels: C, width of the tokenizer's latents (32). shared: one adaptive-norm network for all blocks (d36).
    """
    D = size.width
    blocks = [
        ModulatedBlock(
            D,
            Attention(D, size.heads, bias=(False, True), cosine=True),
            Mlp(D, size.hidden, tanh=True),
            shared=shared,
        )
        for _ in range(size.depth)
    ]
    return Transformer(
        grid=grid,
        framing=content,
        rule=group_causal,
        condition=ClassCondition(classes, D, start=True),
        tokens=None,
        blocks=blocks,
        head=ModulatedHead(D, vocabulary),
        positions=LearnedPositions(grid, D, 1, overlap=True, levels=True),
        view=nn.Linear(channels, D),
        shared=nn.Sequential(nn.SiLU(), nn.Linear(D, 6 * D)) if shared else None,
    )


def initialise(model: Transformer) -> None:
    """The authors' start: truncated N(0, 1/(3D)); small heads and gains; residual outputs shrunk with depth."""
    D, depth = model.head.out.in_features, len(model.blocks)
    for parameter in model.parameters():
        if parameter.dim() > 1 and parameter.shape[-1] != 1:
            nn.init.trunc_normal_(parameter, std=math.sqrt(1 / (3 * D)))
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, Attention):
            module.proj.weight.data.div_(math.sqrt(2 * depth))
        if isinstance(module, Mlp):
            module.fc2.weight.data.div_(math.sqrt(2 * depth))
        if isinstance(module, ModulatedBlock) and module.adapt is not None:
            weight = module.adapt.get_parameter("1.weight").data
            weight[2 * D :].mul_(0.5)
            weight[: 2 * D].mul_(1e-3)
        if isinstance(module, ModulatedHead):
            module.adapt.get_parameter("1.weight").data.mul_(0.5)
            module.out.weight.data.mul_(0.02)


def var(
    size: str | Size = "d16", resolution: int = 256, *, tokenizer: MultiScaleVQ | None = None, classes: int = 1000
) -> System:
    """VAR, class-conditional.

    Args:
        size: ``d16``, ``d20``, ``d24``, ``d30``, ``d36`` (d36 shares its adaptive norms) or any :class:`Size`.
        resolution: 256, 512 or 1024.
        tokenizer: the released multi-scale VQVAE unless given. classes: number of classes.
    """
    shape = sized("VAR", size, SIZES)
    if tokenizer is None:
        if resolution not in SIDES:
            raise UnknownName("VAR resolution", str(resolution), map(str, SIDES))
        tokenizer = MultiScaleVQ(MultiScaleConfig(sides=SIDES[resolution]))
    grid = tokenizer.grid(resolution, resolution)
    model = transformer(
        shape,
        grid,
        vocabulary=tokenizer.vocabulary,
        channels=tokenizer.config.z_channels,
        classes=classes,
        shared=size == "d36",
    )
    return System(
        name=f"var-{size}-{resolution}",
        cite=CITE,
        grid=grid,
        tokenizer=tokenizer,
        models={"main": model},
        order=lambda grid, steps, noise: scales(grid),
        decoder=parallel,
        guidance=guidance.by_group,
        preset=Preset(steps=len(grid.scales), guidance=2.5, sampling=Sampling(top_k=900, top_p=0.96)),
        edits="prefix",
    )
