"""A tokenizer alone as a model folder: what its training writes and the training of a transformer reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from parvis.errors import ParvisError, WeightsError
from parvis.meta import without_memory
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.kl import KL, KLConfig
from parvis.tokenizer.multiscale import MultiScaleConfig, MultiScaleVQ
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.weights.config import FolderConfig
from parvis.weights.folder import expectation, load_config, load_tensors, save_folder

FILE = "tokenizer.safetensors"
KIND = "vqgan"
KINDS: dict[str, Callable[..., Tokenizer]] = {
    KIND: lambda **arguments: VQGAN(VQConfig(**arguments)),
    "kl": lambda **arguments: KL(KLConfig(**arguments)),
    "multiscale": lambda **arguments: MultiScaleVQ(MultiScaleConfig(**arguments)),
}
"""What ``config.json`` calls the system of a tokenizer alone; called with its ``arguments``."""
Known = VQGAN | KL | MultiScaleVQ
"""The tokenizers that a folder can hold."""


def arguments_of(tokenizer: Known) -> dict[str, Any]:
    """The tokenizer's config as ``config.json`` holds it."""
    arguments: dict[str, Any] = json.loads(json.dumps(asdict(tokenizer.config)))
    return arguments


def kind_of(tokenizer: Known) -> str:
    """Its name in ``KINDS``."""
    return "kl" if isinstance(tokenizer, KL) else "multiscale" if isinstance(tokenizer, MultiScaleVQ) else KIND


def config_of(tokenizer: Known, about: Mapping[str, str] | None = None) -> FolderConfig:
    """The ``config.json`` of a tokenizer alone."""
    return FolderConfig(kind_of(tokenizer), arguments_of(tokenizer), about=about or {})


def save_tokenizer(folder: Path, tokenizer: Known, about: Mapping[str, str] | None = None) -> None:
    """Write ``tokenizer`` as a model folder, whole or not at all."""
    save_folder(folder, config_of(tokenizer, about), {FILE: tokenizer.state_dict()})


def build_tokenizer(config: FolderConfig) -> Tokenizer:
    """The tokenizer that ``config`` describes, without memory. Raises WeightsError where it describes none."""
    try:
        with without_memory():
            return KINDS[config.system](**config.arguments)
    except (TypeError, ParvisError) as error:
        raise WeightsError(f"config.json does not describe a tokenizer: {error}") from error


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder of its own, of any kind. Raises WeightsError where it is damaged or something else."""
    config = load_config(folder)
    if config.system not in KINDS:
        raise WeightsError(f"{folder} holds a {config.system!r} system, not a tokenizer; give a folder of one")
    tokenizer = build_tokenizer(config)
    tokenizer.load_state_dict(load_tensors(folder, expectation(tokenizer), file=FILE, config=config), assign=True)
    return tokenizer.eval()


def load_tokenizer(folder: Path) -> VQGAN:
    """As :func:`read_tokenizer`, for those who need a VQGAN. Raises WeightsError for any other tokenizer as well."""
    tokenizer = read_tokenizer(folder)
    if not isinstance(tokenizer, VQGAN):
        what = "of latents, which has no codes" if isinstance(tokenizer, KL) else "of several scales"
        raise WeightsError(f"{folder} holds a tokenizer {what}; give one of codes of one scale, such as vq16")
    return tokenizer
