"""What a training needs, from two thin models of its kind: memory, arithmetic and time grow in a straight line with
the number of blocks, so a model of 2 and one of 4 blocks say what any number takes.

Shapes: B images.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

Step = Callable[[], Tensor]
"""The loss of one batch."""


@dataclass(frozen=True)
class Measured:
    """One step of a thin model: forward and backward."""

    activations: float
    """Bytes kept for the backward pass, parameters not counted."""
    flops: float
    """Multiplications and additions of matrix products and attention, forward and backward."""
    seconds: float
    parameters: float


@dataclass(frozen=True)
class Estimate:
    """Of a whole training, in bytes; float32 weights, AdamW."""

    parameters: int
    batch: int
    weights: int
    gradients: int
    optimizer: int
    average: int
    activations: int
    cache: int
    """Keys and values of one picture drawn under guidance, in float32."""
    flops: float
    """Of one step."""
    seconds: float
    """Of one step."""

    @property
    def total(self) -> int:
        """Memory of training at its highest, without what the runtime itself takes."""
        return self.weights + self.gradients + self.optimizer + self.average + self.activations


def measure(model: nn.Module, step: Step, repeat: int = 2) -> Measured:
    """Runs ``step`` and its backward pass ``repeat`` times; the fastest counts. Gradients are left at ``None``."""
    own = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    best = float("inf")
    for _ in range(max(1, repeat)):
        kept.clear()
        began = time.perf_counter()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = step()
        loss.backward()  # type: ignore[no-untyped-call]
        _wait(loss.device)
        best = min(best, time.perf_counter() - began)
        model.zero_grad(set_to_none=True)
    with FlopCounterMode(display=False) as counter:
        step().backward()  # type: ignore[no-untyped-call]
    model.zero_grad(set_to_none=True)
    return Measured(
        sum(kept.values()),
        counter.get_total_flops(),
        best,
        sum(p.numel() for p in model.parameters() if p.requires_grad),
    )


def on_line(first: Measured, second: Measured, at: tuple[int, int], where: int) -> Measured:
    """What is to be expected at ``where`` (blocks, or images), on the line through what was measured ``at`` two
    others."""
    share = (where - at[0]) / (at[1] - at[0])
    found = ((getattr(first, f.name), getattr(second, f.name)) for f in fields(Measured))
    return Measured(*(max(0.0, low + share * (high - low)) for low, high in found))


def whole(step: Measured, batch: int, cache: int, average: bool = True) -> Estimate:
    """The training whose step, at ``batch`` images, is ``step``. Without ``average`` no averaged weights are kept."""
    count = round(step.parameters)
    return Estimate(
        count, batch, weights=4 * count, gradients=4 * count, optimizer=8 * count, average=4 * count * average,
        activations=round(step.activations), cache=cache, flops=step.flops, seconds=step.seconds,
    )  # fmt: skip


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device).synchronize(device)
