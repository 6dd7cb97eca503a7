"""How a run trains: one frozen bundle, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from torch import nn

from parvis.errors import UsageError
from parvis.train.checkpoint import shape_hash
from parvis.train.optim import Name
from parvis.train.rates import SCHEDULES, Schedule

LOOSE = {
    "out", "checkpoint_every", "checkpoint_seconds", "keep", "sample_every", "log_every", "device", "timeout",
    "trackers", "shard", "gradient_checkpointing", "compile",
}  # fmt: skip
"""Settings that may change between a checkpoint and the run that goes on from it."""


@dataclass(frozen=True)
class FitConfig:
    """How to train; what to train is given to :func:`fit`."""

    steps: int
    batch: int
    """Images per step, for the speed that is shown; ``batches`` decides what a step holds."""
    lr: float = 1e-3
    warmup: int = 100
    schedule: Schedule = "cosine"
    decay: float = 0.2
    """Share of the steps that all schedules but ``cosine`` go down over."""
    floor: float = 0.03
    """Learning rate at the end, as a share of ``lr``."""
    weight_decay: float = 0.05
    last_weight_decay: float | None = None
    """What it grows or falls to, by half a cosine over the whole run; None leaves it."""
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    """Limit of the gradient norm; 0 for none."""
    skip_above: float | None = None
    """From step 100 on, a step whose gradient norm (before the limit) is greater changes no weight; None for none.
    Costs a look at the norm in every step."""
    ema: float = 0.999
    """0 for none."""
    optimizer: Name = "adamw"
    """``muon`` computes in bfloat16 whatever ``precision`` says."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bfloat16 is slower than float32 on CPUs without instructions for it (avx512_bf16 or amx_bf16)."""
    accumulate: int = 1
    """A step's batch is taken in this many parts, each with randomness of its own. Processes share the parts: with a
    number that the count of processes divides, a run is the same on one process and on several. With another, as many
    parts more are made as they need."""
    shard: bool = False
    """Divide weights, gradients and optimizer state among the processes (FSDP2) instead of copying them (DDP)."""
    gradient_checkpointing: bool = False
    """Compute what is inside the blocks again in the backward pass instead of keeping it: less memory, more time."""
    compile: bool = False
    """``torch.compile`` each block: rounds differently, so a run is exact only against one that does the same."""
    timeout: float = 1800.0
    """Seconds after which a process that does not answer ends the others; one that died does at once. Evaluation and
    samples, which the main process makes alone, must take less."""
    seed: int = 0
    device: str = "cpu"
    out: Path | None = None
    """Folder for checkpoints, metrics and logs; None keeps nothing."""
    checkpoint_every: int = 1000
    checkpoint_seconds: float = 600.0
    """A checkpoint also when this long has passed since the last; 0 for never."""
    keep: int = 2
    sample_every: int = 0
    log_every: int = 10
    trackers: tuple[Any, ...] = ()
    """Trackers beside TensorBoard: names that accelerate knows (``wandb``, ``trackio``, ...) or its objects."""
    identity: Mapping[str, str] = field(default_factory=dict)
    """What else makes this run this run (the hash of its codes, its architecture): a checkpoint with another identity
    is refused."""

    def __post_init__(self) -> None:
        least = {
            "steps": 1,
            "batch": 1,
            "accumulate": 1,
            "keep": 1,
            "log_every": 1,
            "checkpoint_every": 1,
            "sample_every": 0,
            "warmup": 0,
            "lr": 0,
            "clip": 0,
            "weight_decay": 0,
            "timeout": 1,
        }
        wrong = [
            f"{k} = {getattr(self, k)} (at least {low})" for k, low in least.items() if not getattr(self, k) >= low
        ]
        wrong += [
            f"{k} = {getattr(self, k)} (0 to 1)" for k in ("ema", "floor", "decay") if not 0 <= getattr(self, k) <= 1
        ]
        choices = {"schedule": tuple(SCHEDULES), "optimizer": ("adamw", "muon"), "precision": ("fp32", "bf16")}
        wrong += [
            f"{k} = {getattr(self, k)!r} ({' or '.join(c)})" for k, c in choices.items() if getattr(self, k) not in c
        ]
        above_0 = {"skip_above": self.skip_above, "last_weight_decay": self.last_weight_decay}
        wrong += [f"{k} = {v} (above 0, or None)" for k, v in above_0.items() if v is not None and not v > 0]
        if self.last_weight_decay is not None and not self.weight_decay:
            wrong.append("last_weight_decay with weight_decay = 0 (nothing to start from: give a small one)")
        if self.schedule == "stairs" and not self.floor:
            wrong.append("schedule = 'stairs' with floor = 0 (every fall is by the same factor: above 0)")
        if self.shard and self.optimizer == "muon":
            wrong.append("optimizer = 'muon' with shard = True (it needs whole matrices: adamw)")
        if wrong:
            raise UsageError("training cannot start with " + "; ".join(wrong))

    def fingerprint(self, model: nn.Module) -> dict[str, Any]:
        """What a checkpoint must agree on. The number of steps may change under ``wsd`` and ``wsd-cosine``, whose rates
        do not depend on it before the decay."""
        fixed = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in LOOSE}
        if self.schedule in ("wsd", "wsd-cosine") and self.last_weight_decay is None:
            fixed = {name: value for name, value in fixed.items() if name not in ("steps", "decay")}
        return {**fixed, "betas": list(self.betas), "identity": dict(self.identity), "shapes": shape_hash(model)}
