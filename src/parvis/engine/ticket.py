"""What becomes of a request: events, and the :class:`Ticket` that hands them over.

The engine puts events from its own thread; one reader takes them in any other, blocking or in asyncio. A slow reader
costs nothing: of steps and places in the queue only the latest waits to be read.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image
from torch import Tensor

from parvis.canvas import Canvas
from parvis.errors import RequestCancelled


@dataclass(frozen=True)
class Queued:
    """Waiting; ``position`` more are to begin before it, 0 = the next."""

    position: int


@dataclass(frozen=True, eq=False)
class Step:
    """A pass is done.

    Attributes:
        done: passes so far. passes: of how many; ``None`` where it depends on what is drawn.
        canvas: a copy as it stood then, of one image; ``Engine.picture`` shows it.
        written: whole numbers [N], the pass (from 1) that wrote each position; 0 where none has, -1 where it was given.
    """

    done: int
    passes: int | None
    canvas: Canvas
    written: Tensor


@dataclass(frozen=True, eq=False)
class Partial:
    """A picture of the unfinished canvas, the ``index``-th from 0, after ``done`` passes; what is not known yet is
    white."""

    image: Image.Image
    index: int
    done: int


@dataclass(frozen=True)
class Timings:
    """Seconds: in the queue, from the first pass to the last, of decoding, and all of it."""

    queued: float
    running: float
    decoding: float
    total: float


@dataclass(frozen=True, eq=False)
class Done:
    """The picture, after ``passes`` passes that drew ``tokens`` tokens."""

    image: Image.Image
    passes: int
    tokens: int
    timings: Timings


@dataclass(frozen=True, eq=False)
class Failed:
    """It went wrong, for this request alone."""

    error: Exception


@dataclass(frozen=True)
class Cancelled:
    """Taken back; nothing follows."""


Event: TypeAlias = Queued | Step | Partial | Done | Failed | Cancelled
Ending: TypeAlias = Done | Failed | Cancelled
_LATEST_ONLY = (Queued, Step)


def _nothing() -> None:
    """Nobody listens."""


class Ticket:
    """A submitted request. Iterating blocks and gives its events, the last of which is ``Done``, ``Failed`` or
    ``Cancelled``. Safe to use from any thread; one reader only.

    Args:
        woken: called when the request is cancelled, so that an idle engine notices.
    """

    def __init__(self, woken: Callable[[], object] = _nothing) -> None:
        self._woken = woken
        self._heard: Callable[[], object] = _nothing
        self._quiet: tuple[type[Event], ...] = ()
        self._new = threading.Condition()
        self._waiting: deque[Event] = deque()
        self._final: Ending | None = None
        self._cancelled = False

    def cancel(self) -> None:
        """Take the request back: it leaves within a step. Does nothing once it is finished."""
        self._cancelled = True
        self._woken()

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called, even if too late."""
        return self._cancelled

    @property
    def final(self) -> Ending | None:
        """How it ended; ``None`` while it has not."""
        return self._final

    def put(self, event: Event) -> None:
        """The engine's side: something happened. After the final event nothing does."""
        with self._new:
            if self._final is not None:
                return
            if self._waiting and isinstance(event, _LATEST_ONLY) and isinstance(self._waiting[-1], _LATEST_ONLY):
                self._waiting.pop()
            self._waiting.append(event)
            if isinstance(event, Ending):
                self._final = event
            self._new.notify_all()
            heard = _nothing if isinstance(event, self._quiet) else self._heard
        heard()

    def poll(self) -> list[Event]:
        """The events that nobody has read yet, without waiting."""
        with self._new:
            events, self._waiting = list(self._waiting), deque()
        return events

    def __iter__(self) -> Iterator[Event]:
        while True:
            with self._new:
                self._new.wait_for(lambda: self._waiting or self._final is not None)
            events = self.poll()
            yield from events
            if not events or isinstance(events[-1], Ending):
                return

    def result(self, timeout: float | None = None) -> Done:
        """Wait for the end, reading nothing.

        Raises:
            TimeoutError: it did not end within ``timeout`` seconds. RequestCancelled: it was taken back. Exception:
                what made it fail.
        """
        start = time.monotonic()
        with self._new:
            if not self._new.wait_for(lambda: self._final is not None, timeout):
                raise TimeoutError(f"not done after {time.monotonic() - start:.1f} s; it goes on unless cancelled")
        final = self._final
        if isinstance(final, Failed):
            raise final.error
        if not isinstance(final, Done):
            raise RequestCancelled("the request was cancelled")
        return final

    async def follow(self, quiet: tuple[type[Event], ...] = ()) -> AsyncIterator[Event]:
        """The events, in asyncio. Leaving before the end (a client that is gone, a cancelled task) cancels the request.

        Events of the ``quiet`` kinds wake nobody; they are told with the next that does. (Hundreds who wait, all woken
        whenever one of them moves up, are work.)

        Close the iterator where it is left early (``contextlib.aclosing``), or that happens only when it is collected.
        """
        loop, heard = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody reads any more
                loop.call_soon_threadsafe(heard.set)

        with self._new:
            self._heard, self._quiet = wake, quiet
        try:
            while True:
                heard.clear()
                events = self.poll()
                for event in events:
                    yield event
                if self._final is not None and not self._waiting:
                    return
                if not events:
                    await heard.wait()
        finally:
            with self._new:
                self._heard = _nothing
            if self._final is None:
                self.cancel()
