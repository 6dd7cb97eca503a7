"""Requests that are at the same pass of the same plan, as one batch.

They differ in orders, values, conditions and caches only, and those stack: embedding and attention then run once for
all of them. Attention and everything that goes row by row give an image the same numbers in every batch
(``engine/steady.py``), so nobody sees whether others were at the same pass.

Requests are of one image. Under guidance a batch has two copies, of the condition and behind it of the null condition;
a merged batch is copy by copy, in each copy request by request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor

from parvis.cache.store import joined
from parvis.engine.steady import VECTOR
from parvis.model.base import Model
from parvis.model.context import Context
from parvis.model.feed import Gather, Question
from parvis.predict import Prediction


def answered(model: Model, questions: Sequence[Question], gather: Gather) -> list[Prediction]:
    """The answers to questions of one image each, those at the same pass asked as one."""
    groups: dict[object, list[int]] = {}
    for index, question in enumerate(questions):
        groups.setdefault(_place(question), []).append(index)
    found = model.answers([_merged([questions[i] for i in group]) for group in groups.values()], gather)
    parts = {
        index: answer.part(slice(place, None, len(group)))
        for group, answer in zip(groups.values(), found, strict=True)
        for place, index in enumerate(group)
    }
    return [parts[index] for index in range(len(questions))]


def _place(question: Question) -> object:
    """What questions that can be merged have in common. Where norms are made anew in every pass (there is a time), an
    activation goes over whole vectors of each image, or the question stays by itself."""
    context = question.context
    if question.time is not None and context.vector is not None and context.vector.shape[-1] % VECTOR:
        return id(question)
    return (
        id(question.rows), question.time, context.copies, len(context.modulation),
        question.view_BnC is None, context.visible is None, context.vector is None, question.cache is None,
    )  # fmt: skip


def _merged(questions: Sequence[Question]) -> Question:
    first = questions[0]
    caches = [question.cache for question in questions if question.cache is not None]
    if len(questions) == 1:
        return replace(first, cache=caches[0].alone()) if caches else first
    return Question(
        first.rows,
        torch.cat([question.order_BN for question in questions]),
        torch.cat([question.values_BN for question in questions]),
        _stacked([question.view_BnC for question in questions], lambda parts: torch.cat(list(parts))),
        _context([question.context for question in questions]),
        joined(caches, first.context.copies) if caches else None,
        first.time,
    )


def _context(contexts: Sequence[Context]) -> Context:
    """One context of all, copy by copy."""

    def stack(parts: Sequence[Tensor]) -> Tensor:
        copies = contexts[0].copies
        return torch.cat(list(chain.from_iterable(zip(*(part.chunk(copies) for part in parts), strict=True))))

    return Context(
        stack([context.rows for context in contexts]),
        _stacked([context.visible for context in contexts], stack),
        _stacked([context.vector for context in contexts], stack),
        tuple(stack(parts) for parts in zip(*(context.modulation for context in contexts), strict=True)),
        contexts[0].copies,
    )


def _stacked(parts: Sequence[Tensor | None], stack: Callable[[Sequence[Tensor]], Tensor]) -> Tensor | None:
    """All of them stacked, or ``None`` where they are ``None``."""
    there = [part for part in parts if part is not None]
    return stack(there) if there else None
