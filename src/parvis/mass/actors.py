"""Blocks drawn by Ray Data: an actor per accelerator (or per processor), on as many machines as Ray has.

The folder must be one that all of them see. Actors that die are started again and their blocks drawn again, which
writes the same bytes. Needs ``pip install 'ray[data]'``, an extra.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parvis.errors import TrainingError, UsageError
from parvis.mass.plan import read_plan
from parvis.mass.work import draw_block, missing, open_model

SHARE = 0.5
"""Processors that an actor reserves: with whole ones there may be none left for Ray's own tasks, which then wait for
ever."""


class Drawer:
    """Loads the model once, then draws block after block."""

    def __init__(self, out: str, device: str | None, batch: int) -> None:
        self.out, self.batch = Path(out), batch
        self.plan = read_plan(self.out)
        self.pipeline = open_model(self.plan, device)

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        for low, high in zip(rows["low"].tolist(), rows["high"].tolist(), strict=True):
            draw_block(self.pipeline, self.out, self.plan, low, high, self.batch)
        return rows


def with_ray(
    out: Path,
    workers: int,
    device: str | None,
    batch: int,
    told: Callable[[int], object] | None = None,
    drawer: type = Drawer,
) -> None:
    """Draw what is missing with ``workers`` actors; joins the cluster that ``RAY_ADDRESS`` names, or starts one here.

    :raises UsageError: Ray is not installed. TrainingError: Ray gave up
    """
    try:
        ray = importlib.import_module("ray")
        data = importlib.import_module("ray.data")
    except ImportError as error:
        raise UsageError(f"--ray needs Ray ({error}); `pip install 'parvis[ray]'`, or use --workers") from error
    plan = read_plan(out)
    todo = missing(out, plan)
    if not todo:
        return
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    data.DataContext.get_current().enable_progress_bars = False
    gpus = 1 if device == "cuda" else 0
    found = data.from_items([{"low": low, "high": high} for low, high in todo]).map_batches(
        drawer,
        fn_constructor_args=(str(out.resolve()), device, batch),
        batch_size=1,
        concurrency=min(workers, len(todo)),
        num_cpus=SHARE,
        num_gpus=gpus,
    )
    try:
        for row in found.iter_rows():
            if told is not None:
                told(int(row["high"]) - int(row["low"]))
    except ray.exceptions.RayError as error:
        raise TrainingError(
            f"Ray stopped ({type(error).__name__}: {str(error).splitlines()[0]}); what is drawn stays, run the same "
            "command again"
        ) from error
