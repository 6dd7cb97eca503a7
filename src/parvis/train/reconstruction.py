"""How well a tokenizer reconstructs: numbers and a sheet to look at.

Shapes: B images, N cells, V codes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from parvis.tokenizer.base import Tokenizer


@torch.no_grad()
def reconstruct(model: Tokenizer, pixels: Tensor, batch: int = 32) -> tuple[Tensor, Tensor]:
    """Reconstructions clamped to [-1, 1], and codes ``[B, N]`` or latents ``[B, N, C]``."""
    outs, values = [], []
    grid = model.grid(*pixels.shape[-2:])
    for part in torch.split(pixels, batch):
        found = model.encode(part)
        outs.append(model.decode(found, grid).float().clamp(-1, 1))
        values.append(found)
    return torch.cat(outs), torch.cat(values)


def measure(model: Tokenizer, pixels: Tensor) -> dict[str, float]:
    """PSNR in dB (of the mean error; mean of the images' own); for codes those in use, entropy in nats (and without
    code 0)."""
    out, values = reconstruct(model, pixels)
    error_B = ((out - pixels) / 2).square().flatten(1).mean(1)
    found = {
        "psnr": float(-10 * error_B.mean().clamp_min(1e-10).log10()),
        "psnr_mean": float((-10 * error_B.clamp_min(1e-10).log10()).mean()),
    }
    if model.channels is not None:
        return found
    counts_V = torch.bincount(values.flatten(), minlength=model.vocabulary).double()
    return found | {
        "codes": float((counts_V > 0).sum()),
        "entropy": _entropy(counts_V),
        "entropy_not_0": _entropy(counts_V[1:]),
        "share_0": float(counts_V[0] / counts_V.sum()),
    }


def _entropy(counts_V: Tensor) -> float:
    p = counts_V / counts_V.sum().clamp_min(1)
    return float(-(p * p.clamp_min(1e-30).log()).sum())


def sheet(model: Tokenizer, pixels: Tensor, columns: int = 8) -> Image.Image:
    """A picture of rows: originals, and under each its reconstruction."""
    rows = []
    for part, out in zip(
        torch.split(pixels, columns), torch.split(reconstruct(model, pixels)[0], columns), strict=True
    ):
        blank = (0, 0) * 3 + (0, columns - len(part))
        rows += [F.pad(x, blank, value=1.0).permute(2, 0, 3, 1).flatten(1, 2) for x in (part, out)]
    image = torch.cat(rows).add(1).mul(127.5).round().clamp(0, 255).byte()
    return Image.fromarray(image.cpu().numpy())
