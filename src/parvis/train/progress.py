"""How a run tells of itself: a line on the terminal, a line per report in ``metrics.jsonl``, TensorBoard where it is
installed."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor

from parvis.errors import OutputError, TrainingError


class Progress:
    """``step 120/2000  loss 3.412  37.5 img/s  ETA 0:14:03``: rewritten in place on a terminal, else a new line every
    ``every`` seconds."""

    def __init__(
        self, steps: int, start: int, batch: int, stream: TextIO | None = None, every: float = 30.0, quiet: bool = False
    ) -> None:
        self.steps, self.start, self.batch, self.every, self.quiet = steps, start, batch, every, quiet
        self.stream = stream if stream is not None else sys.stderr
        self.live = self.stream.isatty()
        self.began = self.told = time.monotonic()
        self.width = 0

    def speed(self, step: int) -> float:
        """Images a second since the run (or its resumption) began."""
        return (step - self.start) * self.batch / max(1e-9, time.monotonic() - self.began)

    def tell(self, step: int, values: Mapping[str, float], end: bool = False) -> None:
        now = time.monotonic()
        if self.quiet or (not end and now - self.told < (0.2 if self.live else self.every)):
            return
        self.told = now
        speed = self.speed(step)
        left = int((self.steps - step) * self.batch / max(speed, 1e-9))
        shown = "  ".join(f"{k} {v:.4g}" for k, v in values.items())
        eta = f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}"
        line = f"step {step}/{self.steps}  {shown}  {speed:.1f} img/s  ETA {eta}"
        if self.live:
            self.stream.write("\r" + line.ljust(self.width) + ("\n" if end else ""))
            self.width = len(line)
        else:
            self.stream.write(line + "\n")
        self.stream.flush()


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
