"""How far a long run has come: a line that is rewritten on a terminal, and now and then a new line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TextIO

WIDTH = 24


class Progress:
    """``step  [######........]  120/2000  loss 3.412  37.5 img/s  ETA 0:14:03``.

    Args:
        total: steps in all. start: steps done before.
        what: names a step. batch, unit: how much of what a step makes; without a ``unit`` no speed is told.
        stream: standard error unless given. every: seconds between two lines where it is no terminal; ``None``: no
            lines there. quiet: say nothing at all.
    """

    def __init__(
        self,
        total: int,
        start: int = 0,
        *,
        what: str = "step",
        batch: int = 1,
        unit: str = "",
        stream: TextIO | None = None,
        every: float | None = None,
        quiet: bool = False,
    ) -> None:
        self.total, self.start, self.what, self.batch, self.unit = total, start, what, batch, unit
        self.stream = stream if stream is not None else sys.stderr
        self.live = self.stream.isatty()
        self.pause = 0.1 if self.live else every
        self.quiet = quiet or self.pause is None
        self.began = self.told = time.monotonic()
        self.width = 0

    def speed(self, step: int) -> float:
        """Units a second since the run (or its resumption) began."""
        return (step - self.start) * self.batch / max(1e-9, time.monotonic() - self.began)

    def tell(self, step: int, values: Mapping[str, float] | None = None, end: bool = False) -> None:
        """Say that ``step`` steps are done, unless something was said a moment ago; ``end`` is always said."""
        now = time.monotonic()
        if self.quiet or self.pause is None or (not end and now - self.told < self.pause):
            return
        self.told = now
        line = self._line(step, values or {})
        if self.live:
            self.stream.write("\r" + line.ljust(self.width) + ("\n" if end else ""))
            self.width = len(line)
        else:
            self.stream.write(line + "\n")
        self.stream.flush()

    def clear(self) -> None:
        """Take the line off the terminal, so that what follows stands in its place."""
        if self.live and self.width:
            self.stream.write("\r" + " " * self.width + "\r")
            self.stream.flush()
            self.width = 0

    def _line(self, step: int, values: Mapping[str, float]) -> str:
        speed = self.speed(step)
        left = int((self.total - step) * self.batch / max(speed, 1e-9))
        filled = WIDTH * step // max(1, self.total)
        bar = f"[{'#' * filled}{'.' * (WIDTH - filled)}]  " if self.live else ""
        parts = [f"{self.what} {bar}{step}/{self.total}", *(f"{k} {v:.4g}" for k, v in values.items())]
        if self.unit:
            parts.append(f"{speed:.1f} {self.unit}/s")
        return "  ".join([*parts, f"ETA {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}"])
