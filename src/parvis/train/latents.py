"""What training minimises where values are latents: the diffusion loss of MAR and the flow matching of xAR.

Legend: B images, N positions, G groups, M asked tokens in a row, D width of a condition, C channels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from parvis.canvas import Canvas
from parvis.diffusion import TRAINED, Schedule, step
from parvis.model.context import Context, Given
from parvis.model.denoiser import DiffusionHead
from parvis.model.denoising import DenoisingTransformer
from parvis.model.masked import MaskedAutoencoder
from parvis.model.visibility import group_causal
from parvis.order import Order

__all__ = ["diffusion_loss", "logit_normal", "mask_count", "masked_diffusion", "noisy_context", "velocities"]


def mask_count(tokens: int, generator: torch.Generator, least: float = 0.7, deviation: float = 0.25) -> int:
    """How many tokens a batch masks: ceil(N r), r normal around 1, cut to ``least``..1 (MAR, section 4)."""
    low = 0.5 * math.erfc((1 - least) / deviation / math.sqrt(2))
    share = low + (0.5 - low) * torch.rand((), dtype=torch.float64, generator=generator, device=generator.device)
    rate = 1 + deviation * math.sqrt(2) * torch.erfinv(2 * share - 1)
    return max(1, min(tokens, math.ceil(tokens * float(rate))))


def masked_diffusion(
    model: MaskedAutoencoder,
    values_BNC: Tensor,
    given: Given,
    order: Order,
    generator: torch.Generator,
    dropped_B: Tensor | None = None,
    repeats: int = 4,
) -> Tensor:
    """Mean diffusion loss of all that the order asks, given what it has given (MAR, equation 1 and section 4).

    Args:
        order: the given positions are known, all others are one group: ``Order(permutations, (masked,), known)``.
        dropped_B: True where the null condition stands in (training for guidance).
        repeats: how many times and noises every token is shown to the head with.
    """
    B, masked = len(values_BNC), sum(order.sizes)
    order_BN = order.batch(B)
    sizes = (*order.before, masked)
    rows = model.plan(sizes).step(len(sizes) - 1, model.rule, values_BNC.device)
    context = _context(model, given, dropped_B)
    hidden = model.decode(rows, order_BN, model.encode(rows, order_BN, values_BNC, context), context)
    targets = Canvas(values_BNC, order_BN).read(order_BN[:, order.given :])
    condition_MD, target_MC = (x.flatten(0, 1).repeat(repeats, 1) for x in (hidden, targets))
    device = target_MC.device
    timestep_M = torch.randint(TRAINED, (len(target_MC),), generator=generator, device=device)
    noise_MC = torch.randn(target_MC.shape, generator=generator, device=device)
    return diffusion_loss(model.head, condition_MD, target_MC, timestep_M, noise_MC).mean()


def diffusion_loss(
    head: DiffusionHead, condition_MD: Tensor, target_MC: Tensor, timestep_M: Tensor, noise_MC: Tensor
) -> Tensor:
    """Squared error of the noise plus, for the variance alone, the variational bound in bits per channel; float32 [M].

    Improved DDPM (arXiv 2102.09672), equation 16 with a weight of 1. The bound's last term takes latents for pixels in
    256 steps from -1 to 1, as the released code does.
    """
    schedule = Schedule()
    weights = schedule.at(timestep_M)
    a, b = weights.clean
    x_MC = (target_MC + b * noise_MC) / a
    eps, share = head(x_MC, timestep_M, head.prepare(condition_MD))
    mean, log_variance = step(weights, x_MC, eps.detach(), share)
    least = weights.log_variance[0]
    true_mean = weights.mean[0] * target_MC + weights.mean[1] * x_MC
    away = (true_mean - mean).square() * (-log_variance).exp()
    divergence = 0.5 * (log_variance - least + (least - log_variance).exp() + away - 1)
    first = -_pixel_log_prob(target_MC, mean, 0.5 * log_variance)
    bound = torch.where(timestep_M == 0, first.mean(1), divergence.mean(1)) / math.log(2)
    loss: Tensor = (noise_MC - eps).square().mean(1) + bound
    return loss


def _pixel_log_prob(x: Tensor, mean: Tensor, log_deviation: Tensor) -> Tensor:
    """Log of the mass that a Gaussian (by the tanh formula) gives the bin of half-width 1/255 around ``x``; the outer
    bins are open."""

    def cdf(edge: Tensor) -> Tensor:
        z = (-log_deviation).exp() * (edge - mean)
        return 0.5 * (1 + (math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)).tanh())

    above, below = cdf(x + 1 / 255), cdf(x - 1 / 255)
    mass = torch.where(x < -0.999, above, torch.where(x > 0.999, 1 - below, above - below))
    return mass.clamp_min(1e-12).log()


def logit_normal(batch: int, groups: int, generator: torch.Generator) -> Tensor:
    """Times [B, G]: the logistic function of standard normal numbers (xAR)."""
    return torch.randn(batch, groups, generator=generator, device=generator.device).sigmoid()


def velocities(
    model: DenoisingTransformer,
    values_BNC: Tensor,
    given: Given,
    order: Order,
    times_BG: Tensor,
    noise_BNC: Tensor,
    dropped_B: Tensor | None = None,
) -> Tensor:
    """The velocity of every rank, float32 [B, N, C]: each group is noisy at a time of its own and sees those before it
    as noisy as they are ("noisy context", xAR section 3.3).

    Args:
        values_BNC, noise_BNC: by position. times_BG: by group, 0 = clean and 1 = noise.
    """
    order_BN = order.batch(len(values_BNC))
    sizes = torch.tensor(order.sizes, device=times_BG.device)
    t_BN1 = Canvas(times_BG.repeat_interleave(sizes, 1)[..., None], order_BN).read(order.inverse())
    drafts_BNC = (1 - t_BN1) * values_BNC + t_BN1 * noise_BNC
    rows = model.taught(order.sizes).whole(group_causal, values_BNC.device)
    segments = list(zip(order.sizes, times_BG.unbind(1), strict=True))
    return model.velocity(rows, order_BN, drafts_BNC, segments, _context(model, given, dropped_B))


def noisy_context(
    model: DenoisingTransformer,
    values_BNC: Tensor,
    given: Given,
    order: Order,
    times_BG: Tensor,
    noise_BNC: Tensor,
    dropped_B: Tensor | None = None,
) -> Tensor:
    """Mean squared error of the velocities against noise - clean (xAR, equation 4); arguments as :func:`velocities`."""
    velocity_BNC = velocities(model, values_BNC, given, order, times_BG, noise_BNC, dropped_B)
    order_BN = order.batch(len(values_BNC))
    return (velocity_BNC - Canvas(noise_BNC - values_BNC, order_BN).read(order_BN)).square().mean()


def _context(model: MaskedAutoencoder | DenoisingTransformer, given: Given, dropped_B: Tensor | None) -> Context:
    context = model.condition(given)
    return context if dropped_B is None else context.drop(dropped_B, model.condition.null(given))
