"""Checkpoints that are whole or absent: a folder per step, of safetensors and one JSON file, nothing pickled.

    step-00001000/model.safetensors      the weights as trained
    step-00001000/ema.safetensors        their moving average, where the run keeps one
    step-00001000/optimizer.safetensors  "<optimizer>.<parameter>.<name>"
    step-00001000/state.json             format, step, the run's fingerprint

The step is all that data and randomness need to go on: both are functions of (seed, step).
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
from parvis.train.ema import Ema

FORMAT = 1


def steps_of(folder: Path) -> list[int]:
    """Steps of the checkpoints in ``folder``, ascending."""
    found = (re.fullmatch(r"step-(\d{8,})", p.name) for p in folder.glob("step-*") if (p / "state.json").is_file())
    return sorted(int(m[1]) for m in found if m)


def path_of(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


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
) -> Path:
    """Writes the checkpoint after ``step`` steps and removes all but the ``keep`` newest.

    :raises OutputError: it could not be written; the older ones are all still there
    """
    target = path_of(folder, step)
    with new_folder(target) as scratch:
        _write(scratch / "model.safetensors", model.state_dict())
        if ema is not None:
            _write(scratch / "ema.safetensors", ema.tensors)
        _write(scratch / "optimizer.safetensors", _flatten(opts))
        state = {"format": FORMAT, "step": step, "run": dict(run), "torch": torch.__version__}
        (scratch / "state.json").write_text(json.dumps(state, indent=1))
    for old in steps_of(folder)[: -max(1, keep)]:
        shutil.rmtree(path_of(folder, old), ignore_errors=True)
    return target


def load_checkpoint(
    path: Path, model: nn.Module, opts: Sequence[torch.optim.Optimizer], ema: Ema | None, run: Mapping[str, Any]
) -> int:
    """Puts everything back and returns the number of steps done.

    :raises TrainingError: the checkpoint is of another run (the message names what differs) or damaged
    """
    try:
        state = json.loads((path / "state.json").read_text())
        differ = [k for k in sorted({*run, *state["run"]}) if run.get(k) != state["run"].get(k)]
        if differ:
            told = "; ".join(f"{k}: there {state['run'].get(k)!r}, now {run.get(k)!r}" for k in differ)
            raise TrainingError(
                f"{path} is of another run ({told}); train into another folder, or with the old settings"
            )
        model.load_state_dict(load_file(path / "model.safetensors"))
        if ema is not None:
            loaded = load_file(path / "ema.safetensors")
            for name, tensor in ema.tensors.items():
                tensor.copy_(loaded[name])
        _unflatten(opts, load_file(path / "optimizer.safetensors"))
        return int(state["step"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as e:
        raise TrainingError(
            f"{path} is damaged ({e}); delete it, and the run goes on from the checkpoint before it"
        ) from e


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    whole = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()}
    path.write_bytes(save(whole))


def _flatten(opts: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for i, opt in enumerate(opts):
        for number, values in opt.state_dict()["state"].items():
            for name, value in values.items():
                if not isinstance(value, Tensor):
                    raise OutputError(f"{type(opt).__name__} keeps {name!r} that is not a tensor; it cannot be saved")
                out[f"{i}.{number}.{name}"] = value
    return out


def _unflatten(opts: Sequence[torch.optim.Optimizer], tensors: Mapping[str, Tensor]) -> None:
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in opts]
    for key, value in tensors.items():
        i, number, name = key.split(".", 2)
        states[int(i)].setdefault(int(number), {})[name] = value
    for opt, state in zip(opts, states, strict=True):
        opt.load_state_dict({"state": state, "param_groups": opt.state_dict()["param_groups"]})
