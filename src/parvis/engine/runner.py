"""The runner: answers a decoder's passes with a system's models. It knows no paper and no sampling.

All masks, coordinates and cache slots come from the row plan, made once per (sizes, framing) and kept on the device,
so a step holds no host-device synchronisation and no shape that depends on data.

Legend: B images, N positions, n asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from parvis.cache.store import Cache
from parvis.canvas import Canvas
from parvis.decode.job import Decoder, Job, Pass, proceed
from parvis.errors import IncompatibleParts
from parvis.model.base import Model
from parvis.model.context import Context, Given
from parvis.model.feed import Question
from parvis.model.framing import shift
from parvis.model.plan import RowPlan, Rows
from parvis.order import Order
from parvis.predict import Prediction
from parvis.system import System


@dataclass
class _Seat:
    """One model at work on one job: its plan, context, cache, how many groups were known when the job began, and the
    first pass its cache has not seen."""

    model: Model
    plan: RowPlan
    context: Context
    cache: Cache
    known: int
    next: int = 0

    def rows(self, ask: Pass, device: torch.device) -> Rows:
        if ask.group is None:
            self._check_window()
            first, self.next = min(self.next, ask.start), ask.stop  # wrong guesses are asked, and so fed, again
            return self.plan.window(first, ask.start, ask.stop - 1, self.model.rule, device)
        index = self.known + ask.group
        first, self.next = self.next, index + 1
        if first > index:
            return self.plan.again(index, self.model.rule, device)
        if first == index:
            return self.plan.step(index, self.model.rule, device)
        return self.plan.catch_up(first, index, self.model.rule, device)

    def _check_window(self) -> None:
        if self.model.framing is not shift or max(self.plan.sizes) > 1:
            raise IncompatibleParts(
                "a window of guesses (Jacobi) needs a model with the shift framing and an order of one token per "
                "group, such as raster; choose the parallel decoder for this system"
            )


class Runner:
    """Answers the passes of one job.

    Args:
        system: whose models answer.
        order: of the job. condition: classes, words or features of the B images. batch: B.
        guided: stack the null condition behind the real one and guide.
    """

    def __init__(self, system: System, order: Order, condition: Given, batch: int, guided: bool) -> None:
        self.system, self.order, self.condition, self.guided = system, order, condition, guided
        self.order_BN = order.batch(batch)
        self.device = self.order_BN.device
        self.seats: dict[str, _Seat] = {}

    def seat(self, by: str) -> _Seat:
        if by not in self.seats:
            model = self.system.models[by]
            plan = model.plan((*self.order.before, *self.order.sizes))
            context = model.context(self.condition, self.guided)
            self.seats[by] = _Seat(model, plan, context, model.cache(plan, context), len(self.order.before))
        return self.seats[by]

    @property
    def cache_bytes(self) -> int:
        """What the caches of all models take, or will once they are written."""
        return sum(self.seat(by).cache.nbytes for by in self.system.models)

    def answer(self, canvas: Canvas, ask: Pass) -> Prediction:
        """The (guided) prediction for the positions of ``ask``."""
        model, question = self.question(canvas, ask)
        return self.guided_by(ask, model.answer(question))

    def question(self, canvas: Canvas, ask: Pass) -> tuple[Model, Question]:
        """Which model is asked what; the cache counts as written from here on."""
        seat = self.seat(ask.by)
        self._check_draft(seat.model, ask)
        rows = seat.rows(ask, self.device)
        values_BN = canvas.values if ask.draft is None else canvas.drafted(ask.positions, ask.draft)
        view_BnC = content_of(self.system, rows, canvas)
        return seat.model, Question(rows, self.order_BN, values_BN, view_BnC, seat.context, seat.cache, ask.time)

    def guided_by(self, ask: Pass, prediction: Prediction) -> Prediction:
        """The model's answer, led away from the null condition's where the job is guided."""
        if not self.guided:
            return prediction
        real, null = prediction.halves()
        assert ask.scale is not None
        return real.guide(null, ask.scale)

    def _check_draft(self, model: Model, ask: Pass) -> None:
        """A group is asked with a draft where, and only where, the model reads one."""
        if ask.group is not None and ask.draft is not None and not model.drafts:
            raise IncompatibleParts(
                f"{self.system.name}: the decoder guesses values inside a group, which this model cannot be shown; "
                "choose the parallel decoder for this system"
            )
        if model.timed and (ask.draft is None or ask.time is None):
            raise IncompatibleParts(
                f"{self.system.name}: the model takes noise out of a draft, and the decoder gives it none; "
                "choose the denoise decoder for this system"
            )
        if model.drafts and ask.draft is None:
            raise IncompatibleParts(
                f"{self.system.name}: the model is shown a draft with masks, and the decoder gives it none; "
                "choose the refine decoder for this system"
            )


def content_of(system: System, rows: Rows, canvas: Canvas) -> Tensor | None:
    """What the tokenizer shows at the QUERY rows' positions (content framing), by rank; ``None`` for the other
    framings."""
    start, stop = rows.queried
    if system.models["main"].view is None or start == stop:
        return None
    offsets = system.grid.offsets
    scales = [s for s in range(len(system.grid.scales)) if start <= offsets[s] < stop]
    return torch.cat([system.tokenizer.view(canvas, scale) for scale in scales], 1)


def run(decoder: Decoder, job: Job, runner: Runner) -> Iterator[tuple[Pass, Prediction]]:
    """Drive a decoder to its end; yields every pass and its answer after the values are on the canvas."""
    process = decoder(job)
    ask = proceed(process)
    while ask is not None:
        prediction = runner.answer(job.canvas, ask)
        following = proceed(process, prediction)
        yield ask, prediction
        ask = following
