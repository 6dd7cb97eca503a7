"""An oracle in place of a network, and a driver, for testing decoders.

The oracle's law at a position is a fixed pseudo-random function of everything the pass may see: known values, drafts,
the position, and which model is asked. Change any visible value and the law changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from parvis.canvas import Canvas
from parvis.decode.job import Decoder, Job, Pass, proceed
from parvis.noise import Noise
from parvis.order import Order
from parvis.predict import Categorical
from parvis.sampling import Sampling

Answer = Callable[[Canvas, Pass], Categorical]


def oracle(vocabulary: int = 7, sharp: float = 3.0) -> Answer:
    """Answers passes; ``sharp`` is how far from uniform the laws are."""

    def answer(canvas: Canvas, ask: Pass) -> Categorical:
        positions = ask.positions.expand(canvas.batch, ask.stop - ask.start)
        everywhere = torch.arange(canvas.tokens).expand(canvas.batch, -1)
        seen = (_mix(everywhere, canvas.values) * canvas.known).sum(dim=1, keepdim=True).expand_as(positions)
        if ask.draft is not None:
            drafts = _mix(positions, ask.draft) * (ask.draft >= 0)
            window = drafts.cumsum(dim=1) - drafts  # a row of a window sees the drafts before it
            seen = seen + (window if ask.group is None else drafts.sum(dim=1, keepdim=True))
        state = (seen + 31 * positions + 17 * len(ask.by)) % 9973
        logits = sharp * torch.sin(state[..., None].double() * torch.arange(1, vocabulary + 1))
        return Categorical(logits.float())

    return answer


def _mix(positions: Tensor, values: Tensor) -> Tensor:
    return ((positions + 1) * 7919 + (values + 1) * (positions + 3) * 104729) % 1000003


@dataclass(eq=False)
class CountedCanvas(Canvas):
    """A canvas that counts the writes of every position."""

    writes: Tensor = field(default_factory=lambda: torch.zeros(0))

    def write(self, positions: Tensor, values: Tensor) -> None:
        if not len(self.writes):
            self.writes = torch.zeros_like(self.known, dtype=torch.long)
        index = positions.expand(self.batch, positions.shape[-1])
        self.writes.scatter_add_(1, index, torch.ones_like(index))
        super().write(positions, values)


def job(order: Order, seeds: Sequence[int], scales: Tensor | None = None, sampling: Sampling | None = None) -> Job:
    """A job on an empty counted canvas, one image per seed."""
    empty = Canvas.empty(len(seeds), order.tokens)
    return Job(order, CountedCanvas(empty.values, empty.known), Noise(seeds), sampling or Sampling(), scales)


def drive(decoder: Decoder, job: Job, answer: Answer) -> list[Pass]:
    """Run a decoder to its end; returns the passes it asked for."""
    steps = decoder(job)
    passes, ask = list[Pass](), proceed(steps)
    while ask is not None:
        passes.append(ask)
        ask = proceed(steps, answer(job.canvas, ask))
    return passes


def run(decoder: Decoder, order: Order, seeds: Sequence[int], answer: Answer) -> tuple[Tensor, list[Pass]]:
    """Values [B, N] that a decoder makes, each position written exactly once, and its passes."""
    made = job(order, seeds)
    passes = drive(decoder, made, answer)
    assert isinstance(made.canvas, CountedCanvas)
    assert (made.canvas.writes == 1).all() and made.canvas.known.all()
    return made.canvas.values, passes
