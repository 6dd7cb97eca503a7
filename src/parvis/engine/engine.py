"""Continuous batching at the step: many requests, one run of a model a step, whoever comes and goes.

A step: those that were cancelled or are out of time leave; those that fit come in; every running request asks its
model what its decoder wants to know; the questions to one model are answered in one run; every request chooses values
and writes its canvas; those that are done are decoded. What a request computes has the same shapes alone and in
company (``model/sight.py``, ``steady.py``), so on a CPU in float32 its picture is the same to the bit.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Mapping

import torch
from PIL import Image

from parvis.canvas import Canvas
from parvis.engine.company import Company
from parvis.engine.metrics import Metrics
from parvis.engine.queue import FairQueue
from parvis.engine.steady import even, steady, unsteady
from parvis.engine.studio import decoded
from parvis.engine.task import House, Task
from parvis.engine.ticket import Queued, Ticket
from parvis.engine.work import Budget, Drawer, Work
from parvis.errors import EngineStopped, QueueFull, UnknownName, UsageError
from parvis.model.feed import together
from parvis.results import unfinished

_log = logging.getLogger(__name__)


class Engine:
    """Draws for many at once. Start it, submit work from any thread, read the tickets.

    Args:
        pipelines: name -> pipeline; they stay as they are and can be used beside the engine.
        budget: how much runs at once. queue: how many requests may wait.
    """

    def __init__(self, pipelines: Mapping[str, Drawer], *, budget: Budget | None = None, queue: int = 256) -> None:
        self.budget, self.limit = budget or Budget(), queue
        self._houses = {name: House(steady(one.system), one.device) for name, one in pipelines.items()}
        models = {model for house in self._houses.values() for model in house.system.models.values()}
        gathers = {model: together(even(model)) for model in models}
        self._metrics = Metrics()
        self._company = Company(self.budget, gathers.__getitem__, self._metrics)
        self._waiting: FairQueue[Task] = FairQueue()
        self._lock = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = self._aborting = False

    def unsteady(self, model: str) -> str | None:
        """Why a picture of ``model`` may depend on its company in the last bits, ``None`` where it does not."""
        house = self._house(model)
        return unsteady(house.system, house.device)

    def submit(self, work: Work) -> Ticket:
        """Queue a request; returns at once.

        Raises:
            QueueFull: too many wait already. EngineStopped: it takes no more. UsageError: no such model, or a request
                that does not fit it.
        """
        house = self._house(work.model)
        work.request.check(house.system)
        task = Task(work, house, Ticket(self._wake))
        with self._lock:
            if self._closing:
                raise EngineStopped("the engine is stopping and takes no more requests; ask another one")
            self.check_room()
            self._metrics.submitted += 1
            self._waiting.put(work.key, task)
            task.ticket.put(Queued(list(self._waiting).index(task)))
            self._lock.notify_all()
        return task.ticket

    def check_room(self, coming: int = 0) -> None:
        """Raises QueueFull where :meth:`submit` would, once ``coming`` others are in: for those who have work before
        they submit."""
        with self._lock:
            waiting = len(self._waiting) + coming
            if waiting >= self.limit:
                self._metrics.rejected += 1
                raise QueueFull(waiting, max(1.0, self._metrics.request_seconds.mean / self.budget.slots))

    def picture(self, work: Work, canvas: Canvas) -> Image.Image:
        """The canvas of a ``Step`` as a picture, white where nothing is known. Decodes in the caller's thread."""
        system = self._house(work.model).system
        (drawn,) = decoded(system, [canvas])
        (image,) = unfinished(system, drawn, canvas.known, work.edit)
        return image

    def metrics(self) -> Metrics:
        """What has been counted so far: a copy."""
        with self._lock:
            self._metrics.waiting, self._metrics.running = len(self._waiting), len(self._company.tasks)
            return copy.deepcopy(self._metrics)

    @property
    def alive(self) -> bool:
        """Whether the thread runs and takes requests: what a readiness check asks."""
        return self._thread is not None and self._thread.is_alive() and not self._closing

    def start(self) -> None:
        """Run steps in a thread of its own from now on."""
        if self._thread is not None or self._closing:
            raise UsageError("this engine was started or stopped before; make another one")
        self._thread = threading.Thread(target=self._loop, name="parvis-engine", daemon=True)
        self._thread.start()

    def stop(self, grace: float = 30.0) -> None:
        """Take no more; let those who are here finish for ``grace`` seconds; fail the others (``EngineStopped``)."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        if self._thread is None:
            self._abandon()
            return
        self._thread.join(grace)
        self._aborting = True
        self._thread.join()

    def step(self) -> bool:
        """One step, in the thread of the caller (for an engine that was not started); whether anything ran."""
        start = time.monotonic()
        with torch.inference_mode():
            self._sweep()
            self._admit()
            if not self._company.tasks:
                return False
            self._company.advance()
        self._metrics.steps += 1
        self._metrics.step_seconds.see(time.monotonic() - start)
        return True

    def _house(self, model: str) -> House:
        if model not in self._houses:
            raise UnknownName("model", model, self._houses)
        return self._houses[model]

    def _busy(self) -> bool:
        return bool(self._company.tasks) or len(self._waiting) > 0

    def _loop(self) -> None:
        try:
            while True:
                with self._lock:
                    self._lock.wait_for(lambda: self._closing or self._busy())
                    if self._aborting or not self._busy():
                        return
                self.step()
        except Exception:
            _log.exception("the engine broke down; its requests fail")
        finally:
            self._abandon()

    def _wake(self) -> None:
        with self._lock:
            self._lock.notify_all()

    def _abandon(self) -> None:
        """Nothing runs any more: those who are left are told."""
        with self._lock:
            self._closing = True
            left = [*self._company.tasks, *self._waiting.discard(lambda task: True)]
        for task in left:
            self._company.fail(task, EngineStopped("the engine stopped before this request was done; submit it again"))

    def _sweep(self) -> None:
        with self._lock:
            gone = self._waiting.discard(lambda task: task.ticket.cancelled or task.late is not None)
        for task in gone:
            self._company.dismiss(task)
        self._company.sweep()

    def _admit(self) -> None:
        """Those whose turn it is come in. The first in line is not passed over for one that needs less room, or it
        would wait for ever; only for one of another kind, where its own is crowded, which ends."""
        came = 0
        while True:
            with self._lock:
                task = next((one for one in self._waiting if not self._company.crowded(one)), None)
            if task is None or not self._company.welcome(task):
                break
            with self._lock:
                self._waiting.take(task)
            came += 1
        with self._lock:
            places = list(enumerate(self._waiting)) if came else []
        for position, task in places:
            task.ticket.put(Queued(position))
