"""Parts of a tokenizer's training: where it starts and two of its loss terms.

Shapes: B images, H and W pixels, h and w cells, M vectors, Z latent channels, C code channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvis.tokenizer.conv import Residual
from parvis.tokenizer.vqgan import VQGAN, fold


def difference_loss(a_BCHW: Tensor, b_BCHW: Tensor, scales: int = 3) -> Tensor:
    """L1 between the finite differences of both pictures, at full, half, quarter ... size: edges in the right place."""
    error, total = a_BCHW - b_BCHW, a_BCHW.new_zeros(())
    for _ in range(scales):
        total = total + error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        error = F.avg_pool2d(error, 2)
    return total / scales


def isotropy_loss(z_MC: Tensor) -> Tensor:
    """How far the second moment of unit vectors is from that of the whole sphere: keeps all dimensions in use."""
    moment_CC = z_MC.T @ z_MC / max(1, len(z_MC))
    return (moment_CC - torch.eye(z_MC.shape[1], device=z_MC.device) / z_MC.shape[1]).square().sum()


@torch.no_grad()
def reset(model: VQGAN, seed: int) -> None:
    """Fresh weights under which the network starts as a plain linear map: residual branches give zero, no biases.

    Against PyTorch's default it halves the steps to the same loss at first; after some 250 steps no gain is left.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            module.weight.copy_(torch.randn(module.weight.shape, generator=generator) / module.weight[0].numel() ** 0.5)
            module.bias.zero_()
    for module in model.modules():
        if isinstance(module, Residual):
            module.conv2.weight.zero_()


@torch.no_grad()
def spread(model: VQGAN, batches: Sequence[Tensor], seed: int) -> None:
    """Start from latents that fill the sphere: whiten them by ``quant_conv``, take the first codes from among them.

    A fresh encoder sends all cells to nearly the same direction; the codebook then spends its first epochs on one or
    two dimensions (seen as pictures without colour). :func:`isotropy_loss` keeps them spread.
    """
    features = []
    for pixels in batches:
        h_BhwZ = model.encoder(fold(pixels, model.config.patch)).movedim(1, -1)
        features.append(h_BhwZ[~model.blanks(pixels)])
    h_MZ = torch.cat(features).double()
    mean_Z = h_MZ.mean(0)
    values, vectors = torch.linalg.eigh((h_MZ - mean_Z).T @ (h_MZ - mean_Z) / len(h_MZ))
    top = vectors[:, -model.config.code_dim :] / values[-model.config.code_dim :].clamp_min(1e-12).sqrt()
    model.quant_conv.weight.copy_(top.T[:, :, None, None])
    assert model.quant_conv.bias is not None
    model.quant_conv.bias.copy_(-(mean_Z @ top))
    z_MC = F.normalize(((h_MZ - mean_Z) @ top).float(), dim=-1)
    generator = torch.Generator(z_MC.device).manual_seed(seed)
    count = min(len(z_MC), model.config.codes - int(model.config.blank))
    model.quantize.embedding.weight[-count:] = z_MC[torch.randperm(len(z_MC), generator=generator)[:count]]
