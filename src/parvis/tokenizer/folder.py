"""A tokenizer alone as a model folder: what its training writes and the training of a transformer reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch

from parvis.errors import WeightsError
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.weights.config import FolderConfig
from parvis.weights.folder import expectation, load_config, load_tensors, save_folder

FILE = "tokenizer.safetensors"


def arguments_of(tokenizer: VQGAN) -> dict[str, object]:
    """The tokenizer's config as ``config.json`` holds it."""
    arguments: dict[str, object] = json.loads(json.dumps(asdict(tokenizer.config)))
    return arguments


def save_tokenizer(folder: Path, tokenizer: VQGAN, about: Mapping[str, str] | None = None) -> None:
    """Write ``tokenizer`` as a model folder, whole or not at all."""
    config = FolderConfig(system="vqgan", arguments=arguments_of(tokenizer), about=about or {})  # type: ignore[arg-type]
    save_folder(folder, config, {FILE: tokenizer.state_dict()})


def load_tokenizer(folder: Path) -> VQGAN:
    """Read what :func:`save_tokenizer` wrote. Raises WeightsError where it is damaged or something else."""
    config = load_config(folder)
    if config.system != "vqgan":
        raise WeightsError(f"{folder} holds a {config.system!r} system, not a tokenizer; give a folder of one")
    try:
        with torch.device("meta"):
            tokenizer = VQGAN(VQConfig(**config.arguments))  # type: ignore[arg-type]
    except TypeError as error:
        raise WeightsError(f"{folder}: config.json does not describe a tokenizer: {error}") from error
    tokenizer.load_state_dict(load_tensors(folder, expectation(tokenizer), file=FILE, config=config), assign=True)
    return tokenizer.eval()
