"""What a run reports: means of its metrics, a line per report in ``metrics.jsonl``, TensorBoard where it is
installed."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor

from parvis.errors import OutputError, TrainingError


class Meter:
    """Means of a run's metrics between two reports, kept on its device: adding never waits for it, reading does."""

    def __init__(self, device: str | torch.device) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0
        self.last: dict[str, float] = {}
        self.first_bad = torch.full((), -1, dtype=torch.long, device=device)

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
        self.last = {name: float(total) / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return self.last

    def check(self, saved: Path | None) -> None:
        """:raises TrainingError: a loss or gradient was not finite"""
        step = int(self.first_bad)
        if step >= 0:
            kept = f"the last good checkpoint is {saved}" if saved else "there is no checkpoint yet"
            raise TrainingError(
                f"the loss or a gradient is not finite at step {step + 1}; {kept}. "
                "Try a lower learning rate, a longer warm-up or precision fp32"
            )


class Tracker:
    """Appends to ``folder/metrics.jsonl`` and, where TensorBoard is installed, writes its events to ``folder/log``.
    No folder: does nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.file: TextIO | None = None
        self.board: Any = None
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.file = (folder / "metrics.jsonl").open("a", encoding="utf-8")
        except OSError as e:
            raise OutputError(f"{folder} cannot be written: {e.strerror or e}") from e
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                from torch.utils.tensorboard import SummaryWriter

                self.board = SummaryWriter(str(folder / "log"))
            except ImportError:
                pass

    def write(self, step: int, values: Mapping[str, float]) -> None:
        if self.file is not None:
            try:
                self.file.write(json.dumps({"step": step, **values}) + "\n")
                self.file.flush()
            except OSError as e:
                raise OutputError(
                    f"metrics could not be written: {e.strerror or e}; the last checkpoint is whole"
                ) from e
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
        if self.board is not None:
            self.board.close()
