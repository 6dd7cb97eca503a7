"""xAR: next-cell prediction with noisy context (Ren et al., arXiv 2502.20388). Latents of KL-16, 4 cells of 8 x 8.

A cell starts as noise and is denoised in 40 or 50 passes that read the clean cells before it. In training every cell is
noisy, at a time of its own, and reads noisy cells (section 3.3): decoding and training see different contexts.

Quirks of the released code that are kept: the network is told the integer part of 1000 t; a guidance below 1 means
none; the class table has a null row at its end.
"""

from __future__ import annotations

import torch
from torch import nn

from parvis import guidance
from parvis.decode.denoise import denoise
from parvis.flow import times
from parvis.grid import Grid
from parvis.guidance import Guidance
from parvis.model.attention import Attention
from parvis.model.block import GEGLU, ModulatedBlock
from parvis.model.context import ClassVector
from parvis.model.denoising import DenoisingTransformer
from parvis.model.position import Rotary
from parvis.model.transformer import Size, sized
from parvis.order import cells
from parvis.system import Preset, System
from parvis.tokenizer.kl import KL, KLConfig

CITE = "Ren et al., Beyond Next-Token: Next-X Prediction for Autoregressive Visual Generation, arXiv 2502.20388, 2025"
SIZES = {
    name: Size(depth, width, heads, int(width * 8 / 3))
    for name, depth, width, heads in (("b", 8, 768, 12), ("l", 16, 1024, 16), ("h", 20, 1280, 16))
}
"""Of the encoder and of the decoder each."""
GUIDANCE = {"b": 2.7, "l": 2.3, "h": 2.2}
SOLVER = {"b": 40, "l": 50, "h": 50}


def transformer(size: Size, grid: Grid, cell: int, *, channels: int = 16, classes: int = 1000) -> DenoisingTransformer:
    """xAR's network: weightless RMSNorm set by class and time, GEGLU, rotary and learned positions.

    Args:
        cell: tokens along the side of a cell. channels: C. classes: number of classes.
    """
    with torch.device("cpu"):  # also while a model is built on the meta device
        order = cells(grid, cell)

    def stack() -> list[ModulatedBlock]:
        return [
            ModulatedBlock(
                size.width,
                Attention(size.width, size.heads, bias=(True, True)),
                GEGLU(size.width, size.hidden),
                rms=True,
            )
            for _ in range(size.depth)
        ]

    return DenoisingTransformer(
        grid=grid,
        order=order,
        condition=ClassVector(classes, size.width),
        encoder=stack(),
        decoder=stack(),
        rotary=Rotary(grid, size.width // size.heads),
        channels=channels,
    )


def initialise(model: DenoisingTransformer) -> None:
    """A start: N(0, 0.02) for everything embedded, Xavier-uniform linear maps, zero biases; adaptive norms and the
    output begin at zero. The authors' own start is not known."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.02)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
            if not name.startswith("time."):
                nn.init.xavier_uniform_(module.weight)
            if ".adapt." in name or name == "out":
                nn.init.zeros_(module.weight)


def by_cell(scale: float) -> Guidance:
    """``1 + (scale - 1) c / (cells - 1)`` in cell c = 0.., so the first is unguided; all are where ``scale`` < 1."""
    return guidance.by_group(max(scale, 1.0))


def xar(
    size: str | Size = "b",
    resolution: int = 256,
    cell: int = 8,
    *,
    solver_steps: int | None = None,
    tokenizer: KL | None = None,
    classes: int = 1000,
) -> System:
    """xAR, class-conditional.

    Args:
        size: ``b``, ``l``, ``h`` or any :class:`Size`.
        resolution: pixels per side, 16 per token. cell: tokens along the side of a cell.
        solver_steps: passes per cell; the published number unless given. tokenizer: KL-16 unless given.
        classes: number of classes.
    """
    shape = sized("xAR", size, SIZES)
    tokenizer = tokenizer or KL(KLConfig())
    grid = tokenizer.grid(resolution, resolution)
    solver = times(solver_steps or SOLVER.get(str(size), 50))
    return System(
        name=f"xar-{size}-{resolution}",
        cite=CITE,
        grid=grid,
        tokenizer=tokenizer,
        models={"main": transformer(shape, grid, cell, channels=tokenizer.config.z_channels, classes=classes)},
        order=lambda grid, steps, noise: cells(grid, cell),
        decoder=denoise(solver),
        guidance=by_cell,
        preset=Preset(steps=len(cells(grid, cell).sizes), guidance=GUIDANCE.get(str(size), 2.3)),
        edits="prefix",
        passes_per_group=len(solver),
    )
