"""The VQGAN autoencoder: LlamaGen's VQ-16 and VQ-8 exactly, and small relatives of them.

Module names are those of the public state dict, so that public weights load as they are.
Shapes: B images, C code channels, H and W pixels, h and w tokens, N = h * w.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvis.errors import UsageError
from parvis.grid import Grid
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.conv import Attention, Downsample, Residual, Upsample, norm
from parvis.tokenizer.quantize import VectorQuantizer

_FORMAT = torch.channels_last  # on a CPU single convolutions run 1.1 to 2.3 times as fast, VQ-16's decoder 2 to 17 %


@dataclass(frozen=True)
class VQConfig:
    """The defaults are LlamaGen's VQ-16 (arXiv 2406.06525); ``multipliers=(1, 2, 2, 4)`` is its VQ-8.

    channels * multipliers[l] is the width of level l, finest first; each level but the last halves the size. ``patch``
    folds patch x patch pixels into channels before the first convolution (1: none). ``attention`` puts self-attention
    in the last level and the middle; without it the network is resolution free. ``blank`` reserves code 0 for cells
    that are white all over: every channel above ``blank_level`` (pixels are in [-1, 1]).
    """

    channels: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    encoder_blocks: int = 2
    decoder_blocks: int = 3
    attention: bool = True
    groups: int = 32
    z_channels: int = 256
    codes: int = 16384
    code_dim: int = 8
    patch: int = 1
    blank: bool = False
    blank_level: float = 0.97

    def __post_init__(self) -> None:
        object.__setattr__(self, "multipliers", tuple(self.multipliers))
        for multiplier in self.multipliers:
            if self.channels * multiplier % self.groups:
                raise UsageError(
                    f"width {self.channels * multiplier} (channels * {multiplier}) does not divide into "
                    f"{self.groups} groups; change channels, multipliers or groups"
                )

    @property
    def factor(self) -> int:
        """Pixels along the side of one token."""
        return int(self.patch * 2 ** (len(self.multipliers) - 1))


CONFIGS = {"vq16": VQConfig(), "vq8": VQConfig(multipliers=(1, 2, 2, 4))}
"""LlamaGen's released tokenizers: 16 and 8 pixels along the side of a token."""


class _Level(nn.Module):
    """Blocks of one resolution: ``res``, ``attn`` (maybe empty), then ``downsample`` or ``upsample`` if any."""

    def __init__(self, channels: int, out: int, blocks: int, attention: bool, groups: int) -> None:
        super().__init__()
        self.res = nn.ModuleList(Residual(channels if i == 0 else out, out, groups) for i in range(blocks))
        self.attn = nn.ModuleList(Attention(out, groups) for _ in range(blocks if attention else 0))
        self.downsample: nn.Module | None = None
        self.upsample: nn.Module | None = None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        for i, block in enumerate(self.res):
            x_BCHW = block(x_BCHW)
            if len(self.attn):
                x_BCHW = self.attn[i](x_BCHW)
        for resize in (self.downsample, self.upsample):
            if resize is not None:
                x_BCHW = resize(x_BCHW)
        return x_BCHW


def _middle(channels: int, config: VQConfig) -> nn.Sequential:
    attention = Attention(channels, config.groups) if config.attention else nn.Identity()
    return nn.Sequential(
        Residual(channels, channels, config.groups), attention, Residual(channels, channels, config.groups)
    )


class Encoder(nn.Module):
    """Pixels (folded by ``patch``) to ``[B, z_channels, h, w]``."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        width, last = config.channels, len(config.multipliers) - 1
        self.conv_in = nn.Conv2d(3 * config.patch**2, width, 3, padding=1)
        self.conv_blocks = nn.ModuleList()
        for i, multiplier in enumerate(config.multipliers):
            out = config.channels * multiplier
            level = _Level(width, out, config.encoder_blocks, config.attention and i == last, config.groups)
            level.downsample = Downsample(out) if i != last else None
            self.conv_blocks.append(level)
            width = out
        self.mid = _middle(width, config)
        self.norm_out = norm(width, config.groups)
        self.conv_out = nn.Conv2d(width, config.z_channels, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.conv_in(x_BCHW)
        for level in self.conv_blocks:
            x_BCHW = level(x_BCHW)
        return self.conv_out(F.silu(self.norm_out(self.mid(x_BCHW))))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """``[B, z_channels, h, w]`` to pixels (folded by ``patch``); level 0 has the lowest resolution."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        width, last = config.channels * config.multipliers[-1], len(config.multipliers) - 1
        self.conv_in = nn.Conv2d(config.z_channels, width, 3, padding=1)
        self.mid = _middle(width, config)
        self.conv_blocks = nn.ModuleList()
        for i, multiplier in enumerate(reversed(config.multipliers)):
            out = config.channels * multiplier
            level = _Level(width, out, config.decoder_blocks, config.attention and i == 0, config.groups)
            level.upsample = Upsample(out) if i != last else None
            self.conv_blocks.append(level)
            width = out
        self.norm_out = norm(width, config.groups)
        self.conv_out = nn.Conv2d(width, 3 * config.patch**2, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.mid(self.conv_in(x_BCHW))
        for level in self.conv_blocks:
            x_BCHW = level(x_BCHW)
        return self.conv_out(F.silu(self.norm_out(x_BCHW)))  # type: ignore[no-any-return]


class VQGAN(Tokenizer):
    """Encoder, unit-length codebook, decoder. ``VQGAN(VQConfig())`` is LlamaGen's VQ-16, ready for its weights."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        self.config, self.factor, self.vocabulary = config, config.factor, config.codes
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantize = VectorQuantizer(config.codes, config.code_dim, config.blank)
        self.quant_conv = nn.Conv2d(config.z_channels, config.code_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.code_dim, config.z_channels, 1)

    def coding_state(self) -> dict[str, Tensor]:
        """Encoder and codebook; the decoder can be tuned without changing a code."""
        return {k: t for k, t in self.state_dict().items() if not k.startswith(("decoder.", "post_quant_conv."))}

    def latents(self, pixels: Tensor) -> Tensor:
        """``[B, C, h, w]`` before quantisation, not normalised."""
        folded = fold(pixels.to(self.dtype), self.config.patch)
        return self.quant_conv(self.encoder(folded.contiguous(memory_format=_FORMAT)))  # type: ignore[no-any-return]

    def render(self, quantized_BChw: Tensor) -> Tensor:
        """Pixels ``[B, 3, H, W]`` of normalised code vectors; not clamped."""
        z_BChw = self.post_quant_conv(quantized_BChw.contiguous(memory_format=_FORMAT))
        return unfold(self.decoder(z_BChw), self.config.patch)

    def blanks(self, pixels: Tensor) -> Tensor:
        """Cells ``[B, h, w]`` that are white all over (none without ``config.blank``)."""
        lowest = -F.max_pool2d(-pixels.amin(1, keepdim=True), self.factor)
        return (lowest[:, 0] > self.config.blank_level) & self.config.blank

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Codes ``[B, N]`` in raster order: the nearest code of every cell, code 0 for blank cells."""
        self._check_size(*pixels.shape[-2:])
        z_BChw = self.latents(pixels)
        codes = self.quantize.nearest(z_BChw.float().movedim(1, -1).flatten(0, 2)).view(len(pixels), -1)
        return codes.masked_fill(self.blanks(pixels).flatten(1), 0) if self.config.blank else codes

    @torch.no_grad()
    def decode(self, values: Tensor, grid: Grid) -> Tensor:
        """Pixels ``[B, 3, H, W]`` of codes ``[B, N]``; not clamped."""
        vectors = self.quantize.lookup(values.view(-1, grid.height, grid.width))
        return self.render(vectors.movedim(-1, 1))


def fold(pixels: Tensor, patch: int) -> Tensor:
    """Space to depth: ``[B, 3, H, W]`` to ``[B, 3 * patch^2, H / patch, W / patch]``."""
    return F.pixel_unshuffle(pixels, patch) if patch > 1 else pixels


def unfold(folded: Tensor, patch: int) -> Tensor:
    """Depth to space, the inverse of :func:`fold`."""
    return F.pixel_shuffle(folded, patch) if patch > 1 else folded
