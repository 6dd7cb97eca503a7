"""What the engine is asked for, and how much it may hold at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from parvis.edit import Edit
from parvis.errors import UsageError
from parvis.request import Request
from parvis.system import System


class Drawer(Protocol):
    """What the engine needs of a pipeline."""

    system: System
    device: torch.device


@dataclass(frozen=True, eq=False)
class Work:
    """One picture, please.

    Attributes:
        model: which of the engine's pipelines draws it.
        request: of one picture; ``Pipeline.requests`` makes it.
        edit: whose kept pixels are pasted over what was drawn.
        key: on whose behalf; keys take turns, so that one with many requests does not hold up the others.
        partials: how many pictures of the unfinished canvas to show on the way, evenly spread over the passes; each
            costs one decoding. None are shown where the number of passes is not known beforehand (Jacobi).
        deadline: seconds from the submission within which it must be done; ``None``: no limit.

    Raises:
        UsageError: not one picture, or a number that means nothing.
    """

    model: str
    request: Request
    edit: Edit | None = None
    key: str = ""
    partials: int = 0
    deadline: float | None = None

    def __post_init__(self) -> None:
        if self.request.batch != 1:
            raise UsageError(f"a request is for one picture; got {self.request.batch}: submit one for each")
        if self.partials < 0:
            raise UsageError(f"partials is how many unfinished pictures to show, 0 or more; got {self.partials}")
        if self.deadline is not None and not self.deadline > 0:
            raise UsageError(f"deadline is a number of seconds above 0; got {self.deadline}")


@dataclass(frozen=True)
class Budget:
    """How much may run at once.

    Attributes:
        slots: requests. cache_bytes: of their caches together; ``None``: no limit but the slots.

    Raises:
        UsageError: a number below 1.
    """

    slots: int = 32
    cache_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.slots < 1 or (self.cache_bytes is not None and self.cache_bytes < 1):
            raise UsageError(f"slots and cache_bytes are at least 1; got {self.slots} and {self.cache_bytes}")
