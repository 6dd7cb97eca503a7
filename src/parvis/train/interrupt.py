"""SIGTERM and SIGINT while training: noticed at once, acted upon when the step is done."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
IMPATIENCE = 2.0
"""Seconds after which a second signal is meant: launchers pass on what the terminal has sent to all already."""


class Interrupt:
    """Inside the block the first signal is only kept in ``number``; one that comes two seconds later or more does what
    it did before. Does nothing outside of the main thread, where Python delivers no signals."""

    def __init__(self, on: bool = True) -> None:
        self.number: int | None = None
        self.on, self.before, self.since = on, dict[int, Any](), 0.0

    def __enter__(self) -> Interrupt:
        if self.on and threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._caught) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def _caught(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number, self.since = number, time.monotonic()
        elif time.monotonic() - self.since >= IMPATIENCE:
            self.__exit__(None, None, None)
            os.kill(os.getpid(), number)
