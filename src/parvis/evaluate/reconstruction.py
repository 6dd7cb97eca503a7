"""What a tokenizer loses: PSNR, SSIM, a perceptual distance, edges; and how it uses its codes.

Legend: B pictures, C channels, N tokens, V codes. Pixels are float [B, 3, H, W] in [-1, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from parvis.errors import UsageError
from parvis.evaluate.features import FeatureNet

WINDOW, SIGMA = 11, 1.5
GREY = (0.299, 0.587, 0.114)


def psnr(a_BCHW: Tensor, b_BCHW: Tensor) -> Tensor:
    """Peak signal-to-noise ratio [B] in dB, the peak being the whole range; 99 where nothing is lost."""
    error = ((a_BCHW - b_BCHW).double() / 2).square().mean((1, 2, 3))
    return (-10 * error.clamp_min(1e-30).log10()).clamp_max(99)


def ssim(a_BCHW: Tensor, b_BCHW: Tensor) -> Tensor:
    """Structural similarity [B] of the grey pictures (Wang et al. 2004, section III-B): 11 x 11 Gaussian windows of
    standard deviation 1.5, K1 = 0.01, K2 = 0.03, windows that lie inside alone.

    :raises UsageError: pictures smaller than a window
    """
    if min(a_BCHW.shape[2:]) < WINDOW:
        raise UsageError(f"SSIM needs pictures of {WINDOW} pixels or more; got {list(a_BCHW.shape[2:])}")
    a, b = grey(a_BCHW), grey(b_BCHW)
    at = torch.arange(WINDOW, dtype=torch.float64, device=a.device) - WINDOW // 2
    line = (-at.square() / (2 * SIGMA**2)).exp()
    window = torch.outer(line, line)[None, None] / line.sum() ** 2

    def mean(x: Tensor) -> Tensor:
        return F.conv2d(x, window)

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    found = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))
    return found.mean((1, 2, 3))


def perceptual(a_BCHW: Tensor, b_BCHW: Tensor, net: FeatureNet) -> Tensor:
    """Distance [B] of the net's feature maps: each position scaled to length 1, squared differences, the mean over
    positions and the sum over layers.

    This is the form of LPIPS (Zhang et al. 2018, equation 1) with all weights 1 and another net: it is *not* LPIPS and
    compares under one net alone.

    :raises UsageError: a net that shows no layers
    """
    if net.layers is None:
        raise UsageError(f"{net.name} shows no layers, so it has no perceptual distance; take efficientnet-lite0")
    found = a_BCHW.new_zeros(len(a_BCHW), dtype=torch.float64)
    with torch.inference_mode():
        for a, b in zip(net.layers(a_BCHW), net.layers(b_BCHW), strict=True):
            apart = (F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(1)
            found = found + apart.mean((1, 2)).double().cpu()
    return found


def edges(a_BCHW: Tensor, b_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Of the sizes of the grey gradients: their correlation [B], 1 where all edges are in place; and how much of them
    is left [B], below 1 where detail is smeared, above where there is more than there was. NaN for a flat picture."""
    ga, gb = (_gradient(x) for x in (a_BCHW, b_BCHW))
    da, db = (g - g.mean(1, keepdim=True) for g in (ga, gb))
    correlation = (da * db).sum(1) / (da.square().sum(1) * db.square().sum(1)).sqrt()
    return correlation, gb.sum(1) / ga.sum(1)


def grey(pixels: Tensor) -> Tensor:
    """float64 [B, 1, H, W] in 0 to 1: luma."""
    weights = torch.tensor(GREY, dtype=torch.float64, device=pixels.device)
    return (((pixels.double() + 1) / 2) * weights[:, None, None]).sum(1, keepdim=True)


def _gradient(pixels: Tensor) -> Tensor:
    g = grey(pixels)
    across, down = g[:, :, :-1, 1:] - g[:, :, :-1, :-1], g[:, :, 1:, :-1] - g[:, :, :-1, :-1]
    return (across.square() + down.square()).sqrt().flatten(1)


@dataclass(frozen=True)
class Codes:
    """How ``count`` tokens use the ``vocabulary``.

    Attributes:
        used: share of the codes that occur. entropy: bits a token, at most log2 of the vocabulary. perplexity: as many
            codes, used evenly, would have that entropy.
    """

    count: int
    vocabulary: int
    used: float
    entropy: float

    @property
    def perplexity(self) -> float:
        return math.pow(2, self.entropy)


def code_use(counts_V: Tensor) -> Codes:
    """Of how often each code occurs. :raises UsageError: no tokens"""
    total = int(counts_V.sum())
    if not total:
        raise UsageError("no tokens, so codes have no use to be measured")
    share = counts_V.double() / total
    bits = float(-torch.xlogy(share, share).sum()) / math.log(2)
    return Codes(total, len(counts_V), float((counts_V > 0).double().mean()), abs(bits))
