"""The encoder and decoder of latent diffusion's autoencoders (arXiv 2112.10752), under their public names: KL-16's, and
with other attention VAR's.

Shapes: B images, C latent channels, H and W pixels, h and w tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from parvis.tokenizer.conv import Downsample, Residual, Upsample, norm


@dataclass(frozen=True)
class Shape:
    """Level l is ``channels * multipliers[l]`` wide, finest first; each but the last halves the size, and has
    ``blocks`` residual blocks in the encoder and one more in the decoder. ``attention``: (channels, groups) -> layer.
    """

    channels: int
    multipliers: Sequence[int]
    blocks: int
    groups: int
    attention: Callable[[int, int], nn.Module]

    @property
    def widths(self) -> list[int]:
        return [self.channels * multiplier for multiplier in self.multipliers]


class _Level(nn.Module):
    """Residual blocks of one resolution, each with attention or none, then a change of size if any."""

    def __init__(self, channels: int, out: int, blocks: int, attends: bool, shape: Shape) -> None:
        super().__init__()
        self.block = nn.ModuleList(Residual(channels if i == 0 else out, out, shape.groups) for i in range(blocks))
        self.attn = nn.ModuleList(shape.attention(out, shape.groups) for _ in range(blocks if attends else 0))
        self.downsample: nn.Module | None = None
        self.upsample: nn.Module | None = None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        for i, block in enumerate(self.block):
            x_BCHW = block(x_BCHW)
            if len(self.attn):
                x_BCHW = self.attn[i](x_BCHW)
        for resize in (self.downsample, self.upsample):
            if resize is not None:
                x_BCHW = resize(x_BCHW)
        return x_BCHW


class _Middle(nn.Module):
    """Residual, attention, residual."""

    def __init__(self, channels: int, shape: Shape) -> None:
        super().__init__()
        self.block_1 = Residual(channels, channels, shape.groups)
        self.attn_1 = shape.attention(channels, shape.groups)
        self.block_2 = Residual(channels, channels, shape.groups)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x_BCHW)))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Pixels to ``[B, out, h, w]``; attention in the last level and the middle."""

    def __init__(self, shape: Shape, out: int) -> None:
        super().__init__()
        width, last = shape.channels, len(shape.widths) - 1
        self.conv_in = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.ModuleList()
        for i, wide in enumerate(shape.widths):
            level = _Level(width, wide, shape.blocks, i == last, shape)
            level.downsample = Downsample(wide) if i != last else None
            self.down.append(level)
            width = wide
        self.mid = _Middle(width, shape)
        self.norm_out = norm(width, shape.groups)
        self.conv_out = nn.Conv2d(width, out, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.conv_in(x_BCHW)
        for level in self.down:
            x_BCHW = level(x_BCHW)
        return self.conv_out(F.silu(self.norm_out(self.mid(x_BCHW))))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """``[B, C, h, w]`` to pixels; attention in the middle and, if ``attends``, in the coarsest level. Level 0 of ``up``
    is the finest, so it runs last."""

    def __init__(self, shape: Shape, channels: int, attends: bool) -> None:
        super().__init__()
        width, last = shape.widths[-1], len(shape.widths) - 1
        self.conv_in = nn.Conv2d(channels, width, 3, padding=1)
        self.mid = _Middle(width, shape)
        levels = []
        for i in reversed(range(len(shape.widths))):
            level = _Level(width, shape.widths[i], shape.blocks + 1, attends and i == last, shape)
            level.upsample = Upsample(shape.widths[i]) if i else None
            levels.append(level)
            width = shape.widths[i]
        self.up = nn.ModuleList(reversed(levels))
        self.norm_out = norm(width, shape.groups)
        self.conv_out = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.mid(self.conv_in(x_BCHW))
        for level in reversed(self.up):
            x_BCHW = level(x_BCHW)
        return self.conv_out(F.silu(self.norm_out(x_BCHW)))  # type: ignore[no-any-return]
