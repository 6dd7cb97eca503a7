"""What a KL tokenizer is trained on: pictures rebuilt from noisy latents that are kept near the standard normal
(latent diffusion, arXiv 2112.10752, section 3.1; without its adversarial and perceptual terms).

Shapes: B images, C latent channels, H and W pixels, h and w tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvis.tokenizer.kl import KL
from parvis.train.autoencoder import difference_loss


def kl_loss(
    model: nn.Module, batch: dict[str, Tensor], generator: torch.Generator, weight: float = 1e-3
) -> tuple[Tensor, dict[str, Tensor]]:
    """Reconstruction (squared, 0.3 absolute, 0.4 of edges) plus ``weight`` times the divergence in nats per channel.

    Args:
        model: a :class:`KL`. batch: ``pixels`` float [B, 3, H, W] in [-1, 1].
    """
    assert isinstance(model, KL)
    pixels = batch["pixels"]
    mean_BChw, deviation_BChw = model.moments(pixels)
    normal = torch.randn(mean_BChw.shape, generator=generator, device=generator.device)
    out = model.render(mean_BChw + deviation_BChw * normal)
    variance = deviation_BChw.square()
    divergence = 0.5 * (mean_BChw.square() + variance - 1 - variance.log()).mean()
    terms = {
        "mse": F.mse_loss(out, pixels),
        "l1": F.l1_loss(out, pixels),
        "difference": difference_loss(out, pixels),
        "divergence": divergence,
    }
    return terms["mse"] + 0.3 * terms["l1"] + 0.4 * terms["difference"] + weight * divergence, terms


@torch.no_grad()
def scaled(model: KL, batches: Iterable[Tensor]) -> KL:
    """The same tokenizer whose ``scale`` brings latents drawn for these pictures to unit variance."""
    total = count = 0.0
    for pixels in batches:
        mean, deviation = model.moments(pixels)
        total += float((mean.square() + deviation.square()).double().sum())
        count += mean.numel()
    new = KL(replace(model.config, scale=round((count / total) ** 0.5, 4)))
    new.load_state_dict(model.state_dict())
    return new.eval()
