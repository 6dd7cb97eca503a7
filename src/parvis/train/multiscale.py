"""What a multi-scale tokenizer is trained on: VAR's residual quantisation (arXiv 2404.02905, section 3.2, algorithms 1
and 2; without its adversarial and perceptual terms).

Shapes: B images, N positions of all scales, n of one, C latent channels, M vectors, V codes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvis.tokenizer.multiscale import MultiScaleVQ, shrunk
from parvis.train.autoencoder import difference_loss


class MultiScaleTraining(nn.Module):
    """A tokenizer and how often its codes were used lately; what is trained and kept in checkpoints.

    Codes that are hardly used are moved onto residuals of the batch, until ``revive_until`` steps were made.
    """

    uses_V: Tensor
    steps: Tensor

    def __init__(self, tokenizer: MultiScaleVQ, revive_until: int, revive_every: int = 10, dead: float = 0.05) -> None:
        super().__init__()
        self.tokenizer, self.dead = tokenizer, dead
        self.revive_every, self.revive_until = revive_every, revive_until
        self.register_buffer("uses_V", torch.ones(tokenizer.vocabulary))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def quantized(self, f_BChw: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """f_hat [B, C, h, w], through which gradients pass to f, and the quantisation loss: mean over the scales of
        ``|sg(f) - f_hat_k|^2 + |f - sg(f_hat_k)|^2 / 4``."""
        model = self.tokenizer
        grid = model.grid(*(side * model.factor for side in f_BChw.shape[-2:]))
        with torch.no_grad():
            codes_BN = model.quantize.codes(f_BChw.float(), grid)
        sums = list(model.quantize.sums(codes_BN, grid, len(grid.scales)))
        parts = [F.mse_loss(s, f_BChw.detach()) + 0.25 * F.mse_loss(s.detach(), f_BChw) for s in sums]
        if self.training:
            self._revive(f_BChw.detach(), [s.detach() for s in sums], codes_BN, generator)
        return f_BChw + (sums[-1] - f_BChw).detach(), torch.stack(parts).mean()

    @torch.no_grad()
    def _revive(self, f_BChw: Tensor, sums: list[Tensor], codes_BN: Tensor, generator: torch.Generator) -> None:
        counts_V = torch.bincount(codes_BN.flatten(), minlength=len(self.uses_V)).float()
        self.uses_V.lerp_(counts_V * (len(counts_V) / counts_V.sum()), 0.02)
        self.steps += 1
        if int(self.steps) % self.revive_every or int(self.steps) > self.revive_until:
            return
        k = int(torch.randint(len(sums), (), generator=generator, device=generator.device))
        grid = self.tokenizer.grid(*(side * self.tokenizer.factor for side in f_BChw.shape[-2:]))
        left = f_BChw if k == 0 else f_BChw - sums[k - 1]
        z_MC = shrunk(left, *grid.scales[k][1:]).movedim(1, -1).flatten(0, 2)
        dead = (self.uses_V < self.dead).nonzero()[:, 0][: max(1, len(z_MC) // 4)]
        if len(dead):
            chosen = torch.randperm(len(z_MC), generator=generator, device=generator.device)[: len(dead)]
            dead = dead[: len(chosen)]
            self.tokenizer.quantize.embedding.weight[dead] = z_MC[chosen]
            self.uses_V[dead] = 1.0


def multiscale_loss(
    model: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Reconstruction (squared, 0.3 absolute, 0.4 of edges) plus the quantisation loss.

    Args:
        model: a :class:`MultiScaleTraining`. batch: ``pixels`` float [B, 3, H, W] in [-1, 1].
    """
    assert isinstance(model, MultiScaleTraining)
    pixels, tokenizer = batch["pixels"], model.tokenizer
    f_hat, quantisation = model.quantized(tokenizer.latents(pixels).float(), generator)
    out = tokenizer.render(f_hat)
    terms = {
        "mse": F.mse_loss(out, pixels),
        "l1": F.l1_loss(out, pixels),
        "difference": difference_loss(out, pixels),
        "quantisation": quantisation,
        "used": (model.uses_V >= model.dead).float().mean(),
    }
    return terms["mse"] + 0.3 * terms["l1"] + 0.4 * terms["difference"] + quantisation, terms


@torch.no_grad()
def first_codes(model: MultiScaleVQ, pixels: Tensor, generator: torch.Generator) -> None:
    """Start the codebook from latents of these pictures, a random one per code."""
    z_MC = model.latents(pixels).float().movedim(1, -1).flatten(0, 2)
    chosen = torch.randint(len(z_MC), (model.vocabulary,), generator=generator)
    spread = z_MC.std() * 0.1 * torch.randn(len(chosen), z_MC.shape[1], generator=generator)
    model.quantize.embedding.weight.copy_(z_MC[chosen] + spread)
