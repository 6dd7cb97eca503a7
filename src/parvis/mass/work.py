"""Who draws which blocks: one process, several, the ranks of torchrun. Ray's actors are in ``mass/actors.py``.

Block b belongs to worker b modulo their number. Nobody waits for anybody; what a worker that died has left is missing,
and the next run draws it.
"""

from __future__ import annotations

import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from parvis.errors import DataError, ParvisError, TrainingError, WeightsError
from parvis.mass.blocks import merge, record_of, write_block
from parvis.mass.plan import Plan, read_plan
from parvis.pipeline import Pipeline, load

Told = Callable[[int], object]
"""Called with how many more pictures are there."""


@dataclass(frozen=True)
class Done:
    """A finished folder: its manifest, passes of the model for a picture, and the seconds that drawing took."""

    manifest: dict[str, Any]
    passes: int
    seconds: float
    """Over all workers together, without loading; what earlier runs took included."""


def facts_of(pipeline: Pipeline) -> dict[str, Any]:
    """What a plan and a record say of a model: its name, system, parameters and the sums of its files."""
    config = pipeline.config
    facts: dict[str, Any] = {"name": pipeline.name}
    if config is not None:
        facts |= {
            "system": config.system,
            "parameters": config.parameters,
            "files": {name: record.sha256 for name, record in sorted(config.files.items())},
        }
    return facts


def open_model(plan: Plan, device: str | None = None) -> Pipeline:
    """The model of a plan, in its precision.

    :raises WeightsError: what is at ``plan.source`` is not the model that the plan was made for
    """
    precision = {"float32": "fp32", "bfloat16": "bf16"}[str(plan.settings["precision"])]
    pipeline = load(plan.source, device=device, precision=precision)
    if facts_of(pipeline) != dict(plan.model):
        raise WeightsError(
            f"{plan.source} is not the model that these samples were begun with (its files have other sums); draw into "
            "another folder"
        )
    return pipeline


def missing(out: Path, plan: Plan, rank: int = 0, world: int = 1) -> list[tuple[int, int]]:
    """The blocks of worker ``rank`` of ``world`` that are still to be drawn."""
    return [(low, high) for low, high in plan.blocks()[rank::world] if record_of(out, plan, low, high) is None]


def draw_block(pipeline: Pipeline, out: Path, plan: Plan, low: int, high: int, batch: int = 64) -> None:
    """Draw and write one block. :raises DataError: the model gave pictures of another size"""
    options = {name: value for name, value in plan.settings.items() if name != "precision"}
    options["order"] = None if options["order"] == "own" else options["order"]
    prompts: Any = [plan.prompt(i) for i in range(low, high)]
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # captions longer than a model reads, each time again
        found = pipeline.generate(prompts, seed=[plan.seed_of(i) for i in range(low, high)], batch=batch, **options)
    images = np.stack([np.asarray(image) for image in found.images])
    if images.shape[1:] != (plan.height, plan.width, 3):
        raise DataError(f"{pipeline.name} drew {list(images.shape)} where {plan.height} x {plan.width} was planned")
    facts = {"passes": found.passes, "seconds": round(time.perf_counter() - start, 4)}
    write_block(out, plan, low, images, facts)


def work(
    out: Path, rank: int = 0, world: int = 1, device: str | None = None, batch: int = 64, told: Told | None = None,
    pipeline: Pipeline | None = None,
) -> int:  # fmt: skip
    """Draw what is missing of this worker's blocks; returns how many pictures that were."""
    plan = read_plan(out)
    todo = missing(out, plan, rank, world)
    if todo:
        pipeline = pipeline or open_model(plan, device)
    for low, high in todo:
        assert pipeline is not None
        draw_block(pipeline, out, plan, low, high, batch)
        if told is not None:
            told(high - low)
    return sum(high - low for low, high in todo)


def finish(out: Path, classes: Sequence[str] = ()) -> Done:
    """Put the blocks together; the sheet has the names of the ``classes``. Raises DataError where some are missing."""
    plan = read_plan(out)
    manifest = merge(out, plan, classes)
    records = [record_of(out, plan, low, high) or {} for low, high in plan.blocks()]
    return Done(manifest, max(r["passes"] for r in records), sum(r["seconds"] for r in records))


def in_processes(out: Path, workers: int, device: str | None, batch: int, told: Told | None = None) -> None:
    """``workers`` processes of this machine, the threads divided among them; accelerators in turn.

    :raises TrainingError: one of them failed; what the others drew stays
    """
    context = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // workers)
    plan = read_plan(out)
    before = sum(high - low for low, high in missing(out, plan))
    processes = [
        context.Process(target=_process, args=(out, rank, workers, _turn(device, rank), batch, threads), daemon=True)
        for rank in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        while any(process.is_alive() for process in processes):
            next(process for process in processes if process.is_alive()).join(0.5)
            if told is not None:
                left = sum(high - low for low, high in missing(out, plan))
                told(before - left)
                before = left
    finally:
        for process in processes:
            process.terminate()
    failed = [rank for rank, process in enumerate(processes) if process.exitcode != 0]
    if failed:
        codes = ", ".join(f"{rank} ({processes[rank].exitcode})" for rank in failed)
        raise TrainingError(
            f"of {workers} workers {len(failed)} failed (exit codes: {codes}); what is drawn stays, run the same "
            "command again to draw the rest"
        )


def ranks() -> tuple[int, int, int] | None:
    """(rank, world, local rank) where torchrun started this process."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if any(name not in os.environ for name in names) or "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    rank, world, local = (int(os.environ[name]) for name in names)
    return rank, world, local


def wait_for_all(out: Path, seconds: float = 0.5) -> None:
    """Until every block is there; torchrun ends the waiting where another rank has failed."""
    plan = read_plan(out)
    while missing(out, plan):
        time.sleep(seconds)


def _process(out: Path, rank: int, world: int, device: str | None, batch: int, threads: int) -> None:
    torch.set_num_threads(threads)
    try:
        work(out, rank, world, device, batch)
    except ParvisError as error:
        raise SystemExit(f"parvis: worker {rank}: error: {error}") from error


def _turn(device: str | None, rank: int) -> str | None:
    """``cuda`` as ``cuda:0``, ``cuda:1`` ... for workers one after the other."""
    if device is None and torch.cuda.is_available():
        device = "cuda"
    return f"cuda:{rank % torch.cuda.device_count()}" if device == "cuda" else device
