"""How long pipelines take beside each other: medians of interleaved runs, after a warm-up.

A busy neighbour slows all contestants alike when they take turns, so ratios are steadier than seconds. Both clocks are
kept: the wall's, which is what a user waits, and the processor's, which a neighbour's turns do not count in.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

from parvis.errors import UsageError

Made = TypeVar("Made")


@dataclass(frozen=True)
class Latency:
    """Seconds of one contestant at one batch size, one entry per turn, all turns in step with the others'."""

    name: str
    batch: int
    wall: tuple[float, ...]
    processor: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """Median wall time."""
        return statistics.median(self.wall)

    @property
    def processor_seconds(self) -> float:
        """Median time of the processor, all threads of this process together."""
        return statistics.median(self.processor)

    def over(self, other: Latency) -> Times:
        """How many times longer this contestant takes than ``other`` of the same race and batch."""
        turns = sorted(a / b for a, b in zip(self.wall, other.wall, strict=True))
        processor = self.processor_seconds / other.processor_seconds if other.processor_seconds else None
        return Times(self.seconds / other.seconds, turns[0], turns[-1], processor)


@dataclass(frozen=True)
class Times:
    """A ratio of median wall times, the least and the greatest of a single turn, and the ratio on the processor's
    clock (``None`` where that clock did not move)."""

    wall: float
    least: float
    greatest: float
    processor: float | None


def race(
    contestants: Mapping[str, Callable[[int], object]],
    batches: Sequence[int] = (1, 8),
    repeats: int = 7,
    warm_up: int = 1,
) -> list[Latency]:
    """Time ``contestant(batch)`` for every batch size; it must return when the pictures are there.

    Contestants take turns, and every second round goes in the opposite order. ``warm_up`` rounds are not counted.

    :raises UsageError: nobody to time, or less than one repeat
    """
    if not contestants or repeats < 1 or warm_up < 0 or not batches or min(batches) < 1:
        raise UsageError(
            f"a race needs contestants, batches of 1 or more and one repeat or more; got {len(contestants)} "
            f"contestants, batches {list(batches)}, {repeats} repeats"
        )
    found = []
    for batch in batches:
        wall: dict[str, list[float]] = {name: [] for name in contestants}
        processor: dict[str, list[float]] = {name: [] for name in contestants}
        for turn in range(warm_up + repeats):
            for name in list(contestants)[:: -1 if turn % 2 else 1]:
                start = time.perf_counter(), time.process_time()
                contestants[name](batch)
                end = time.perf_counter(), time.process_time()
                if turn >= warm_up:
                    wall[name].append(end[0] - start[0])
                    processor[name].append(end[1] - start[1])
        found += [Latency(name, batch, tuple(wall[name]), tuple(processor[name])) for name in contestants]
    return found


def split(run: Callable[[], Made], places: Mapping[str, Sequence[tuple[object, str]]]) -> tuple[Made, dict[str, float]]:
    """What one run gives, and its wall seconds by part, what is in no part as ``rest``; parts must not lie inside one
    another.

    Args:
        places: part -> (object, name of its method). They are timed for this run, and waited for on accelerators.
    """
    seconds = dict.fromkeys(places, 0.0)
    with ExitStack() as stack:
        for part, methods in places.items():
            for owner, name in methods:
                stack.enter_context(_timed(owner, name, part, seconds))
        start = time.perf_counter()
        made = run()
        whole = time.perf_counter() - start
    return made, {**seconds, "rest": whole - sum(seconds.values())}


@contextmanager
def _timed(owner: object, name: str, part: str, seconds: dict[str, float]) -> Iterator[None]:
    method = getattr(owner, name)

    def timed(*given: object, **named: object) -> object:
        settle()
        start = time.perf_counter()
        try:
            return method(*given, **named)
        finally:
            settle()
            seconds[part] += time.perf_counter() - start

    setattr(owner, name, timed)
    try:
        yield
    finally:
        delattr(owner, name)


def settle() -> None:
    """Wait until the accelerator has done what it was given; at once where none is used."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
