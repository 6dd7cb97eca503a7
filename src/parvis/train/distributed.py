"""The processes of one run: who is there, what they tell each other, how a model is spread over them.

``torchrun`` and ``accelerate launch`` start the processes and say so in the environment; Hugging Face accelerate makes
the process group and picks the device. Decisions and reports go over a CPU group (gloo), beside the gradients: asking
never waits for an accelerator, and a process that has died is noticed at the next step. One process needs neither
accelerate nor any of this.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist

from parvis.errors import DataError, OutputError, TrainingError, UsageError, WeightsError

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class World:
    """The processes of a run as one of them sees it. All of them must call its methods, in the same order.

    Attributes:
        rank, size: this process among how many. device: where it computes.
        shard: weights, gradients and optimizer state are divided among the processes (FSDP2).
        accelerator: accelerate's object; ``None`` for one process. group: the CPU group.
    """

    rank: int
    size: int
    device: torch.device
    shard: bool = False
    accelerator: Any = None
    group: Any = None

    @property
    def main(self) -> bool:
        """Whether this process writes what the run writes once."""
        return self.rank == 0

    def any(self, *flags: bool) -> list[bool]:
        """For every flag, whether it is up in some process."""
        if self.size == 1:
            return list(flags)
        return [value > 0 for value in self.reduce([float(flag) for flag in flags], "max")]

    def reduce(self, values: Sequence[float], how: Literal["sum", "max", "min"]) -> list[float]:
        """Element by element over the processes, in float64."""
        if self.size == 1:
            return list(values)
        held = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(held, getattr(dist.ReduceOp, how.upper()), group=self.group)
        return list(held.tolist())

    def total(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sums over the processes, which must all have the same names."""
        names = sorted(values)
        return dict(zip(names, self.reduce([values[name] for name in names], "sum"), strict=True))

    def share(self, act: Callable[[], T]) -> T:
        """What ``act`` returns in the main process, which alone runs it; if it fails there, all of them fail."""
        if self.size == 1:
            return act()
        told: T = self.every(act if self.main else _nothing)[0]
        return told

    def every(self, act: Callable[[], T]) -> list[T]:
        """What ``act`` returns in every process, by rank; if it fails in one, all of them fail."""
        if self.size == 1:
            return [act()]
        result, error = None, None
        try:
            result = act()
        except Exception as e:
            error = e
        told: list[Any] = [None] * self.size
        dist.all_gather_object(told, (error and (_kind(error), str(error)), result), group=self.group)
        if error is not None:
            raise error
        for rank, (failed, _) in enumerate(told):
            if failed is not None:
                raise failed[0](f"process {rank} of {self.size}: {failed[1]}")
        return [result for _, result in told]


ALONE = World(0, 1, torch.device("cpu"))


def launched() -> int:
    """How many processes the launcher says there are; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def main_process() -> bool:
    """Whether this process is the one that writes; before and after training too."""
    return launched() == 1 or int(os.environ.get("RANK", "0")) == 0


@contextmanager
def main_first(device: str = "cpu", timeout: float = 1800.0) -> Iterator[None]:
    """The main process goes through the block first (it makes a cache, say), then the others (they find it)."""
    world = join(device, timeout=timeout)
    if not world.main:
        world.share(_nothing)
    failed: list[BaseException] = []
    try:
        yield
    except BaseException as error:
        failed.append(error)
        raise
    finally:
        if world.main:
            world.share(lambda: _again(failed))


def join(device: str, shard: bool = False, timeout: float = 1800.0, trackers: Sequence[Any] = ()) -> World:
    """This process's view of the run it was started in; makes the process group at the first call.

    Args:
        device: ``cpu`` or an accelerator's; of several, each process takes that of its local rank.
        shard: divide the model; ``accelerate launch --use_fsdp`` asks for it too.
        timeout: seconds without an answer after which a process is given up. trackers: for accelerate's ``log_with``.

    :raises UsageError: several processes, or trackers, and accelerate is not installed
    """
    size = launched()
    if size == 1 and not trackers:
        return World(0, 1, torch.device(device))
    accelerate = _accelerate("several processes" if size > 1 else "trackers")
    utils = importlib.import_module("accelerate.utils")
    handlers = [utils.InitProcessGroupKwargs(timeout=timedelta(seconds=timeout))] if size > 1 else []
    if size > 1:
        handlers.append(utils.DistributedDataParallelKwargs(find_unused_parameters=True))
    try:
        accelerator = accelerate.Accelerator(
            cpu=torch.device(device).type == "cpu",
            mixed_precision="no",
            log_with=list(trackers) or None,
            kwargs_handlers=handlers,
        )
    except ValueError as error:
        raise UsageError(f"accelerate refuses the trackers {trackers} or the way this was launched: {error}") from error
    if size == 1:
        return World(0, 1, torch.device(device), accelerator=accelerator)
    shard = shard or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    return World(
        accelerator.process_index,
        accelerator.num_processes,
        accelerator.device,
        shard,
        accelerator,
        _cpu_group(timeout),
    )


_groups: list[Any] = []


def _cpu_group(timeout: float) -> Any:
    """The run's gloo group; made once, since making one is a collective act."""
    if not _groups:
        gloo = dist.get_backend() == "gloo"
        _groups.append(dist.group.WORLD if gloo else dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout)))
    return _groups[0]


def _accelerate(what: str) -> Any:
    try:
        return importlib.import_module("accelerate")
    except ModuleNotFoundError as error:
        raise UsageError(f"{what} need the package accelerate ({error}): pip install 'parvis[train]'") from error


def lost(error: BaseException) -> bool:
    """Whether ``error`` says that another process does not answer any more."""
    if isinstance(error, dist.DistError):
        return True
    signs = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def _kind(error: Exception) -> type[Exception]:
    """The error that the other processes raise for this one."""
    plain = (OutputError, DataError, WeightsError, UsageError)
    return next((kind for kind in plain if isinstance(error, kind)), TrainingError)


def _nothing() -> Any:
    return None


def _again(errors: Sequence[BaseException]) -> None:
    for error in errors:
        raise TrainingError(str(error)) from error
