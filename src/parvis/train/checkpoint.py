"""Checkpoints that are whole or absent: a folder per step, of safetensors and one JSON file, nothing pickled.

    step-00001000/model.safetensors      the weights as trained
    step-00001000/ema.safetensors        their moving average, where the run keeps one
    step-00001000/optimizer.safetensors  "<optimizer>.<parameter>.<name>"
    step-00001000/state.json             format, step, the run's fingerprint, size and SHA-256 of every file

A run whose model is divided (FSDP2) writes the shards of :mod:`parvis.train.shards` in place of the three files. Either
kind is read by any number of processes. The step is all that data and randomness need to go on: both are functions of
(seed, step).
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from parvis.errors import OutputError, TrainingError
from parvis.files import new_folder
from parvis.train.distributed import ALONE, World, lost
from parvis.train.ema import Ema
from parvis.train.shards import Targets, is_sharded, read_shards, sha256_of, write_shards
from parvis.train.spread import like

FORMAT = 1


def steps_of(folder: Path) -> list[int]:
    """Steps of the checkpoints in ``folder``, ascending."""
    found = (re.fullmatch(r"step-(\d{8,})", p.name) for p in folder.glob("step-*") if (p / "state.json").is_file())
    return sorted(int(m[1]) for m in found if m)


def path_of(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


def sweep(folder: Path) -> None:
    """Removes what a killed process left of a checkpoint that it was writing."""
    for left in folder.glob(".step-*.partial"):
        shutil.rmtree(left, ignore_errors=True)


def shape_hash(model: nn.Module) -> str:
    """Changes whenever a weight is added, renamed or of another shape."""
    listing = sorted(f"{k} {tuple(v.shape)}" for k, v in model.state_dict().items())
    return hashlib.sha256("\n".join(listing).encode()).hexdigest()[:16]


def save_checkpoint(
    folder: Path,
    step: int,
    model: nn.Module,
    opts: Sequence[torch.optim.Optimizer],
    ema: Ema | None,
    run: Mapping[str, Any],
    keep: int = 2,
    more: Mapping[str, Any] | None = None,
    world: World = ALONE,
) -> Path:
    """Writes the checkpoint after ``step`` steps and removes all but the ``keep`` newest. All processes call it.

    ``more`` goes into ``state.json`` as it is.

    :raises OutputError: it could not be written; the older ones are all still there
    """
    target = path_of(folder, step)
    state = {"format": FORMAT, "step": step, "run": dict(run), "torch": torch.__version__, **(more or {})}
    groups = _groups(model, opts, ema)
    if world.shard:
        write_shards(target, {f"{g}.{k}": t for g, tensors in groups.items() for k, t in tensors.items()}, state, world)
    else:
        world.share(lambda: _write_whole(target, groups, state))
    world.share(lambda: _forget(folder, keep))
    return target


def differing(now: Mapping[str, Any], before: Mapping[str, Any], step: int) -> list[str]:
    """Names of the settings in which two runs differ, as far as it matters from ``step`` on: a warm-up that is over in
    both does not, where the rate behind it is constant at first."""
    names = [name for name in sorted({*now, *before}) if now.get(name) != before.get(name)]
    over = step >= max(run.get("warmup", 0) for run in (now, before))
    if over and now.get("schedule") in ("wsd", "wsd-cosine"):
        names = [name for name in names if name != "warmup"]
    return names


def load_checkpoint(
    path: Path,
    model: nn.Module,
    opts: Sequence[torch.optim.Optimizer],
    ema: Ema | None,
    run: Mapping[str, Any],
    world: World = ALONE,
) -> dict[str, Any]:
    """Puts everything back and returns ``state.json``. All processes call it.

    :raises TrainingError: the checkpoint is of another run (the message names what differs) or damaged
    """
    try:
        state: dict[str, Any] = json.loads((path / "state.json").read_text())
        differ = differing(run, state["run"], int(state["step"]))
        if differ:
            told = "; ".join(f"{k}: there {state['run'].get(k)!r}, now {run.get(k)!r}" for k in differ)
            raise TrainingError(
                f"{path} is of another run ({told}); train into another folder, or with the old settings"
            )
        _check(path, dict(sorted(state.get("files", {}).items())), world)
        targets = _targets(model, opts, ema)
        read = read_shards(path, targets, world) if is_sharded(path) else _read_whole(path, targets, ema is not None)
        _put(read, model, opts, ema)
        return state
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as e:
        if lost(e):
            raise
        raise TrainingError(
            f"{path} is damaged ({e}); delete it, and the run goes on from the checkpoint before it"
        ) from e


def _write_whole(target: Path, groups: Mapping[str, Mapping[str, Tensor]], state: dict[str, Any]) -> None:
    with new_folder(target) as scratch:
        files = {}
        for group, tensors in groups.items():
            data = save({k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()})
            (scratch / f"{group}.safetensors").write_bytes(data)
            files[f"{group}.safetensors"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        (scratch / "state.json").write_text(json.dumps({**state, "files": files}, indent=1))


def _read_whole(path: Path, targets: Targets, average: bool) -> dict[str, Tensor]:
    read = {}
    for group in ("model", "optimizer", *(("ema",) if average else ())):
        for name, tensor in load_file(path / f"{group}.safetensors").items():
            target = targets(f"{group}.{name}")
            if target is not None and target.shape == tensor.shape:
                tensor = like(target, tensor)
            read[f"{group}.{name}"] = tensor
    return read


def _forget(folder: Path, keep: int) -> None:
    for old in steps_of(folder)[: -max(1, keep)]:
        shutil.rmtree(path_of(folder, old), ignore_errors=True)


def _check(path: Path, files: Mapping[str, Mapping[str, Any]], world: World) -> None:
    """Sizes and sums of the files that ``state.json`` lists; the processes divide the reading among themselves."""

    def mine() -> None:
        for name, entry in list(files.items())[world.rank :: world.size]:
            size = (path / name).stat().st_size
            if size != entry["bytes"]:
                raise ValueError(f"{name} has {size} bytes instead of {entry['bytes']}")
            if sha256_of(path / name) != entry["sha256"]:
                raise ValueError(f"{name} has another SHA-256 than when it was written")

    world.every(mine)


def _groups(
    model: nn.Module, opts: Sequence[torch.optim.Optimizer], ema: Ema | None
) -> dict[str, Mapping[str, Tensor]]:
    """All that a checkpoint holds, by the name of its file."""
    out: dict[str, Mapping[str, Tensor]] = {"model": model.state_dict(), "optimizer": _flatten(opts)}
    return out if ema is None else {**out, "ema": ema.tensors}


def _flatten(opts: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for i, opt in enumerate(opts):
        for number, values in opt.state_dict()["state"].items():
            for name, value in values.items():
                if not isinstance(value, Tensor):
                    raise OutputError(f"{type(opt).__name__} keeps {name!r} that is not a tensor; it cannot be saved")
                out[f"{i}.{number}.{name}"] = value
    return out


def _targets(model: nn.Module, opts: Sequence[torch.optim.Optimizer], ema: Ema | None) -> Targets:
    """Where a tensor of a checkpoint will go, by its group and name: so that it is divided as that is."""
    weights = model.state_dict()
    parameters = [[p for group in opt.param_groups for p in group["params"]] for opt in opts]

    def target(name: str) -> Tensor | None:
        group, _, rest = name.partition(".")
        if group == "optimizer":
            i, number, _ = rest.split(".", 2)
            parameter: Tensor = parameters[int(i)][int(number)]
            return parameter
        return weights[rest] if group == "model" else ema.tensors[rest] if ema else None

    return target


def _put(read: Mapping[str, Tensor], model: nn.Module, opts: Sequence[torch.optim.Optimizer], ema: Ema | None) -> None:
    def part(group: str) -> dict[str, Tensor]:
        return {name.removeprefix(f"{group}."): t for name, t in read.items() if name.startswith(f"{group}.")}

    model.load_state_dict(part("model"))
    if ema is not None:
        loaded = part("ema")
        for name, tensor in ema.tensors.items():
            tensor.copy_(loaded[name])
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in opts]
    for key, value in part("optimizer").items():
        i, number, name = key.split(".", 2)
        states[int(i)].setdefault(int(number), {})[name] = value
    for opt, state in zip(opts, states, strict=True):
        opt.load_state_dict({"state": state, "param_groups": opt.state_dict()["param_groups"]})
