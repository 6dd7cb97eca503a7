"""What training minimises: the row plan of a whole generation, fed at once, against the true codes.

Legend: B images, N positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from parvis.errors import IncompatibleParts
from parvis.model.base import Model
from parvis.model.context import Given
from parvis.model.feed import Question
from parvis.order import Order
from parvis.predict import Categorical

__all__ = ["order_cross_entropy", "random_order", "teacher_logits"]


def teacher_logits(
    model: Model,
    codes_BN: Tensor,
    given: Given,
    order: Order,
    dropped_B: Tensor | None = None,
    view_BnC: Tensor | None = None,
) -> Tensor:
    """Teacher-forced logits of every rank, float32 [B, N, V]: all rows of the order's plan in one pass.

    Args:
        codes_BN: the true codes by position. given: the condition.
        order: sizes shared by the batch, positions shared or per image.
        dropped_B: True where the null condition stands in (training for guidance).
        view_BnC: what the tokenizer shows at the asked positions, by rank (content framing only).
    """
    context = model.condition(given)
    if dropped_B is not None:
        context = context.drop(dropped_B, model.condition.null(given))
    rows = model.plan(order.sizes).whole(model.rule, codes_BN.device)
    order_BN = order.batch(codes_BN.shape[0])
    prediction = model.answer(Question(rows, order_BN, codes_BN, view_BnC, model.modulated(context)))
    if not isinstance(prediction, Categorical):
        raise IncompatibleParts("this model predicts latents, not codes: use an objective of train/latents.py")
    return prediction.logits


def order_cross_entropy(
    model: Model,
    codes_BN: Tensor,
    given: Given,
    order: Order,
    dropped_B: Tensor | None = None,
    view_BnC: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of every token, asked once, in the order (LPD section 3.1; PAR section 3.2; LlamaGen; VAR
    section 3.2, with ``view_BnC = tokenizer.teacher_input(codes, grid)``)."""
    logits = teacher_logits(model, codes_BN, given, order, dropped_B, view_BnC)
    targets = codes_BN.gather(1, order.batch(codes_BN.shape[0]))
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def random_order(batch: int, tables: Sequence[tuple[int, ...]], generator: torch.Generator) -> Order:
    """LPD's training order (section 4.1): one of the group tables for the whole batch, a uniform permutation per
    image."""
    sizes = tables[int(torch.randint(len(tables), (), generator=generator, device=generator.device))]
    positions = torch.rand(batch, sum(sizes), generator=generator, device=generator.device).argsort(1)
    return Order(positions, sizes)
