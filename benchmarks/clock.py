"""How the benchmarks measure: medians of interleaved runs, and where the time of a run goes."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import torch


def clock() -> Callable[[], float]:
    """Processor time where torch runs on one thread (a neighbour's turns do not count), else the wall's."""
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def machine(now: Callable[[], float] | None = None) -> str:
    """What the numbers below were taken with, in one line; timed by ``now``, the usual clock unless given."""
    told = f"torch {torch.__version__}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    return f"{told}, seconds of {(now or clock()).__name__}"


def interleaved(runs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every run, in turns, so that a busy neighbour slows all of them alike; one untimed round first."""
    now = clock()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            start = now()
            run()
            if turn:
                seconds[name].append(now() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], above: str, below: str) -> str:
    """Ratio of two runs: of their medians, of their best times, and of each turn."""
    turns = sorted(a / b for a, b in zip(seconds[above], seconds[below], strict=True))
    middle = statistics.median(seconds[above]) / statistics.median(seconds[below])
    best = min(seconds[above]) / min(seconds[below])
    return f"{middle:.2f} (best times {best:.2f}, turns {turns[0]:.2f} to {turns[-1]:.2f})"


def medians(runs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of every run, see :func:`interleaved`."""
    return {name: statistics.median(times) for name, times in interleaved(runs, repeats).items()}


class Split:
    """Time by label, each label without what other labels inside it take (about a microsecond per call)."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: defaultdict[str, int] = defaultdict(int)
        self._inner = [0.0]
        self._now = clock()

    def timed(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            self._inner.append(0.0)
            start = self._now()
            try:
                return function(*given, **named)
            finally:
                took = self._now() - start
                self.seconds[label] += took - self._inner.pop()
                self.calls[label] += 1
                self._inner[-1] += took

        return run

    def during(self, run: Callable[[], object], places: Mapping[tuple[Any, str], str]) -> None:
        """Run with the functions ``(owner, name) -> label`` timed; the rest is labelled ``other``."""
        with ExitStack() as stack:
            for (owner, name), label in places.items():
                stack.enter_context(patch.object(owner, name, self.timed(label, getattr(owner, name))))
            self.timed("other", run)()
