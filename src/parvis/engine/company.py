"""The requests that run: who comes in, one pass of everyone, who leaves, and what becomes of one that goes wrong."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from torch import Tensor

from parvis.engine.abreast import answered
from parvis.engine.metrics import Metrics
from parvis.engine.studio import decoded, drawn
from parvis.engine.task import House, Task
from parvis.engine.ticket import Cancelled, Done, Ending, Failed
from parvis.errors import UsageError
from parvis.model.base import Model
from parvis.model.feed import Gather, Question

_log = logging.getLogger(__name__)
T = TypeVar("T")
U = TypeVar("U")

GROUPS, FEW = 3, 6
"""So many groups of like requests, each at a pass of its own, and so many requests in all, beyond which newcomers wait
for a group to end: a further group holds up everyone who runs by more than it spares those who wait."""


class Company:
    """Requests side by side, one pass of each at a time. Used by one thread.

    Args:
        most: bytes of caches that can ever fit in; ``None``: no limit. fits: whether one more request fits in now
            whose caches take so many bytes. gather: of a model, how requests go through it together. left: called when
            one has left.
    """

    def __init__(
        self,
        most: int | None,
        fits: Callable[[int], bool],
        gather: Callable[[Model], Gather],
        left: Callable[[], object],
    ) -> None:
        self.most, self.fits, self.gather, self.left = most, fits, gather, left
        self.tasks: list[Task] = []
        self.metrics = Metrics()

    def crowded(self, task: Task) -> bool:
        """Whether a request had better wait for the next of its kind: :data:`GROUPS` groups and :data:`FEW` requests of
        it are under way. Those that come in at the same step are one group."""
        passes = [other.passes for other in self.tasks if other.kind == task.kind]
        return len(passes) >= FEW and len(set(passes)) >= GROUPS and 0 not in passes

    def welcome(self, task: Task) -> bool:
        """Let a request in, or say that there is no room for it yet (``False``). One that fails as it begins, or that
        will never fit, is turned away for good."""
        if not self.fits(0):
            return False
        if not task.begun and self._try(task, lambda: _begin(task, self.most)) is None:
            return True
        if not self.fits(task.cost):
            return False
        task.started = time.monotonic()
        self.tasks.append(task)
        self.metrics.cache_bytes += task.cost
        self.metrics.queue_seconds.see(task.started - task.submitted)
        return True

    def advance(self) -> None:
        """Everyone one pass on; those that are done or go wrong leave."""
        asked: dict[Model, list[tuple[Task, Question]]] = {}
        for task in tuple(self.tasks):
            made = self._try(task, task.question)
            if made is not None:
                asked.setdefault(made[0], []).append((task, made[1]))
        moved: list[Task] = []
        for model, group in asked.items():
            self.metrics.batch.see(len(group))
            answers = apart(partial(answered, model, gather=self.gather(model)), [question for _, question in group])
            moved += self._tell([task for task, _ in group], answers, Task.answer)
        while wishing := [task for task in moved if task.wish is not None]:
            content = [task for task in moved if task.wish is None]
            wishes = [task.wish for task in wishing if task.wish is not None]
            moved = content + self._tell(wishing, apart(drawn, wishes), Task.grant)
        ready = [task for task in moved if self._go_on(task)]
        for house in {task.house for task in ready}:
            self._paint(house, [task for task in ready if task.house is house])

    def sweep(self) -> None:
        """Those that were taken back or are out of time leave."""
        for task in tuple(self.tasks):
            self.dismiss(task)

    def dismiss(self, task: Task) -> None:
        """See a request off that was taken back or is out of time, wherever it is; the others stay."""
        late = task.late
        if task.ticket.cancelled:
            self.leave(task, Cancelled())
        elif late is not None:
            self.metrics.expired += 1
            self.fail(task, late)

    def fail(self, task: Task, error: Exception) -> None:
        """The request ends with an error, which is told without its traceback: that holds tensors of everyone."""
        _log.info("a request for %s failed: %s", task.work.model, error, exc_info=error)
        error.__context__ = error.__cause__ = None
        self.leave(task, Failed(error.with_traceback(None)))

    def leave(self, task: Task, ending: Ending) -> None:
        """The request ends: its slot and its memory are free, its reader is told."""
        if task in self.tasks:
            self.tasks.remove(task)
            self.metrics.cache_bytes -= task.cost
        task.release()
        self.metrics.done += isinstance(ending, Done)
        self.metrics.failed += isinstance(ending, Failed)
        self.metrics.cancelled += isinstance(ending, Cancelled)
        task.ticket.put(ending)
        self.left()

    def _tell(
        self, tasks: Sequence[Task], answers: Sequence[T | Exception], tell: Callable[[Task, T], Task]
    ) -> list[Task]:
        """Give every request its answer; those are left that bear it."""
        left = []
        for task, answer in zip(tasks, answers, strict=True):
            if isinstance(answer, Exception):
                self.fail(task, answer)
            elif self._try(task, partial(tell, task, answer)) is not None:
                left.append(task)
        return left

    def _go_on(self, task: Task) -> bool:
        """A pass is done; whether a picture is to be made of the canvas now."""
        self.metrics.passes += 1
        if task.ticket.cancelled:
            self.leave(task, Cancelled())
            return False
        step = self._try(task, task.step)
        if step is None:
            return False
        task.ticket.put(step)
        return task.done or task.shows

    def _paint(self, house: House, tasks: Sequence[Task]) -> None:
        """Decode canvases together; show those that are unfinished, see those off that are done."""
        since = time.monotonic()
        pictures = apart(lambda some: decoded(house.system, [task.canvas for task in some]), tasks)
        for task, picture in zip(tasks, pictures, strict=True):
            if isinstance(picture, Exception):
                self.fail(task, picture)
            elif task.done:
                self._finish(task, picture, since)
            else:
                self._show(task, picture)

    def _show(self, task: Task, drawn: Tensor) -> None:
        shown = self._try(task, lambda: task.partial(drawn))
        if shown is None:
            return
        if shown.index == 0:
            self.metrics.partial_seconds.see(time.monotonic() - task.submitted)
        task.ticket.put(shown)

    def _finish(self, task: Task, drawn: Tensor, since: float) -> None:
        done = self._try(task, lambda: task.finish(drawn, since))
        if done is None:
            return
        self.metrics.tokens += done.tokens
        self.metrics.request_seconds.see(done.timings.total)
        self.leave(task, Cancelled() if task.ticket.cancelled else done)

    def _try(self, task: Task, act: Callable[[], T]) -> T | None:
        """What ``act`` gives; where it raises, the request fails, and this is ``None``."""
        try:
            return act()
        except Exception as error:
            caught = error
        self.fail(task, caught)
        return None


def _begin(task: Task, most: int | None) -> Task:
    task.begin()
    if most is not None and task.cost > most:
        raise UsageError(f"the caches of this request take {task.cost} bytes; all together may take {most}")
    return task


def apart(act: Callable[[Sequence[T]], Sequence[U]], items: Sequence[T]) -> list[U | Exception]:
    """What ``act`` makes of all ``items``; where it raises, of their halves by themselves, so that only those that fail
    alone (or find no memory alone) have an error. ``act`` must bear to be asked again."""
    try:
        return list(act(items))
    except Exception as error:
        if len(items) == 1:
            return [error]
    middle = len(items) // 2
    return [*apart(act, items[:middle]), *apart(act, items[middle:])]
