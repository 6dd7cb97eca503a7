"""VAR's multi-scale residual VQVAE (arXiv 2404.02905, algorithms 1 and 2), under the names of its public weights.

A picture is the sum of maps, one per scale: the codes of scale k, enlarged to the latent's size and smoothed by a
convolution phi, are added to the sum so far (f_hat). What scale k + 1 sees is f_hat shrunk to its size: it is computed
again from the canvas whenever it is asked for, so nothing has to be rolled back when codes change.

Shapes: B images, N positions over all scales, n positions of one scale, C latent channels, H and W pixels, h and w
latent cells of the last scale, S scales.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvis.canvas import Canvas
from parvis.errors import UsageError
from parvis.grid import Grid
from parvis.tokenizer.autoencoder import Decoder, Encoder, Shape
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.conv import FusedAttention

_ROWS = 4096  # vectors compared with the codebook at a time


@dataclass(frozen=True)
class MultiScaleConfig:
    """The defaults are VAR's tokenizer at 256 x 256. ``sides``: token sides of the scales, coarse to fine."""

    sides: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
    channels: int = 160
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    blocks: int = 2
    groups: int = 32
    z_channels: int = 32
    codes: int = 4096
    shared: int = 4
    smoothing: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "sides", tuple(self.sides))
        object.__setattr__(self, "multipliers", tuple(self.multipliers))
        if not self.sides or list(self.sides) != sorted(set(self.sides)):
            raise UsageError(f"sides {self.sides} must grow from coarse to fine, for example (1, 2, 3, 4)")

    @property
    def factor(self) -> int:
        """Pixels along the side of one token of the last scale."""
        return int(2 ** (len(self.multipliers) - 1))


class MultiScaleVQ(Tokenizer):
    """Encoder, residual quantiser over scales, decoder. Pictures are square, ``sides[-1] * factor`` pixels wide.

    The scales of one call follow its grid, so other lists of sides work as well (``encode(pixels, grid)``).
    """

    def __init__(self, config: MultiScaleConfig) -> None:
        super().__init__()
        self.config, self.factor, self.vocabulary = config, config.factor, config.codes
        shape = Shape(config.channels, config.multipliers, config.blocks, config.groups, FusedAttention)
        self.encoder = Encoder(shape, config.z_channels)
        self.decoder = Decoder(shape, config.z_channels, attends=True)
        self.quantize = ResidualQuantizer(config)
        self.quant_conv = nn.Conv2d(config.z_channels, config.z_channels, 3, padding=1)
        self.post_quant_conv = nn.Conv2d(config.z_channels, config.z_channels, 3, padding=1)

    def grid(self, height: int, width: int) -> Grid:
        """The pyramid of ``config.sides``; any other size of picture is an error."""
        side = self.config.sides[-1] * self.factor
        if (height, width) != (side, side):
            raise UsageError(f"this tokenizer's scales are for pictures of {side}x{side} pixels; got {height}x{width}")
        return Grid.pyramid(self.config.sides)

    def latents(self, pixels: Tensor) -> Tensor:
        """``[B, C, h, w]`` before quantisation."""
        pixels = pixels.to(self.dtype).contiguous(memory_format=torch.channels_last)
        return self.quant_conv(self.encoder(pixels))  # type: ignore[no-any-return]

    @torch.no_grad()
    def encode(self, pixels: Tensor, grid: Grid | None = None) -> Tensor:
        """Codes ``[B, N]`` of all scales, those of ``config.sides`` unless a ``grid`` is given."""
        grid = self.grid(*pixels.shape[-2:]) if grid is None else grid
        return self.quantize.codes(self.latents(pixels).float(), grid)

    @torch.no_grad()
    def decode(self, values: Tensor, grid: Grid) -> Tensor:
        """Pixels ``[B, 3, H, W]`` of codes ``[B, N]``; not clamped."""
        *_, f_hat = self.quantize.sums(values, grid, len(grid.scales))
        return self.render(f_hat)

    @torch.no_grad()
    def show(self, canvas: Canvas, grid: Grid) -> Tensor:
        """Pixels of the scales that are whole so far: the picture gets sharper from scale to scale."""
        *_, f_hat = self.quantize.sums(canvas.values, grid, len(grid.scales), canvas.known)
        return self.render(f_hat)

    def render(self, f_hat_BChw: Tensor) -> Tensor:
        """Pixels of a sum of scales; not clamped."""
        f_hat_BChw = f_hat_BChw.to(self.dtype).contiguous(memory_format=torch.channels_last)
        return self.decoder(self.post_quant_conv(f_hat_BChw))  # type: ignore[no-any-return]

    @torch.no_grad()
    def view(self, canvas: Canvas, scale: int) -> Tensor:
        """f_hat of the scales before ``scale``, shrunk to it: ``[B, n, C]`` float32. Zero for scale 0."""
        return self.look(canvas.values, self._grid_of(canvas), scale)

    def look(self, values: Tensor, grid: Grid, scale: int) -> Tensor:
        """The same for codes ``[B, N]`` (only those before ``scale`` are read): the teacher's input in training."""
        _, h, w = grid.scales[scale]
        if scale == 0:
            return torch.zeros(len(values), h * w, self.config.z_channels, device=values.device)
        *_, f_hat = self.quantize.sums(values, grid, scale)
        return shrunk(f_hat, h, w).flatten(2).transpose(1, 2)

    def teacher_input(self, values: Tensor, grid: Grid) -> Tensor:
        """``look`` of every scale but the first, in one sweep: ``[B, N - n_0, C]``."""
        sums = self.quantize.sums(values, grid, len(grid.scales) - 1)
        sizes = grid.scales[1:]
        return torch.cat(
            [shrunk(f, h, w).flatten(2).transpose(1, 2) for f, (_, h, w) in zip(sums, sizes, strict=True)], 1
        )

    def _grid_of(self, canvas: Canvas) -> Grid:
        grid = Grid.pyramid(self.config.sides)
        if canvas.tokens != grid.tokens:
            raise UsageError(
                f"the canvas has {canvas.tokens} positions; the scales {self.config.sides} have {grid.tokens}"
            )
        return grid


class ResidualQuantizer(nn.Module):
    """Nearest codes (Euclidean) of the residual at every scale, and the partially shared phi.

    All is computed in float32, also where the weights are stored in bfloat16: the sums lose too much otherwise.
    """

    def __init__(self, config: MultiScaleConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.codes, config.z_channels)
        self.quant_resi = _Phi(config)

    def codes(self, f_BChw: Tensor, grid: Grid) -> Tensor:
        """Codes ``[B, N]`` of a latent."""
        count, residual, found = len(grid.scales), f_BChw, []
        for k, (_, h, w) in enumerate(grid.scales):
            z_BnC = shrunk(residual, h, w).flatten(2).transpose(1, 2)
            codes_Bn = self._nearest(z_BnC.flatten(0, 1)).view(z_BnC.shape[:2])
            residual = residual - self._enlarged(codes_Bn, grid, k, count)
            found.append(codes_Bn)
        return torch.cat(found, 1)

    def sums(self, codes_BN: Tensor, grid: Grid, scales: int, known_BN: Tensor | None = None) -> Iterator[Tensor]:
        """f_hat ``[B, C, h, w]`` after each of the first ``scales`` scales. With ``known`` (bool) a scale that is not
        whole adds nothing."""
        f_hat: Tensor | None = None
        for k in range(scales):
            here = slice(grid.offsets[k], grid.offsets[k + 1])
            part = self._enlarged(codes_BN[:, here], grid, k, len(grid.scales))
            if known_BN is not None:
                part = part * known_BN[:, here].all(1)[:, None, None, None]
            f_hat = part if f_hat is None else f_hat + part
            yield f_hat

    def _enlarged(self, codes_Bn: Tensor, grid: Grid, k: int, count: int) -> Tensor:
        _, h, w = grid.scales[k]
        map_BChw = self.embedding(codes_Bn).float().transpose(1, 2).unflatten(2, (h, w))
        size = (grid.height, grid.width)
        if (h, w) != size:
            map_BChw = F.interpolate(map_BChw, size=size, mode="bicubic")
        return self.quant_resi(map_BChw, k, count)  # type: ignore[no-any-return]

    def _nearest(self, z_MC: Tensor) -> Tensor:
        codes_VC = self.embedding.weight.float()
        norms_V = codes_VC.square().sum(1)
        return torch.cat([(norms_V - 2 * rows @ codes_VC.T).argmin(1) for rows in torch.split(z_MC, _ROWS)])


class _Phi(nn.Module):
    """phi_k(h) = (1 - r) h + r conv(h): K convolutions shared out over the scales, coarse to fine."""

    def __init__(self, config: MultiScaleConfig) -> None:
        super().__init__()
        channels = config.z_channels
        self.smoothing = config.smoothing
        self.qresi_ls = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(config.shared))

    def forward(self, h_BChw: Tensor, k: int, count: int) -> Tensor:
        phi = self.qresi_ls[phi_index(k, count, len(self.qresi_ls))]
        convolved = phi(h_BChw) if phi.bias.dtype == h_BChw.dtype else self._in_float(phi, h_BChw)
        return h_BChw * (1 - self.smoothing) + convolved * self.smoothing

    def _in_float(self, phi: nn.Module, h_BChw: Tensor) -> Tensor:
        """Sums of scales are float32 whatever the weights are."""
        assert isinstance(phi, nn.Conv2d) and phi.bias is not None
        return F.conv2d(h_BChw, phi.weight.float(), phi.bias.float(), padding=1)


def phi_index(k: int, count: int, shared: int) -> int:
    """Which of ``shared`` convolutions serves scale ``k`` of ``count``: the nearest tick to k / (count - 1).

    The ticks are evenly spaced, with margin 1 / (3 K) for K = 4 and 1 / (2 K) otherwise, as in the released code. Some
    scales lie halfway between two ticks (2 and 7 of 10): the rounding of float64 ``linspace`` decides, as there.
    """
    margin = 1 / 3 / shared if shared == 4 else 1 / 2 / shared
    ticks = np.linspace(margin, 1 - margin, shared)
    return int(np.argmin(np.abs(ticks - (k / (count - 1) if count > 1 else 0.0))))


def shrunk(map_BChw: Tensor, height: int, width: int) -> Tensor:
    """A latent map shrunk to a scale by averaging areas (VAR)."""
    if map_BChw.shape[-2:] == (height, width):
        return map_BChw
    return F.interpolate(map_BChw, size=(height, width), mode="area")
