"""Systems from model folders, with or without their weights."""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from parvis.data.captions import Words
from parvis.errors import UnknownName, UsageError, WeightsError
from parvis.meta import without_memory
from parvis.system import System
from parvis.systems import PUBLISHED, SYSTEMS
from parvis.weights.config import FolderConfig
from parvis.weights.folder import expectation, in_8_bits, load_config, load_document, load_tensors, save_folder
from parvis.weights.int8 import to_int8


def build(config: FolderConfig) -> System:
    """The system that ``config`` describes, without memory.

    Raises:
        UnknownName: no such system. WeightsError: it does not take these arguments.
    """
    if config.system not in SYSTEMS:
        raise UnknownName("system in config.json", config.system, SYSTEMS)
    try:
        with without_memory():
            return SYSTEMS[config.system](**config.arguments)
    except TypeError as error:
        raise WeightsError(f"config.json does not describe a {config.system!r} system: {error}") from error


def published(name: str) -> FolderConfig:
    """What the ``config.json`` of a published system says of its kind and size. Raises :class:`UnknownName`."""
    if name not in PUBLISHED:
        raise UnknownName("published system", name, PUBLISHED)
    made = PUBLISHED[name]
    assert isinstance(made, partial)
    arguments = inspect.signature(made.func).bind(*made.args, **made.keywords).arguments
    kind = next(kind for kind, function in SYSTEMS.items() if function is made.func)
    return FolderConfig(kind, arguments)


def parts(system: System) -> dict[str, nn.Module]:
    """File name -> what is saved in it."""
    others = {f"model-{name}.safetensors": model for name, model in system.models.items() if name != "main"}
    return {"tokenizer.safetensors": system.tokenizer, "model.safetensors": system.models["main"], **others}


def read_folder(folder: Path) -> tuple[System, Words | None]:
    """The system of a model folder with its weights, in the type they are stored in, and its words."""
    config = load_config(folder)
    try:
        system = build(config)
    except WeightsError as error:
        raise WeightsError(f"{folder}: {error}") from error
    for file, module in parts(system).items():
        tensors = load_tensors(folder, expectation(module), file=file, config=config)
        module.load_state_dict(tensors, assign=True)
    words = None
    if config.words is not None:
        document = load_document(folder, config.words, config=config)
        words = Words(tuple(document["words"]), int(document["slots"]))
    return system, words


def write_folder(
    folder: str | Path, config: FolderConfig, system: System, words: Words | None, kinds: Kinds, max_shard_bytes: int
) -> None:
    """Write what :func:`read_folder` reads. Raises as :func:`tensors_as` and ``save_folder``."""
    vocabulary = None if words is None else {"words": list(words.vocabulary), "slots": words.slots}
    config = replace(config, words="words.json" if vocabulary else None)
    documents = {"words.json": vocabulary} if vocabulary else {}
    save_folder(folder, config, tensors_as(system, kinds), documents, max_shard_bytes=max_shard_bytes)


def random_system(name: str, seed: int) -> System:
    """A published system with random weights, N(0, 0.02), norms one: for timing and trying out."""
    system = build(published(name))
    torch.manual_seed(seed)
    for module in (system.tokenizer, *system.models.values()):
        _fill(module)
    return system


def _fill(module: nn.Module) -> None:
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            if parameter.is_meta:
                value = torch.empty(parameter.shape).normal_(std=0.02)
                if parameter.dim() == 1 and name == "weight":
                    value = torch.ones(parameter.shape)
                part._parameters[name] = nn.Parameter(value, requires_grad=False)
        for name, buffer in list(part.named_buffers(recurse=False)):
            if buffer.is_meta:
                part._buffers[name] = torch.zeros(buffer.shape, dtype=buffer.dtype)


Kinds: TypeAlias = dict[str, dict[str, torch.dtype]]
"""The dtype of every tensor as it is stored, by file and name."""


def kinds_of(system: System) -> Kinds:
    """As the tensors are."""
    return {file: {k: t.dtype for k, t in module.state_dict().items()} for file, module in parts(system).items()}


def kinds_in(folder: Path, system: System) -> Kinds:
    """As they are stored in the folder from which ``system`` was just read: some may have been widened from 8 bits."""
    found, config = kinds_of(system), load_config(folder)
    for file, kinds in found.items():
        kinds |= dict.fromkeys(in_8_bits(folder, file=file, config=config), torch.int8)
    return found


def tensors_as(system: System, kinds: Kinds) -> dict[str, dict[str, Tensor]]:
    """All tensors by file, in the dtypes of ``kinds``.

    Raises:
        UsageError: the system runs in a coarser precision than these, which would not bring the digits back.
    """
    return {
        file: {name: t for key, tensor in module.state_dict().items() for name, t in _as(key, tensor, kinds[file][key])}
        for file, module in parts(system).items()
    }


def _as(name: str, tensor: Tensor, kind: torch.dtype) -> list[tuple[str, Tensor]]:
    wide = torch.float32 if kind == torch.int8 and tensor.is_floating_point() else kind
    if wide.is_floating_point and wide.itemsize > tensor.element_size():
        raise UsageError(
            f"the weights were rounded to {tensor.dtype} when the model was loaded and cannot be saved as they were; "
            "load it with precision='fp32' to save it"
        )
    if wide != kind:
        return list(to_int8({name: tensor}, least=1).items())
    return [(name, tensor.to(kind))]
