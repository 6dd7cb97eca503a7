"""What a step uses of the highest learning rate, and of the weight decay: functions of the step alone.

Each schedule is a function ``(step, steps, warmup, floor, decay) -> factor`` for the steps behind the warm-up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

Schedule = Literal["cosine", "wsd", "wsd-cosine", "stairs"]
STAIRS = 3


def rate(
    step: int, steps: int, warmup: int, schedule: Schedule = "cosine", floor: float = 0.03, decay: float = 0.2
) -> float:
    """Factor on the learning rate at ``step`` (from 0): a linear warm-up, then the ``schedule``, which ends at
    ``floor``. ``decay`` is the share of the steps that all but ``cosine`` go down over."""
    if step < warmup:
        return (step + 1) / warmup
    return SCHEDULES[schedule](step, steps, warmup, floor, decay)


def cosine(step: int, steps: int, warmup: int, floor: float, decay: float) -> float:
    """Half a cosine from 1 behind the warm-up to ``floor`` at the last step."""
    return fall((step - warmup) / max(1, steps - 1 - warmup), floor)


def wsd(step: int, steps: int, warmup: int, floor: float, decay: float) -> float:
    """Warm-up, stable, decay: 1, then over the last ``decay`` of the steps a straight line to ``floor``. Such a run can
    be continued from before its decay."""
    left = (steps - 1 - step) / max(1.0, decay * steps)
    return floor + (1 - floor) * max(0.0, min(1.0, left))


def wsd_cosine(step: int, steps: int, warmup: int, floor: float, decay: float) -> float:
    """As ``wsd``, but down by half a cosine (LPD, arXiv 2507.01957, section 4.1)."""
    return fall(1 - (steps - 1 - step) / max(1.0, decay * steps), floor)


def stairs(step: int, steps: int, warmup: int, floor: float, decay: float) -> float:
    """1, then three equal falls to ``floor``, the first where the last ``decay`` of the steps begins, one each third of
    it: with ``decay`` 1/2 and ``floor`` 0.008 a fifth at 1/2, 2/3 and 5/6 of the run (NAR, arXiv 2503.10696)."""
    begin = (1 - decay) * steps
    thirds = STAIRS * (step - begin) / max(1.0, decay * steps)
    taken = 0 if thirds < -1e-9 else min(STAIRS, 1 + math.floor(thirds + 1e-9))
    return float(floor ** (taken / STAIRS))


def fall(done: float, last: float, first: float = 1.0) -> float:
    """Half a cosine from ``first`` at 0 to ``last`` at 1; constant outside."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, done))))


def weight_decay(step: int, steps: int, first: float, last: float | None) -> float:
    """Half a cosine from ``first`` to ``last`` over the whole run (VAR's deep models); constant without ``last``."""
    return first if last is None else fall(step / max(1, steps - 1), last, first)


SCHEDULES: dict[str, Callable[[int, int, int, float, float], float]] = {
    "cosine": cosine,
    "wsd": wsd,
    "wsd-cosine": wsd_cosine,
    "stairs": stairs,
}

__all__ = ["SCHEDULES", "Schedule", "cosine", "fall", "rate", "stairs", "weight_decay", "wsd", "wsd_cosine"]
