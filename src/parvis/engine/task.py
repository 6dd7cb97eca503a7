"""One request inside the engine: its job, its decoder between two passes, and what has become of it so far."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from parvis.canvas import Canvas
from parvis.decode.job import Draw, Job, Pass, Steps, proceed
from parvis.engine.runner import Runner
from parvis.engine.ticket import Done, Partial, Step, Ticket, Timings
from parvis.engine.work import Work
from parvis.errors import DeadlinePassed
from parvis.generate import begin
from parvis.model.base import Model
from parvis.model.feed import Question
from parvis.output import to_images
from parvis.predict import Prediction
from parvis.results import unfinished
from parvis.system import System


@dataclass(frozen=True, eq=False)
class House:
    """Where a pipeline's requests run."""

    system: System
    device: torch.device


@dataclass(eq=False)
class _Going:
    """What a request has once it has begun."""

    job: Job
    runner: Runner
    process: Steps
    ask: Pass
    wish: Draw | None
    total: int | None
    shown: tuple[int, ...]
    written: Tensor


@dataclass(eq=False)
class Task:
    """A request and how far it is.

    Attributes:
        submitted, started: seconds of the monotonic clock. passes: so far. done: whether the canvas is full.
        cost: bytes of its caches, once it has begun.
    """

    work: Work
    house: House
    ticket: Ticket
    submitted: float = field(default_factory=time.monotonic)
    started: float | None = None
    passes: int = 0
    partials: int = 0
    done: bool = False
    cost: int = 0
    _going: _Going | None = None

    @cached_property
    def kind(self) -> object:
        """What it has in common with requests that could share every pass with it. One with known tokens is alone of
        its kind."""
        asked = self.work.request
        scale = self.house.system.preset.guidance if asked.guidance is None else asked.guidance
        own = None if asked.known is None else id(asked)
        return self.house, asked.steps, asked.order, scale == 1.0, own

    @property
    def begun(self) -> bool:
        return self._going is not None

    @property
    def late(self) -> DeadlinePassed | None:
        """What to say to a request that is out of time."""
        spent, limit = time.monotonic() - self.submitted, self.work.deadline
        if limit is None or spent <= limit:
            return None
        where = f"after {self.passes} passes" if self.started is not None else "while it waited"
        return DeadlinePassed(f"not done within {limit:g} s, given up {where}; give it longer")

    def begin(self) -> None:
        """Plan the order, make the canvas, ask the decoder for its first pass."""
        system = self.house.system
        job, runner = begin(system, self.work.request, self.house.device)
        process = system.decoder(job)
        ask = proceed(process)
        assert ask is not None, "a decoder asks at least once"
        often = system.passes_per_group
        total = None if often is None else often * len(job.order.sizes)
        written = -job.canvas.known[0].int()
        self._going = _Going(job, runner, process, ask, None, total, _spread(self.work.partials, total), written)
        self.cost = runner.cache_bytes

    @property
    def _now(self) -> _Going:
        assert self._going is not None, "the request has not begun"
        return self._going

    def question(self) -> tuple[Model, Question]:
        """What the current pass asks, of which model."""
        now = self._now
        return now.runner.question(now.job.canvas, now.ask)

    @property
    def wish(self) -> Draw | None:
        """The values that the decoder waits for."""
        return self._now.wish

    def answer(self, prediction: Prediction) -> Task:
        """Tell the decoder what the model said to its pass."""
        self.passes += 1
        return self._tell(self._now.runner.guided_by(self._now.ask, prediction))

    def grant(self, values: Tensor) -> Task:
        """Give the decoder the values it waits for."""
        return self._tell(values)

    def _tell(self, answer: Prediction | Tensor) -> Task:
        """Then it wishes for values, asks the next pass, or is ``done``."""
        now = self._now
        try:
            message = now.process.send(answer)
        except StopIteration:
            now.wish, self.done = None, True
            return self
        if isinstance(message, Draw):
            now.wish = message
        else:
            now.wish, now.ask = None, message
        return self

    def step(self) -> Step:
        """The canvas as it stands, copied, and which pass wrote what. Called once a pass."""
        now, known = self._now, self.canvas.known.clone()
        now.written = torch.where(known[0] & (now.written == 0), self.passes, now.written)
        return Step(self.passes, now.total, Canvas(self.canvas.values.clone(), known), now.written)

    @property
    def shows(self) -> bool:
        """Whether a picture of the unfinished canvas is due after this pass."""
        return self.passes in self._now.shown

    @property
    def canvas(self) -> Canvas:
        """The canvas as it stands, of one picture."""
        return self._now.job.canvas

    def partial(self, drawn: Tensor) -> Partial:
        """The unfinished canvas as a picture; ``drawn`` [1, 3, H, W] is what it decodes to."""
        (image,) = unfinished(self.house.system, drawn, self.canvas.known, self.work.edit)
        self.partials += 1
        return Partial(image, self.partials - 1, self.passes)

    def finish(self, drawn: Tensor, since: float) -> Done:
        """The picture, of what the canvas decodes to, and how long it took; it was decoded ``since``."""
        (image,) = to_images(drawn if self.work.edit is None else self.work.edit.pasted(drawn))
        end, started = time.monotonic(), self.started or self.submitted
        timings = Timings(started - self.submitted, since - started, end - since, end - self.submitted)
        return Done(image, self.passes, sum(self._now.job.order.sizes), timings)

    def release(self) -> None:
        """Let go of canvas, caches and decoder."""
        if self._going is not None:
            self._going.process.close()
        self._going = None


def _spread(partials: int, total: int | None) -> tuple[int, ...]:
    """After which passes a picture is shown: ``partials`` of them, evenly, none after the last."""
    if total is None:
        return ()
    return tuple(sorted({round(total * i / (partials + 1)) for i in range(1, partials + 1)} - {0, total}))
