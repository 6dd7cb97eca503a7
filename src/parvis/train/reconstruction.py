"""How well a tokenizer reconstructs: numbers and a sheet to look at.

Shapes: B images, N cells, V codes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from parvis.tokenizer.vqgan import VQGAN


@torch.no_grad()
def reconstruct(model: VQGAN, pixels: Tensor, batch: int = 32) -> tuple[Tensor, Tensor]:
    """Reconstructions clamped to [-1, 1], and codes ``[B, N]``."""
    outs, codes = [], []
    for part in torch.split(pixels, batch):
        found = model.encode(part)
        h, w = (side // model.factor for side in part.shape[-2:])
        vectors = model.quantize.lookup(found.view(-1, h, w))
        outs.append(model.render(vectors.movedim(-1, 1)).clamp(-1, 1))
        codes.append(found)
    return torch.cat(outs), torch.cat(codes)


def measure(model: VQGAN, pixels: Tensor) -> dict[str, float]:
    """PSNR in dB (of the mean error; mean of the images' own), codes in use, entropy in nats (and without code 0)."""
    out, codes = reconstruct(model, pixels)
    error_B = ((out - pixels) / 2).square().flatten(1).mean(1)
    counts_V = torch.bincount(codes.flatten(), minlength=model.vocabulary).double()
    return {
        "psnr": float(-10 * error_B.mean().log10()),
        "psnr_mean": float((-10 * error_B.clamp_min(1e-10).log10()).mean()),
        "codes": float((counts_V > 0).sum()),
        "entropy": _entropy(counts_V),
        "entropy_not_0": _entropy(counts_V[1:]),
        "share_0": float(counts_V[0] / counts_V.sum()),
    }


def _entropy(counts_V: Tensor) -> float:
    p = counts_V / counts_V.sum().clamp_min(1)
    return float(-(p * p.clamp_min(1e-30).log()).sum())


def sheet(model: VQGAN, pixels: Tensor, columns: int = 8) -> Image.Image:
    """A picture of rows: originals, and under each its reconstruction."""
    rows = []
    for part, out in zip(
        torch.split(pixels, columns), torch.split(reconstruct(model, pixels)[0], columns), strict=True
    ):
        blank = (0, 0) * 3 + (0, columns - len(part))
        rows += [F.pad(x, blank, value=1.0).permute(2, 0, 3, 1).flatten(1, 2) for x in (part, out)]
    image = torch.cat(rows).add(1).mul(127.5).round().clamp(0, 255).byte()
    return Image.fromarray(image.cpu().numpy())
