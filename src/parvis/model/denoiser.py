"""The networks of diffusion: the embedding of time, and the small network that takes noise out of one latent.

Legend: D width of the condition, W width of the network, C channels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvis.diffusion import Schedule


class TimeEmbedding(nn.Sequential):
    """Cosines and sines of the time at 128 frequencies, then linear, SiLU, linear."""

    def __init__(self, width: int, frequencies: int = 128) -> None:
        super().__init__(nn.Linear(2 * frequencies, width), nn.SiLU(), nn.Linear(width, width))
        self.frequencies = frequencies

    def forward(self, time: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """[...] -> [..., W] in ``dtype``, the model's; angles in float32 whatever it is."""
        steps = torch.arange(self.frequencies, dtype=torch.float32, device=time.device)
        angles = time[..., None].float() * torch.exp(-math.log(10000) * steps / self.frequencies)
        y: Tensor = torch.cat([angles.cos(), angles.sin()], dim=-1).to(dtype)
        for layer in self:
            y = layer(y)
        return y


class _Block(nn.Module):
    """x += gate * mlp(norm(x) (1 + scale) + shift); shift, scale and gate come from the condition and the time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.adapt = nn.Sequential(nn.SiLU(), nn.Linear(width, 3 * width))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        shift, scale, gate = self.adapt(y).chunk(3, dim=-1)
        z: Tensor = x + gate * self.mlp(self.norm(x) * (1 + scale) + shift)
        return z


class DiffusionHead(nn.Module):
    """MAR's diffusion head (arXiv 2406.11838, section 4): a residual MLP per token, with adaptive norms.

    Args:
        channels: C. condition: D. width: W. depth: number of blocks. schedule: the steps taken when drawing.
    """

    def __init__(self, channels: int, condition: int, width: int, depth: int, schedule: Schedule) -> None:
        super().__init__()
        self.channels, self.width, self.schedule = channels, width, schedule
        self.time = TimeEmbedding(width)
        self.cond = nn.Linear(condition, width)
        self.input = nn.Linear(channels, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.adapt = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.out = nn.Linear(width, 2 * channels)

    def prepare(self, condition: Tensor) -> Tensor:
        """[..., D] -> [..., W], the same for every step."""
        y: Tensor = self.cond(condition)
        return y

    def forward(self, x: Tensor, timestep: Tensor, prepared: Tensor) -> tuple[Tensor, Tensor]:
        """Noise in ``x`` [..., C] and where the log variance lies between its bounds, float32 [..., C] each."""
        y = self.time(timestep, prepared.dtype) + prepared
        h = self.input(x.to(prepared.dtype))
        for block in self.blocks:
            h = block(h, y)
        shift, scale = self.adapt(y).chunk(2, dim=-1)
        eps, share = self.out(F.layer_norm(h, (self.width,), eps=1e-6) * (1 + scale) + shift).float().chunk(2, dim=-1)
        return eps, (share + 1) / 2
