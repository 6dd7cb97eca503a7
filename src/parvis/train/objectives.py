"""How each family is taught: the loss of one batch, and what is drawn for it.

An :data:`Objective` is made from what a system is (its grid, order, tokenizer) and called with the values of a batch.
All randomness comes from the generator that it is handed, so a step is a function of its seed.

Legend: B images, N positions, C latent channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from parvis.grid import Grid
from parvis.model.base import Model
from parvis.model.context import Given
from parvis.model.denoising import DenoisingTransformer
from parvis.model.feed import Question
from parvis.model.masked import MaskedAutoencoder
from parvis.order import Order
from parvis.tokenizer.multiscale import MultiScaleVQ
from parvis.train.latents import logit_normal, mask_count, masked_diffusion, noisy_context
from parvis.train.objective import order_cross_entropy, random_order

Objective = Callable[[Model, Tensor, Given, torch.Generator, Tensor | None], Tensor]
"""(model, values [B, N] or [B, N, C], condition, generator, where the null condition stands in [B]) -> scalar loss."""


def in_order(order: Order) -> Objective:
    """Cross-entropy in one order (raster: LlamaGen; regions: PAR, section 3.2; diagonals: NAR, section 3.2)."""

    def loss(
        model: Model, codes_BN: Tensor, given: Given, generator: torch.Generator, dropped_B: Tensor | None
    ) -> Tensor:
        return order_cross_entropy(model, codes_BN, given, order, dropped_B)

    return loss


def in_any_order(tables: Sequence[tuple[int, ...]]) -> Objective:
    """Cross-entropy in a random order per image, in groups of one of the ``tables`` (LPD, section 4.1)."""

    def loss(
        model: Model, codes_BN: Tensor, given: Given, generator: torch.Generator, dropped_B: Tensor | None
    ) -> Tensor:
        order = random_order(len(codes_BN), tables, generator)
        return order_cross_entropy(model, codes_BN, given, order, dropped_B)

    return loss


def one_by_one(grid: Grid) -> Objective:
    """Cross-entropy in a random order per image, one token after the other (RandAR, section 3.2; ARPG, section 3.2)."""
    return in_any_order([(1,) * grid.tokens])


def by_scale(order: Order, tokenizer: MultiScaleVQ, grid: Grid) -> Objective:
    """Cross-entropy of all scales, each shown the true coarse image (VAR, section 3.2)."""

    def loss(
        model: Model, codes_BN: Tensor, given: Given, generator: torch.Generator, dropped_B: Tensor | None
    ) -> Tensor:
        with torch.no_grad():
            view_BnC = tokenizer.teacher_input(codes_BN, grid)
        return order_cross_entropy(model, codes_BN, given, order, dropped_B, view_BnC)

    return loss


def masked_codes(grid: Grid) -> Objective:
    """Cross-entropy of masked codes, the share masked being ``cos(pi u / 2)``, u uniform per image (MaskGIT, section
    3.1 and 3.3)."""

    def loss(
        model: Model, codes_BN: Tensor, given: Given, generator: torch.Generator, dropped_B: Tensor | None
    ) -> Tensor:
        B, N = codes_BN.shape
        share_B1 = (math.pi / 2 * torch.rand(B, 1, generator=generator, device=generator.device)).cos()
        rank_BN = torch.rand(B, N, generator=generator, device=generator.device).argsort(1)
        masked_BN = rank_BN < (N * share_B1).ceil().clamp_min(1)
        context = model.condition(given)
        if dropped_B is not None:
            context = context.drop(dropped_B, model.condition.null(given))
        rows = model.plan((N,)).whole(model.rule, codes_BN.device)
        order_BN = torch.arange(N, device=codes_BN.device).expand(B, N)
        shown_BN = codes_BN.masked_fill(masked_BN, -1)
        prediction = model.answer(Question(rows, order_BN, shown_BN, None, model.modulated(context)))
        return -prediction.log_prob(codes_BN)[masked_BN].mean()

    return loss


def masked_latents(grid: Grid) -> Objective:
    """MAR's diffusion loss of a random part of the latents, given the rest (section 3.4 and 4)."""

    def loss(
        model: Model, values_BNC: Tensor, given: Given, generator: torch.Generator, dropped_B: Tensor | None
    ) -> Tensor:
        assert isinstance(model, MaskedAutoencoder)
        masked = mask_count(grid.tokens, generator)
        positions = torch.rand(len(values_BNC), grid.tokens, generator=generator, device=generator.device).argsort(1)
        order = Order(positions, (masked,), grid.tokens - masked)
        return masked_diffusion(model, values_BNC, given, order, generator, dropped_B)

    return loss


def noisy_cells(order: Order) -> Objective:
    """xAR's flow matching, every cell noisy at a time of its own (section 3.3)."""

    def loss(
        model: Model, values_BNC: Tensor, given: Given, generator: torch.Generator, dropped_B: Tensor | None
    ) -> Tensor:
        assert isinstance(model, DenoisingTransformer)
        times_BG = logit_normal(len(values_BNC), len(order.sizes), generator)
        noise_BNC = torch.randn(values_BNC.shape, generator=generator, device=generator.device)
        return noisy_context(model, values_BNC, given, order, times_BG, noise_BNC, dropped_B)

    return loss


__all__ = [
    "Objective",
    "by_scale",
    "in_any_order",
    "in_order",
    "masked_codes",
    "masked_latents",
    "noisy_cells",
    "one_by_one",
]
