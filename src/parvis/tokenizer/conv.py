"""Convolutional blocks that the autoencoders share (the VQGAN lineage, arXiv 2012.09841).

Shapes: B images, C channels, H height, W width. Every block keeps the memory format of its input.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def norm(channels: int, groups: int) -> nn.GroupNorm:
    """GroupNorm with the epsilon of the whole family."""
    return nn.GroupNorm(groups, channels, eps=1e-6)


class Residual(nn.Module):
    """norm - swish - 3x3 - norm - swish - 3x3 plus the input, which a 1x1 convolution widens where needed."""

    def __init__(self, channels: int, out: int, groups: int) -> None:
        super().__init__()
        self.norm1 = norm(channels, groups)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.norm2 = norm(out, groups)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        h_BCHW = self.conv1(F.silu(self.norm1(x_BCHW)))
        h_BCHW = self.conv2(F.silu(self.norm2(h_BCHW)))
        return h_BCHW + self.nin_shortcut(x_BCHW)  # type: ignore[no-any-return]


def attend(q_BCHW: Tensor, k_BCHW: Tensor, v_BCHW: Tensor) -> Tensor:
    """Single-head attention over all cells, scale C^-0.5."""
    q, k, v = (t.flatten(2).transpose(1, 2).unsqueeze(1) for t in (q_BCHW, k_BCHW, v_BCHW))
    out = F.scaled_dot_product_attention(q, k, v)
    return out.squeeze(1).transpose(1, 2).reshape(q_BCHW.shape)


class Attention(nn.Module):
    """norm, single-head self-attention with separate 1x1 projections, plus the input (LlamaGen's names)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = norm(channels, groups)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        h_BCHW = self.norm(x_BCHW)
        return x_BCHW + self.proj_out(attend(self.q(h_BCHW), self.k(h_BCHW), self.v(h_BCHW)))  # type: ignore[no-any-return]


class FusedAttention(nn.Module):
    """The same with one projection for queries, keys and values (VAR's names)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = norm(channels, groups)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW + self.proj_out(attend(*self.qkv(self.norm(x_BCHW)).chunk(3, 1)))  # type: ignore[no-any-return]


class Downsample(nn.Module):
    """Half the size: pad right and bottom by one, then a 3x3 convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.conv(F.pad(x_BCHW, (0, 1, 0, 1)))  # type: ignore[no-any-return]


class Upsample(nn.Module):
    """Twice the size: repeat every cell, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.conv(F.interpolate(x_BCHW, scale_factor=2.0, mode="nearest"))  # type: ignore[no-any-return]
