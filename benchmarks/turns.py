"""Two programs measured as if each had the machine to itself, at the same time.

Each is a process of its own. They are let run in turns of a tenth of a second, one stopped (SIGSTOP) while the other
runs, until both are done; each has a clock that stands still while it is stopped. So both meet a machine whose speed
wanders in the same moods, and whatever threads they have run as they would alone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

SLICE = 0.1
"""Seconds that a program runs at a stretch."""


class Clock:
    """Seconds that this program has run."""

    def __init__(self, stopped: Any) -> None:
        self._stopped = stopped

    def __call__(self) -> float:
        return time.monotonic() - float(self._stopped.value)

    def sleep_until(self, moment: float) -> None:
        while (left := moment - self()) > 0:
            time.sleep(left)


class Side:
    """One of the programs.

    Args:
        build: made in its process once, given the clock; what it returns is asked for results by name.
    """

    def __init__(self, build: Callable[..., Any], *given: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._stopped = context.Value("d", 0.0)
        self._since = 0.0
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._stopped, build, given), daemon=True)
        self._process.start()
        self._ours.recv()

    def ask(self, name: str, *given: Any) -> None:
        """Have ``name(*given)`` called; it stops at once, for :func:`abreast` to let it run."""
        self.stop()
        self._ours.send((name, given))

    def stop(self) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)
        self._since = time.monotonic()

    def go_on(self) -> None:
        assert self._process.pid is not None
        self._stopped.value += time.monotonic() - self._since
        os.kill(self._process.pid, signal.SIGCONT)

    def done(self, wait: float) -> bool:
        """Whether it has an answer within ``wait`` seconds."""
        return self._ours.poll(wait)

    def answer(self) -> Any:
        answer = self._ours.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.join()


@contextmanager
def sides(*builds: tuple[Any, ...]) -> Iterator[list[Side]]:
    """Programs, each of a function and its arguments."""
    made = [Side(*build) for build in builds]
    try:
        yield made
    finally:
        for side in made:
            side.close()


def abreast(asked: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Answers of ``(side, name, *given)`` each, found in turns."""
    for side, name, *given in asked:
        side.ask(name, *given)
    answers: dict[int, Any] = {}
    while len(answers) < len(asked):
        for index, (side, *_) in enumerate(asked):
            if index in answers:
                continue
            side.go_on()
            if side.done(SLICE):
                answers[index] = side.answer()
            else:
                side.stop()
    return [answers[index] for index in range(len(asked))]


def _serve(pipe: Connection, stopped: Any, build: Callable[..., Any], given: tuple[Any, ...]) -> None:
    made = build(Clock(stopped), *given)
    pipe.send(None)
    while True:
        name, arguments = pipe.recv()
        try:
            pipe.send(getattr(made, name)(*arguments))
        except Exception as error:
            pipe.send(error)
