"""LPD: locality-aware parallel decoding (Zhang et al., arXiv 2507.01957). 256 tokens in 20 passes, any order.

Position queries ask, tokens answer; queries of one pass see each other, and their keys are replaced by the tokens' own
(section 3.1). The order keeps the tokens of one pass near to what is known and far from one another (section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvis import guidance
from parvis.decode.parallel import parallel
from parvis.grid import Grid
from parvis.locality import lpd as locality_order
from parvis.model.attention import Attention
from parvis.model.block import Block, Head, Mlp
from parvis.model.context import Condition, LatentNullCondition
from parvis.model.framing import query
from parvis.model.position import LearnedPositions
from parvis.model.transformer import Size, Transformer, sized
from parvis.model.visibility import peers_and_context
from parvis.noise import Noise
from parvis.order import Order
from parvis.schedule import group_sizes
from parvis.system import Preset, System
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.vqgan import VQGAN, VQConfig

CITE = (
    "Zhang et al., Locality-aware Parallel Decoding for Efficient Autoregressive Image Generation, "
    "arXiv 2507.01957, 2025"
)
SIZES = {"l": Size(24, 1024, 16, 4096), "xl": Size(36, 1280, 20, 5120), "xxl": Size(48, 1536, 24, 6144)}
# (size, resolution, steps) -> guidance, repulsion threshold: the released runs, all with proximity threshold 1
PUBLISHED = {
    ("l", 256, 20): (4.8, 2),
    ("l", 256, 32): (5.4, 2),
    ("xl", 256, 20): (4.9, 2),
    ("xl", 256, 32): (5.0, 2),
    ("xxl", 256, 20): (5.9, 3),
    ("l", 512, 48): (7.3, 4),
    ("xl", 512, 48): (6.0, 4),
}


def transformer(
    size: Size, grid: Grid, *, vocabulary: int, condition: Condition, prefix: int = 1, dropout: float = 0.0
) -> Transformer:
    """LPD's transformer: LayerNorm, exact GELU, learned positions, one LayerNorm over every embedded row.

    Args:
        prefix: prefix rows with position vectors of their own (the class slot); 0 where the condition brings its own.
    """

    def norm() -> nn.LayerNorm:
        return nn.LayerNorm(size.width, eps=1e-6)

    blocks = [
        Block(
            norm(),
            Attention(size.width, size.heads, bias=(True, True), dropout=dropout),
            norm(),
            Mlp(size.width, size.hidden, dropout=dropout),
        )
        for _ in range(size.depth)
    ]
    return Transformer(
        grid=grid,
        framing=query,
        rule=peers_and_context,
        condition=condition,
        tokens=nn.Embedding(vocabulary, size.width),
        blocks=blocks,
        head=Head(norm(), size.width, vocabulary),
        positions=LearnedPositions(grid, size.width, prefix),
        query=True,
        norm_in=norm(),
    )


def initialise(model: nn.Module) -> None:
    """The authors' start: N(0, 0.02) for everything embedded, Xavier-uniform linear maps, zero biases."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 or name.endswith("query"):
            nn.init.normal_(parameter, std=0.02)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def stretched(table_PD: Tensor, old: Grid, new: Grid) -> Tensor:
    """Position vectors of ``old`` bicubically interpolated to ``new``, as LPD goes from 256 to 512 pixels; vectors of
    prefix rows in front are kept as they are.

    Args:
        table_PD: [prefix + old.tokens, D]. old, new: grids of one scale.
    """
    prefix = table_PD.shape[0] - old.tokens
    image_1Dhw = table_PD[prefix:].T.reshape(1, -1, old.height, old.width)
    wide_1DHW = F.interpolate(image_1Dhw, size=(new.height, new.width), mode="bicubic", align_corners=False)
    return torch.cat([table_PD[:prefix], wide_1DHW[0].flatten(1).T])


def locality(repulsion: float = 2.0) -> Callable[[Grid, int, Noise], Order]:
    """Plans the locality-aware order of section 3.2, one per image."""
    return lambda grid, steps, noise: locality_order(grid, group_sizes(grid.tokens, steps), noise, repulsion=repulsion)


def around(repulsion: float = 2.0) -> Callable[[Grid, tuple[int, ...], Noise, Tensor], Order]:
    """Plans the same order round known tokens, which count as generated (editing)."""
    return lambda grid, sizes, noise, known: locality_order(grid, sizes, noise, repulsion=repulsion, known=known)


def lpd(
    size: str | Size = "l",
    resolution: int = 256,
    steps: int | None = None,
    *,
    tokenizer: Tokenizer | None = None,
    classes: int = 1000,
) -> System:
    """LPD, class-conditional.

    Args:
        size: ``l``, ``xl``, ``xxl`` or any :class:`Size`.
        resolution: pixels per side, 16 per token (the releases: 256 and 512).
        steps: passes; 20 at 256 and 48 at 512 unless given. tokenizer: VQ-16 unless given. classes: number of classes.
    """
    shape = sized("LPD", size, SIZES)
    tokenizer = tokenizer or VQGAN(VQConfig())
    grid = tokenizer.grid(resolution, resolution)
    steps = steps or min(48 if grid.tokens >= 1024 else 20, grid.tokens)
    scale, repulsion = PUBLISHED.get((str(size), resolution, steps), (4.8, 2))
    condition = LatentNullCondition(classes, shape.width)
    return System(
        name=f"lpd-{size}-{resolution}",
        cite=CITE,
        grid=grid,
        tokenizer=tokenizer,
        models={"main": transformer(shape, grid, vocabulary=tokenizer.vocabulary, condition=condition)},
        order=locality(repulsion),
        around=around(repulsion),
        decoder=parallel,
        guidance=guidance.linear,
        preset=Preset(steps=steps, guidance=scale),
    )
