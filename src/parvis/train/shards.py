"""Checkpoints of a divided model: every process writes its own part, through torch.distributed.checkpoint (DCP).

    step-00001000/shard-00001-model-00001-of-00002.safetensors   "model.", "ema." and "optimizer." of process 0
    step-00001000/state.json                                     as in :mod:`parvis.train.checkpoint`

DCP's own metadata file is a pickle. Its safetensors storage has none: where a part lies in the whole is said in JSON at
the head of each file, so reading runs nothing. The folder appears under its name when all parts are written.

DCP is imported where it is used: it takes a second that a run of one process need not wait for.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parvis.errors import OutputError, UsageError
from parvis.files import failing_as_output_error, sync_folder, write_bytes
from parvis.train.distributed import World
from parvis.train.spread import divided

Targets = Callable[[str], Tensor | None]
"""The tensor that one of a checkpoint will go to, by name; ``None`` where it is not wanted."""


def is_sharded(path: Path) -> bool:
    return any(path.glob("shard-*.safetensors"))


def write_shards(target: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any], world: World) -> None:
    """Makes the folder ``target`` of every process's part of ``tensors`` and of ``state``. All processes call it.

    :raises OutputError: some process could not write; then there is no ``target``
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.state_dict_saver import save

    partial = target.with_name(f".{target.name}.shards.partial")
    world.share(lambda: _fresh(partial))
    try:
        with failing_as_output_error(target):
            save(
                dict(tensors),
                storage_writer=_storage("HuggingFaceStorageWriter")(str(partial), save_distributed=True),
                process_group=world.group,
            )
        written = world.every(lambda: _own_files(partial, world.rank))
        files = {name: entry for part in written for name, entry in part.items()}
        world.share(lambda: _publish(partial, target, {**state, "files": files}))
    except CheckpointException as error:
        told = "; ".join(f"process {rank}: {failure[0]}" for rank, failure in error.failures.items())
        raise OutputError(f"cannot write {str(target)!r}: {told}; the older checkpoints are whole") from None
    finally:
        if world.main:
            shutil.rmtree(partial, ignore_errors=True)


def read_shards(path: Path, targets: Targets, world: World) -> dict[str, Tensor]:
    """Every tensor of the checkpoint that has a target, divided as its target is. All processes call it."""
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = _storage("HuggingFaceStorageReader")
    read: dict[str, Tensor] = {}
    for name, held in reader(str(path)).read_metadata().state_dict_metadata.items():
        target = targets(name)
        if target is None:
            continue
        if divided(target) and target.shape == held.size:
            read[name] = torch.zeros_like(target, dtype=held.properties.dtype)
        else:
            read[name] = torch.zeros(held.size, dtype=held.properties.dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        try:
            load(read, storage_reader=reader(str(path)), process_group=world.group, no_dist=world.size == 1)
        except CheckpointException as error:
            raise ValueError("; ".join(str(failure[0]) for failure in error.failures.values())) from None
    return read


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _storage(name: str) -> Any:
    import torch.distributed.checkpoint as dcp

    if not hasattr(dcp, name):
        raise UsageError(f"checkpoints of divided models need PyTorch 2.9 or newer; this is {torch.__version__}")
    return getattr(dcp, name)


def _fresh(folder: Path) -> None:
    with failing_as_output_error(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)


def _own_files(folder: Path, rank: int) -> dict[str, dict[str, Any]]:
    """Size and sum of what this process wrote, which is on the disk by then."""
    out = {}
    for path in sorted(folder.glob(f"shard-{rank + 1:05d}-*.safetensors")):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        out[path.name] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    return out


def _publish(partial: Path, target: Path, state: Mapping[str, Any]) -> None:
    with failing_as_output_error(target):
        write_bytes(partial / "state.json", json.dumps(state, indent=1).encode())
        shutil.rmtree(target, ignore_errors=True)
        os.rename(partial, target)
        sync_folder(target.parent)
