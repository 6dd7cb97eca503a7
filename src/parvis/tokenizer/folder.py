"""A tokenizer alone as a model folder: what its training writes and the training of a transformer reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from parvis.errors import WeightsError
from parvis.meta import without_memory
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.weights.config import FolderConfig
from parvis.weights.folder import expectation, load_config, load_tensors, save_folder

FILE = "tokenizer.safetensors"
KIND = "vqgan"
"""What ``config.json`` calls the system of a tokenizer alone."""


def arguments_of(tokenizer: VQGAN) -> dict[str, object]:
    """The tokenizer's config as ``config.json`` holds it."""
    arguments: dict[str, object] = json.loads(json.dumps(asdict(tokenizer.config)))
    return arguments


def save_tokenizer(folder: Path, tokenizer: VQGAN, about: Mapping[str, str] | None = None) -> None:
    """Write ``tokenizer`` as a model folder, whole or not at all."""
    config = FolderConfig(system=KIND, arguments=arguments_of(tokenizer), about=about or {})  # type: ignore[arg-type]
    save_folder(folder, config, {FILE: tokenizer.state_dict()})


def build_tokenizer(config: FolderConfig) -> VQGAN:
    """The tokenizer that ``config`` describes, without memory. Raises WeightsError where it describes none."""
    try:
        with without_memory():
            return VQGAN(VQConfig(**config.arguments))  # type: ignore[arg-type]
    except TypeError as error:
        raise WeightsError(f"config.json does not describe a tokenizer: {error}") from error


def load_tokenizer(folder: Path) -> VQGAN:
    """Read what :func:`save_tokenizer` wrote. Raises WeightsError where it is damaged or something else."""
    config = load_config(folder)
    if config.system != KIND:
        raise WeightsError(f"{folder} holds a {config.system!r} system, not a tokenizer; give a folder of one")
    tokenizer = build_tokenizer(config)
    tokenizer.load_state_dict(load_tensors(folder, expectation(tokenizer), file=FILE, config=config), assign=True)
    return tokenizer.eval()
