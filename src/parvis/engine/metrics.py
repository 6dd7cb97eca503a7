"""What the engine counts: for a metrics page, and for anyone who wonders why it is slow."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, fields

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)


@dataclass
class Histogram:
    """How often a number fell where.

    Attributes:
        bounds: upper ends (inclusive) of all intervals but the last, which has none. counts: one more than bounds.
        total: the sum of what was seen.
    """

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def see(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def __add__(self, other: Histogram) -> Histogram:
        both = zip(self.counts, other.counts, strict=True)
        return Histogram(self.bounds, [ours + theirs for ours, theirs in both], self.total + other.total)

    @property
    def count(self) -> int:
        """How many numbers were seen."""
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """Their mean; 0 where there were none."""
        return self.total / self.count if self.count else 0.0


@dataclass
class Metrics:
    """Since the engine was made.

    Attributes:
        submitted, rejected: requests taken, and refused because the queue was full.
        done, failed, cancelled: how requests ended; expired: those of the failed that were out of time.
        waiting, running: requests now. cache_bytes: that those running hold.
        steps: passes of the engine; passes: of requests, summed. tokens: of the pictures done.
        step_seconds: of a step that ran anything. batch: requests that shared a run through a model.
        queue_seconds: from the submission to the first pass. request_seconds: to the end, of those done.
        partial_seconds: to the first unfinished picture.
    """

    submitted: int = 0
    rejected: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    waiting: int = 0
    running: int = 0
    cache_bytes: int = 0
    steps: int = 0
    passes: int = 0
    tokens: int = 0
    step_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    batch: Histogram = field(default_factory=lambda: Histogram(SIZES))
    queue_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    request_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    partial_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))

    def __add__(self, other: Metrics) -> Metrics:
        names = [one.name for one in fields(self)]
        return Metrics(**{name: getattr(self, name) + getattr(other, name) for name in names})
