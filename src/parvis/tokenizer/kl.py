"""KL-16: the variational autoencoder of MAR and xAR (latent diffusion's KL-f16, arXiv 2112.10752), values are latents.

Module names are those of the public state dict, so that public weights load as they are.
Shapes: B images, C latent channels, H and W pixels, h and w tokens, N = h * w.
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

_FORMAT = torch.channels_last


@dataclass(frozen=True)
class KLConfig:
    """The defaults are MAR's KL-16.

    channels * multipliers[l] is the width of level l, finest first; each level but the last halves the size, and has
    ``blocks`` residual blocks in the encoder and one more in the decoder. ``scale`` brings latents to about unit
    variance.
    """

    channels: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    blocks: int = 2
    groups: int = 32
    z_channels: int = 16
    scale: float = 0.2325

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
        return int(2 ** (len(self.multipliers) - 1))


class _Level(nn.Module):
    """Residual blocks of one resolution, each with attention or none, then a change of size if any."""

    def __init__(self, channels: int, out: int, blocks: int, attention: bool, groups: int) -> None:
        super().__init__()
        self.block = nn.ModuleList(Residual(channels if i == 0 else out, out, groups) for i in range(blocks))
        self.attn = nn.ModuleList(Attention(out, groups) for _ in range(blocks if attention else 0))
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

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.block_1 = Residual(channels, channels, groups)
        self.attn_1 = Attention(channels, groups)
        self.block_2 = Residual(channels, channels, groups)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x_BCHW)))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Pixels to mean and log variance ``[B, 2 C, h, w]``; attention in the last level and the middle."""

    def __init__(self, config: KLConfig) -> None:
        super().__init__()
        width, last = config.channels, len(config.multipliers) - 1
        self.conv_in = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.ModuleList()
        for i, multiplier in enumerate(config.multipliers):
            out = config.channels * multiplier
            level = _Level(width, out, config.blocks, i == last, config.groups)
            level.downsample = Downsample(out) if i != last else None
            self.down.append(level)
            width = out
        self.mid = _Middle(width, config.groups)
        self.norm_out = norm(width, config.groups)
        self.conv_out = nn.Conv2d(width, 2 * config.z_channels, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.conv_in(x_BCHW)
        for level in self.down:
            x_BCHW = level(x_BCHW)
        return self.conv_out(F.silu(self.norm_out(self.mid(x_BCHW))))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """``[B, C, h, w]`` to pixels. Level 0 of ``up`` is the finest, so it runs last; no level has attention."""

    def __init__(self, config: KLConfig) -> None:
        super().__init__()
        width = config.channels * config.multipliers[-1]
        self.conv_in = nn.Conv2d(config.z_channels, width, 3, padding=1)
        self.mid = _Middle(width, config.groups)
        levels = []
        for i in reversed(range(len(config.multipliers))):
            out = config.channels * config.multipliers[i]
            level = _Level(width, out, config.blocks + 1, False, config.groups)
            level.upsample = Upsample(out) if i != 0 else None
            levels.append(level)
            width = out
        self.up = nn.ModuleList(reversed(levels))
        self.norm_out = norm(width, config.groups)
        self.conv_out = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.mid(self.conv_in(x_BCHW))
        for i in reversed(range(len(self.up))):
            x_BCHW = self.up[i](x_BCHW)
        return self.conv_out(F.silu(self.norm_out(x_BCHW)))  # type: ignore[no-any-return]


class KL(Tokenizer):
    """Encoder, Gaussian latents, decoder. ``KL(KLConfig())`` is KL-16, ready for its weights."""

    vocabulary = 0

    def __init__(self, config: KLConfig) -> None:
        super().__init__()
        self.config, self.factor, self.channels = config, config.factor, config.z_channels
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant_conv = nn.Conv2d(2 * config.z_channels, 2 * config.z_channels, 1)
        self.post_quant_conv = nn.Conv2d(config.z_channels, config.z_channels, 1)

    def coding_state(self) -> dict[str, Tensor]:
        """Encoder alone; the decoder can be tuned without changing a latent."""
        return {k: t for k, t in self.state_dict().items() if not k.startswith(("decoder.", "post_quant_conv."))}

    def moments(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latents, ``[B, C, h, w]`` each, not scaled; log variance in -30..20."""
        pixels = pixels.to(self.quant_conv.weight.dtype).contiguous(memory_format=_FORMAT)
        mean, log_variance = self.quant_conv(self.encoder(pixels)).float().chunk(2, 1)
        return mean, (0.5 * log_variance.clamp(-30.0, 20.0)).exp()

    @torch.no_grad()
    def encode(self, pixels: Tensor, normal: Tensor | None = None) -> Tensor:
        """Latents ``[B, N, C]`` in raster order, scaled: the means, or draws by the standard numbers ``normal``.

        MAR and xAR train on draws, a fresh one every time an image is seen.

        Args:
            normal: standard normal numbers ``[B, N, C]``; ``None`` for the means.
        """
        self._check_size(*pixels.shape[-2:])
        mean, deviation = (part.flatten(2).transpose(1, 2) for part in self.moments(pixels))
        return self.config.scale * (mean if normal is None else mean + deviation * normal)

    @torch.no_grad()
    def decode(self, values: Tensor, grid: Grid) -> Tensor:
        """Pixels ``[B, 3, H, W]`` of scaled latents ``[B, N, C]``; not clamped."""
        latents = (values / self.config.scale).to(self.post_quant_conv.weight.dtype)
        z_BChw = latents.transpose(1, 2).reshape(-1, self.config.z_channels, grid.height, grid.width)
        return self.decoder(self.post_quant_conv(z_BChw.contiguous(memory_format=_FORMAT)))  # type: ignore[no-any-return]
