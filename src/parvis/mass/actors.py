"""Blocks drawn by Ray Data: an actor per accelerator (or per processor), on as many machines as Ray has.

The folder must be one that all of them see. Actors that die are started again and their blocks drawn again, which
writes the same bytes. Needs the extra ``ray``.
"""

from __future__ import annotations

import importlib
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from parvis.errors import TrainingError, UsageError
from parvis.mass.plan import read_plan
from parvis.mass.work import draw_block, missing, open_model

SHARE = 0.5
"""Processors that an actor reserves: with whole ones there may be none left for Ray's own tasks, which then wait for
ever."""
RESTARTS = 4
"""How often an actor is started anew without having drawn a block since. Ray Data starts them for ever, also those that
have not enough memory for the model."""
STARTS = "starts"
"""The folder in which actors count that, while there is a run."""


class Drawer:
    """Loads the model once, then draws block after block. Raises TrainingError after too many starts in vain."""

    def __init__(self, out: str, device: str | None, batch: int) -> None:
        self.out, self.batch = Path(out), batch
        self.starts = self.out / STARTS / str(_ray().get_runtime_context().get_actor_id())
        self._count()
        self.plan = read_plan(self.out)
        self.pipeline = open_model(self.plan, device)

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        for low, high in zip(rows["low"].tolist(), rows["high"].tolist(), strict=True):
            draw_block(self.pipeline, self.out, self.plan, low, high, self.batch)
            self.starts.unlink(missing_ok=True)
        return rows

    def _count(self) -> None:
        """One byte for each start; the file is the actor's own, whatever process it runs in."""
        self.starts.parent.mkdir(exist_ok=True)
        with self.starts.open("a") as file:
            file.write("x")
        if self.starts.stat().st_size > 1 + RESTARTS:
            raise TrainingError(
                f"an actor died {1 + RESTARTS} times and drew nothing in between, probably for want of memory; give a "
                "smaller --batch or fewer --workers"
            )


def with_ray(
    out: Path,
    workers: int,
    device: str | None,
    batch: int,
    told: Callable[[int], object] | None = None,
    drawer: type = Drawer,
) -> None:
    """Draw what is missing with ``workers`` actors, in the cluster that ``RAY_ADDRESS`` names, or in one that is there
    for as long as it draws.

    Args:
        device: ``cuda`` is one accelerator for each actor; where none is named, they are taken if the cluster has any.

    :raises UsageError: Ray is not installed. TrainingError: an actor failed, or died too often
    """
    try:
        ray, data = _ray(), importlib.import_module("ray.data")
    except ImportError as error:
        raise UsageError(f"--ray needs Ray ({error}); `pip install 'parvis[ray]'`, or use --workers") from error
    if not missing(out, read_plan(out)):
        return
    guest = ray.is_initialized()
    if not guest:
        _start(ray)
    try:
        for low, high in _drawn(ray, data, out, workers, device, batch, drawer):
            if told is not None:
                told(high - low)
    except ray.exceptions.RayError as error:
        raise TrainingError(
            f"Ray stopped ({_reason(error)}); what is drawn stays, run the same command again"
        ) from error
    finally:
        shutil.rmtree(out / STARTS, ignore_errors=True)
        if not guest:
            ray.shutdown()


def _start(ray: Any) -> None:
    """Ray's errors here are of all kinds."""
    try:
        ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    except Exception as error:
        raise TrainingError(
            f"Ray does not start, or is not where RAY_ADDRESS says ({type(error).__name__}: {error}); try again, or "
            "leave --ray out"
        ) from error


def _drawn(
    ray: Any, data: Any, out: Path, workers: int, device: str | None, batch: int, drawer: type
) -> Iterator[tuple[int, int]]:
    """The blocks, as they are drawn."""
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    data.DataContext.get_current().enable_progress_bars = False
    if device is None:
        device = "cuda" if ray.cluster_resources().get("GPU") else "cpu"
    todo = missing(out, read_plan(out))
    found = data.from_items([{"low": low, "high": high} for low, high in todo]).map_batches(
        drawer,
        fn_constructor_args=(str(out.resolve()), device, batch),
        batch_size=1,
        compute=data.ActorPoolStrategy(size=min(workers, len(todo)), max_tasks_in_flight_per_actor=1),
        num_cpus=SHARE,
        num_gpus=1 if device.startswith("cuda") else 0,
    )
    for row in found.iter_rows():
        yield int(row["low"]), int(row["high"])


def _ray() -> Any:
    return importlib.import_module("ray")


def _reason(error: Exception) -> str:
    """The last line of ours in Ray's many: what an actor raised; else the first of Ray's."""
    lines = str(error).splitlines() or [""]
    ours = [line for line in lines if line.startswith("parvis.errors.")]
    return f"{type(error).__name__}: {(ours or lines[:1])[-1]}"
