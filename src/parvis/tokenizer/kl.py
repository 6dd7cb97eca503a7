"""KL-16: the variational autoencoder of MAR and xAR (latent diffusion's KL-f16, arXiv 2112.10752), values are latents.

Module names are those of the public state dict, so that public weights load as they are.
Shapes: B images, C latent channels, H and W pixels, h and w tokens, N = h * w.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from parvis.errors import UsageError
from parvis.grid import Grid
from parvis.tokenizer.autoencoder import Decoder, Encoder, Shape
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.conv import Attention

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


class KL(Tokenizer):
    """Encoder, Gaussian latents, decoder. ``KL(KLConfig())`` is KL-16, ready for its weights."""

    vocabulary = 0

    def __init__(self, config: KLConfig) -> None:
        super().__init__()
        self.config, self.factor, self.channels = config, config.factor, config.z_channels
        shape = Shape(config.channels, config.multipliers, config.blocks, config.groups, Attention)
        self.encoder = Encoder(shape, 2 * config.z_channels)  # mean and log variance
        self.decoder = Decoder(shape, config.z_channels, attends=False)
        self.quant_conv = nn.Conv2d(2 * config.z_channels, 2 * config.z_channels, 1)
        self.post_quant_conv = nn.Conv2d(config.z_channels, config.z_channels, 1)

    def coding_state(self) -> dict[str, Tensor]:
        """Encoder alone; the decoder can be tuned without changing a latent."""
        return {k: t for k, t in self.state_dict().items() if not k.startswith(("decoder.", "post_quant_conv."))}

    def moments(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latents, ``[B, C, h, w]`` each, not scaled; log variance in -30..20."""
        pixels = pixels.to(self.dtype).contiguous(memory_format=_FORMAT)
        mean, log_variance = self.quant_conv(self.encoder(pixels)).float().chunk(2, 1)
        return mean, (0.5 * log_variance.clamp(-30.0, 20.0)).exp()

    @torch.no_grad()
    def stored(self, pixels: Tensor) -> dict[str, Tensor]:
        """``mean`` and ``deviation`` of the scaled latents, ``[B, N, C]`` each: ``mean + deviation * normal`` is what
        :meth:`encode` draws."""
        self._check_size(*pixels.shape[-2:])
        mean, deviation = (self.config.scale * part.flatten(2).transpose(1, 2) for part in self.moments(pixels))
        return {"mean": mean, "deviation": deviation}

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
        z_BChw = (values / self.config.scale).transpose(1, 2).reshape(len(values), -1, grid.height, grid.width)
        return self.render(z_BChw)

    def render(self, z_BChw: Tensor) -> Tensor:
        """Pixels of latents that are not scaled; not clamped."""
        z_BChw = z_BChw.to(self.dtype).contiguous(memory_format=_FORMAT)
        return self.decoder(self.post_quant_conv(z_BChw))  # type: ignore[no-any-return]
