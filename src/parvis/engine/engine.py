"""Continuous batching at the step: many requests, one run of a model a step, whoever comes and goes.

A step: those that were cancelled or are out of time leave; those that fit come in; every running request asks its
model what its decoder wants to know; the questions to one model are answered in one run; every request chooses values
and writes its canvas; those that are done are decoded. What a request computes has the same shapes alone and in
company (``model/sight.py``, ``steady.py``), so on a CPU in float32 its picture is the same to the bit.

An engine may have several lanes: threads that take steps beside each other, each with a company and a share of the
processor's cores of its own. A pass of a small model is many small products, of which a second core has little.
"""

from __future__ import annotations

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
from parvis.packed import weight_bytes
from parvis.results import unfinished

_log = logging.getLogger(__name__)

LANES, CACHED = 2, 64 << 20
"""How many lanes a small model has on a processor, and how many bytes of weights are small: a guess at what caches hold
(two lanes were measured with 22 MiB)."""


class Engine:
    """Draws for many at once. Start it, submit work from any thread, read the tickets.

    Args:
        pipelines: name -> pipeline; they stay as they are and can be used beside the engine.
        budget: how much runs at once. queue: how many requests may wait.
        lanes: how many threads take steps once it is started, each with its share of PyTorch's threads; what
            :func:`usual_lanes` says unless given.

    Raises:
        UsageError: no lane.
    """

    def __init__(
        self,
        pipelines: Mapping[str, Drawer],
        *,
        budget: Budget | None = None,
        queue: int = 256,
        lanes: int | None = None,
    ) -> None:
        self.budget, self.limit = budget or Budget(), queue
        self.lanes = usual_lanes(pipelines) if lanes is None else lanes
        if self.lanes < 1:
            raise UsageError(f"an engine has 1 lane or more; got {lanes}")
        self._houses = {name: House(steady(one.system), one.device) for name, one in pipelines.items()}
        models = {model for house in self._houses.values() for model in house.system.models.values()}
        self._gathers = {model: together(even(model)) for model in models}
        self._metrics = Metrics()
        self._companies = [self._company()]
        self._waiting: FairQueue[Task] = FairQueue()
        self._lock, self._door = threading.Condition(), threading.Lock()
        self._threads: list[threading.Thread] = []
        self._cores = torch.get_num_threads()
        self._closing = self._aborting = False
        self._news = 0

    def _company(self) -> Company:
        return Company(self.budget.cache_bytes, self._fits, self._gathers.__getitem__, self._wake)

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
            self._tell()
        return task.ticket

    def check_room(self, coming: int = 0) -> None:
        """Raises QueueFull where :meth:`submit` would, once ``coming`` others are in: for those who have work before
        they submit."""
        with self._lock:
            waiting = len(self._waiting) + coming
            if waiting >= self.limit:
                self._metrics.rejected += 1
                raise QueueFull(waiting, max(1.0, self.metrics().request_seconds.mean / self.budget.slots))

    def picture(self, work: Work, canvas: Canvas) -> Image.Image:
        """The canvas of a ``Step`` as a picture, white where nothing is known. Decodes in the caller's thread."""
        system = self._house(work.model).system
        (drawn,) = decoded(system, [canvas])
        (image,) = unfinished(system, drawn, canvas.known, work.edit)
        return image

    def metrics(self) -> Metrics:
        """What has been counted so far: a copy."""
        with self._lock:
            found = sum((company.metrics for company in self._companies), self._metrics)
            found.waiting, found.running = len(self._waiting), sum(len(one.tasks) for one in self._companies)
            return found

    @property
    def alive(self) -> bool:
        """Whether its threads run and take requests: what a readiness check asks."""
        return bool(self._threads) and all(one.is_alive() for one in self._threads) and not self._closing

    def start(self) -> None:
        """Take steps in threads of its own from now on."""
        if self._threads or self._closing:
            raise UsageError("this engine was started or stopped before; make another one")
        self._cores = torch.get_num_threads()
        self._companies += [self._company() for _ in range(self.lanes - 1)]
        self._threads = [
            threading.Thread(target=self._lane, args=(company,), name=f"parvis-lane-{number}", daemon=True)
            for number, company in enumerate(self._companies)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, grace: float = 30.0) -> None:
        """Take no more; let those who are here finish for ``grace`` seconds; fail the others (``EngineStopped``)."""
        with self._lock:
            self._closing = True
            self._tell()
        if not self._threads:
            self._abandon(self._companies[0])
            return
        end = time.monotonic() + grace
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        self._abort()
        for thread in self._threads:
            thread.join()
        if self.lanes > 1:
            torch.set_num_threads(self._cores)

    def step(self) -> bool:
        """One step, in the thread of the caller (for an engine that was not started); whether anything ran."""
        return self._step(self._companies[0])

    def _house(self, model: str) -> House:
        if model not in self._houses:
            raise UnknownName("model", model, self._houses)
        return self._houses[model]

    def _step(self, company: Company) -> bool:
        start = time.monotonic()
        with torch.inference_mode():
            company.sweep()
            if self._door.acquire(blocking=not company.tasks):  # who has work does not wait for another lane
                try:
                    self._sweep(company)
                    self._admit(company)
                finally:
                    self._door.release()
            if not company.tasks:
                return False
            company.advance()
        company.metrics.steps += 1
        company.metrics.step_seconds.see(time.monotonic() - start)
        return True

    def _over(self, company: Company) -> bool:
        with self._lock:
            return self._aborting or (self._closing and not company.tasks and not len(self._waiting))

    def _lane(self, company: Company) -> None:
        """What a thread does: steps, while there is anything to do. Where there is not it waits for news."""
        if self.lanes > 1:
            torch.set_num_threads(max(1, self._cores // self.lanes))
        try:
            while True:
                news = self._news  # before anything is looked at, so that nothing is missed
                if self._over(company):
                    break
                if not self._step(company):
                    with self._lock:
                        while self._news == news:
                            self._lock.wait()
        except Exception:
            _log.exception("the engine broke down; its requests fail")
            self._abort()
        finally:
            self._abandon(company)

    def _tell(self) -> None:
        """Something has happened that a lane may wait for. Call it with the lock."""
        self._news += 1
        self._lock.notify_all()

    def _wake(self) -> None:
        with self._lock:
            self._tell()

    def _abort(self) -> None:
        with self._lock:
            self._closing = self._aborting = True
            self._tell()

    def _abandon(self, company: Company) -> None:
        """A lane ends: those who are left are told, as are those who wait for nobody."""
        with self._door, self._lock:  # not while another lane lets one of them in
            self._closing = True
            left = [*company.tasks, *self._waiting.discard(lambda task: True)]
        for task in left:
            company.fail(task, EngineStopped("the engine stopped before this request was done; submit it again"))

    def _sweep(self, company: Company) -> None:
        """Of those who wait, those who were taken back or are out of time are seen off."""
        with self._lock:
            gone = self._waiting.discard(lambda task: task.ticket.cancelled or task.late is not None)
        for task in gone:
            company.dismiss(task)

    def _fits(self, cache_bytes: int) -> bool:
        """Whether there is a slot, and room for so many bytes of caches."""
        running = sum(len(one.tasks) for one in self._companies)
        taken = sum(one.metrics.cache_bytes for one in self._companies)
        most = self.budget.cache_bytes
        return running < self.budget.slots and (most is None or taken + cache_bytes <= most)

    def _share(self, company: Company) -> int:
        """How many of those who wait a company may let in: so many that it has its part of all."""
        with self._lock:
            here = len(self._waiting) + sum(len(one.tasks) for one in self._companies)
        return -(-here // len(self._companies)) - len(company.tasks)

    def _admit(self, company: Company) -> None:
        """Those whose turn it is come in. The first in line is not passed over for one that needs less room, or it
        would wait for ever; only for one of another kind, where its own is crowded, which ends."""
        came, share = 0, self._share(company)
        while came < share:
            with self._lock:
                task = next((one for one in self._waiting if not company.crowded(one)), None)
            if task is None or not company.welcome(task):
                break
            with self._lock:
                self._waiting.take(task)
            came += 1
        with self._lock:
            places = list(enumerate(self._waiting)) if came else []
        for position, task in places:
            task.ticket.put(Queued(position))


def usual_lanes(pipelines: Mapping[str, Drawer]) -> int:
    """How many lanes an engine of these has: two on a processor whose caches hold the models, where small passes gain
    little from a second core; else one, so that weights are read once for all."""
    if any(one.device.type != "cpu" for one in pipelines.values()) or torch.get_num_threads() < LANES:
        return 1
    modules = {module for one in pipelines.values() for module in one.system.models.values()}
    return LANES if sum(weight_bytes(module) for module in modules) <= CACHED else 1
