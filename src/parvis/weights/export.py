"""Parvis model folders back into checkpoints as the authors' code loads them: their names, shapes and nesting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from parvis.assemble import build
from parvis.errors import UsageError
from parvis.files import new_file
from parvis.tokenizer.folder import KINDS, read_tokenizer
from parvis.weights.folder import MODEL_FILE, expectation, load_config, load_tensors
from parvis.weights.layouts import LAYOUTS, Layout, layout_of

SUFFIXES = (".safetensors", ".pt", ".pth")


def export(folder: str | Path, out: str | Path, *, part: str = "model") -> int:
    """Write the ``model`` or the ``tokenizer`` of a model folder as its authors' code loads it.

    ``.pt`` and ``.pth`` are nested as their files are, ``.safetensors`` is flat. Buffers that their code stores and
    Parvis computes are written too. Returns the number of tensors. The file appears whole or not at all.

    Raises:
        UsageError: another suffix, or a system that nobody else has code for. WeightsError: the folder is damaged.
    """
    place, target = Path(folder), Path(out)
    if target.suffix not in SUFFIXES:
        raise UsageError(f"{target}: its name must end in {', '.join(SUFFIXES)}, which says what is written")
    state, layout = theirs(place, part)
    with new_file(target) as partial:
        if target.suffix == ".safetensors":
            safetensors.torch.save_file(state, partial, metadata={"format": "pt"})
        else:
            nested: dict[str, Any] = state
            for key in reversed(layout.nesting):
                nested = {key: nested}
            torch.save(nested | dict.fromkeys(layout.also, state), partial)
    return len(state)


def theirs(folder: Path, part: str) -> tuple[dict[str, Tensor], Layout]:
    """The authors' state dict of one part of a model folder, and how they keep it."""
    config = load_config(folder)
    if config.system in KINDS:
        if part != "tokenizer":
            raise UsageError(f"{folder} holds a tokenizer and nothing else; give --part tokenizer")
        alone = read_tokenizer(folder)
        return _renamed(alone.state_dict(), alone, layout_of(alone))
    system = build(config)
    if config.system not in LAYOUTS:
        raise UsageError(
            f"{config.system!r} is Parvis' own: there is no other code to export it to; use its safetensors"
        )
    module: nn.Module = system.models["main"] if part == "model" else system.tokenizer
    layout = LAYOUTS[config.system] if part == "model" else layout_of(module)
    file = MODEL_FILE if part == "model" else "tokenizer.safetensors"
    tensors = load_tensors(folder, expectation(module), file=file, config=config)
    return _renamed(tensors, system if part == "model" else module, layout)


def _renamed(tensors: dict[str, Tensor], whole: Any, layout: Layout) -> tuple[dict[str, Tensor], Layout]:
    state, report = layout.keys.invert(tensors)
    report.require_complete("exporting")
    return {**{name: tensor.contiguous() for name, tensor in state.items()}, **layout.derived(whole)}, layout
