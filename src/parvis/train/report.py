"""What a run reports: means of its metrics, a line per report in ``metrics.jsonl``, TensorBoard where it is
installed, other trackers through accelerate."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from parvis.errors import OutputError, TrainingError
from parvis.files import write_bytes
from parvis.train.distributed import ALONE, World


@dataclass(frozen=True)
class Seen:
    """What an ``on_sample`` may return, to be reported with the metrics: numbers and pictures by name."""

    values: Mapping[str, float] = field(default_factory=dict)
    pictures: Mapping[str, Image.Image] = field(default_factory=dict)


class Meter:
    """Means of a run's metrics between two reports, kept on its device: adding never waits for it, reading does.

    Every process adds its share of each metric; the sum over processes is the metric. All must read and check together.
    """

    def __init__(self, world: World = ALONE) -> None:
        self.world = world
        self.sums: dict[str, Tensor] = {}
        self.count = 0
        self.last: dict[str, float] = {}
        self.first_bad = torch.full((), -1, dtype=torch.long, device=world.device)

    def add(self, step: int, metrics: Mapping[str, Tensor]) -> None:
        """Adds one step's metrics, ``loss`` and ``grad`` among them, and remembers the first step where these two are
        not finite."""
        for name, value in metrics.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
        self.count += 1
        bad = ~torch.isfinite(metrics["loss"] + metrics["grad"]) & (self.first_bad < 0)
        self.first_bad = torch.where(bad, torch.full_like(self.first_bad, step), self.first_bad)

    def read(self, saved: Path | None) -> dict[str, float]:
        """Means since the last reading. :raises TrainingError: as :meth:`check`"""
        self.check(saved)
        self.last = self.peek()
        self.sums, self.count = {}, 0
        return self.last

    def peek(self) -> dict[str, float]:
        """Means since the last reading, which go on to be added to; the last ones if nothing was added."""
        if not self.count:
            return self.last
        totals = self.world.total({name: float(total) for name, total in self.sums.items()})
        return {name: total / self.count for name, total in totals.items()}

    def check(self, saved: Path | None) -> None:
        """:raises TrainingError: a loss or gradient was not finite, in whatever process"""
        step = int(self.first_bad)
        first = self.world.reduce([float(step) if step >= 0 else float("inf")], "min")[0]
        if first < float("inf"):
            kept = f"the last good checkpoint is {saved}" if saved else "there is no checkpoint yet"
            raise TrainingError(
                f"the loss or a gradient is not finite at step {int(first) + 1}; {kept}. "
                "Try a lower learning rate, a longer warm-up or precision fp32"
            )

    def state(self) -> list[dict[str, Any]]:
        """What every process has added since the last reading: a checkpoint keeps it, so that the report that a stop
        fell into comes out as without the stop."""
        return self.world.every(
            lambda: {"count": self.count, "sums": {name: float(total) for name, total in self.sums.items()}}
        )

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Each process takes up its own, if there are as many as there were; else the main process takes all."""
        device, rank = self.world.device, self.world.rank
        self.count = int(state[0]["count"]) if state else 0
        alike = len(state) == self.world.size
        taken = state[rank : rank + 1] if alike else state if rank == 0 else []
        for name in state[0]["sums"] if state else ():
            whole = sum(float(part["sums"][name]) for part in taken)
            self.sums[name] = torch.tensor(whole, dtype=torch.float32, device=device)


class Tracker:
    """Appends to ``folder/metrics.jsonl`` and, where TensorBoard is installed, writes its events to ``folder/log``.

    No folder: does nothing, but for trackers of accelerate. Lines of steps after ``start`` (a run that was killed after
    its last checkpoint) are taken out first: the run writes them again.
    """

    def __init__(
        self, folder: Path | None, start: int = 0, accelerator: Any = None, config: Mapping[str, Any] | None = None
    ) -> None:
        self.file: TextIO | None = None
        self.board: Any = None
        self.accelerator = accelerator
        if accelerator is not None:
            accelerator.init_trackers("parvis", config=_plain(config or {}))
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _cut(folder / "metrics.jsonl", start)
            self.file = (folder / "metrics.jsonl").open("a", encoding="utf-8")
        except OSError as e:
            raise OutputError(f"{folder} cannot be written: {e.strerror or e}") from e
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                from torch.utils.tensorboard import SummaryWriter

                self.board = SummaryWriter(str(folder / "log"), purge_step=start + 1 if start else None)
            except ImportError:
                pass

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """:raises OutputError: the disk is full, for one"""
        try:
            if self.file is not None:
                self.file.write(json.dumps({"step": step, **values}) + "\n")
                self.file.flush()
            if self.board is not None:
                for name, value in values.items():
                    self.board.add_scalar(name, value, step)
        except OSError as e:
            raise OutputError(f"metrics could not be written: {e.strerror or e}; the last checkpoint is whole") from e
        if self.accelerator is not None:
            self.accelerator.log(dict(values), step=step)

    def show(self, step: int, seen: Seen) -> None:
        """The numbers as :meth:`write` does; the pictures go to those trackers that take any."""
        if seen.values:
            self.write(step, seen.values)
        for name, picture in seen.pictures.items():
            array = np.asarray(picture.convert("RGB"))
            if self.board is not None:
                self.board.add_image(name, array, step, dataformats="HWC")
            for tracker in self.accelerator.trackers if self.accelerator is not None else ():
                if hasattr(tracker, "log_images"):
                    tracker.log_images({name: array[None]}, step=step)

    def close(self) -> None:
        for open_file in (self.file, self.board):
            with contextlib.suppress(OSError):  # what could not be written has been said already
                if open_file is not None:
                    open_file.close()
        for tracker in self.accelerator.trackers if self.accelerator is not None else ():
            tracker.finish()


def _cut(path: Path, start: int) -> None:
    """Keeps the whole lines of steps up to ``start``."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and _step_of(line) <= start]
    if kept != lines:
        write_bytes(path, "".join(kept).encode())


def _step_of(line: str) -> float:
    """Infinity for a line that a crash has torn."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Values that every tracker can show."""
    return {k: v if isinstance(v, str | int | float | bool) else str(v) for k, v in config.items()}
