"""Every error that Parvis raises on purpose.

    ParvisError                 exit code of the command line: 1
    ├── UsageError              the call is wrong (also a ValueError): exit code 2
    │   ├── UnknownName         a name that is not in the list; suggests the nearest
    │   └── IncompatibleParts   parts of a system that do not fit together
    ├── WeightsError            a checkpoint that is truncated, damaged, of another shape or hostile
    ├── DataError               a data set or code cache that is missing, damaged or does not match
    ├── TrainingError           training cannot go on (loss not finite, checkpoint of another run)
    │   └── Stopped             a signal ended it, after a checkpoint: exit code 128 + signal
    ├── OutputError             a result cannot be written
    └── ServingError            a request that the engine did not finish
        ├── QueueFull           too many wait already; says when to come again
        ├── EngineStopped       the engine takes no more, or stopped before this one was done
        ├── DeadlinePassed      not done within the time that was given
        └── RequestCancelled    taken back by whoever asked

Each message says what was given, what was expected and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ParvisError(Exception):
    """Base of all; catch this to catch everything Parvis raises on purpose."""

    exit_code = 1


class UsageError(ParvisError, ValueError):
    """The arguments are wrong: nothing was started."""

    exit_code = 2


class UnknownName(UsageError):
    """``given`` is not one of ``known``: the message suggests the nearest names."""

    def __init__(self, kind: str, given: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(given, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else f"known: {', '.join(names)}"
        super().__init__(f"unknown {kind} {given!r}; {hint}")
        self.given, self.nearest = given, tuple(near)


class IncompatibleParts(UsageError):
    """Parts of a :class:`~parvis.System` that cannot work together."""


class WeightsError(ParvisError):
    """A weights file that cannot be used."""


class DataError(ParvisError):
    """A data set or code cache that cannot be used."""


class TrainingError(ParvisError):
    """Training stopped; the last good checkpoint is kept."""


class Stopped(TrainingError):
    """Training ended because the process was told to (SIGTERM, SIGINT); a checkpoint was written first."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal


class OutputError(ParvisError):
    """A result could not be written; nothing half written is left."""


class ServingError(ParvisError):
    """A request that the engine did not finish."""


class QueueFull(ServingError):
    """Too many requests wait already: nothing was queued. ``retry_after``: seconds after which to come again."""

    def __init__(self, waiting: int, retry_after: float) -> None:
        super().__init__(f"{waiting} requests wait already, the most that may; try again in {retry_after:.0f} s")
        self.retry_after = retry_after


class EngineStopped(ServingError):
    """The engine takes no more requests, or stopped before this one was done."""


class DeadlinePassed(ServingError):
    """The request was not done within the time that it was given."""


class RequestCancelled(ServingError):
    """The request was taken back by whoever asked."""
