"""Every error that Parvis raises on purpose.

    ParvisError                 exit code of the command line: 1
    ├── UsageError              the call is wrong (also a ValueError): exit code 2
    │   ├── UnknownName         a name that is not in the list; suggests the nearest
    │   └── IncompatibleParts   parts of a system that do not fit together
    ├── WeightsError            a checkpoint that is truncated, damaged, of another shape or hostile
    ├── DataError               a data set or code cache that is missing, damaged or does not match
    ├── TrainingError           training cannot go on (loss not finite, checkpoint of another run)
    │   └── Stopped             a signal ended it, after a checkpoint: exit code 128 + signal
    └── OutputError             a result cannot be written

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
