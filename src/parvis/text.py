"""Text features for text-conditional systems: computed by a T5 encoder, or read from a file.

The encoder is the extra ``text`` (``transformers``), loaded when the first prompt comes. Models here take features with
the words at the end and the padding, zeros, in front (LlamaGen's left padding).

Shapes: B prompts, T slots, n rows of one prompt, F width of the features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from parvis.errors import DataError, UsageError
from parvis.model.context import Features

ENCODER = "google/flan-t5-xl"
"""LlamaGen's text encoder; its features are 2048 wide."""


def pad_left(values_BnF: Tensor, visible_Bn: Tensor, slots: int) -> Features:
    """``slots`` rows for every prompt: the rows that ``visible`` marks, in their order, at the end; zeros in front.

    Raises UsageError where a prompt has no row, more than ``slots``, or the mask has another shape.
    """
    if values_BnF.ndim != 3 or tuple(visible_Bn.shape) != tuple(values_BnF.shape[:2]):
        raise UsageError(
            f"text features are [B, n, F] with a mask [B, n]; got {list(values_BnF.shape)} and {list(visible_Bn.shape)}"
        )
    visible_Bn = visible_Bn.bool()
    counts_B = visible_Bn.sum(1)
    if len(counts_B) and not 1 <= int(counts_B.min()) <= int(counts_B.max()) <= slots:
        raise UsageError(
            f"text features of {int(counts_B.min())} to {int(counts_B.max())} rows a prompt; needed are 1 to {slots}"
        )
    padded = values_BnF.new_zeros(len(values_BnF), slots, values_BnF.shape[2])
    shown = torch.arange(slots, device=values_BnF.device) >= slots - counts_B[:, None]
    padded[shown] = values_BnF[visible_Bn]
    return Features(padded, shown)


def read_features(path: str | Path) -> tuple[Tensor, Tensor | None]:
    """Features [B, n, F] and their mask [B, n] or None (all words) from a ``.safetensors`` or ``.npy`` file.

    A safetensors file holds ``features`` and may hold ``mask``; a ``.npy`` file holds the features of words only, as
    LlamaGen's scripts write them. Features of one prompt may lack the first axis. Raises DataError.
    """
    place = Path(path)
    try:
        if place.suffix == ".npy":
            values, mask = torch.from_numpy(np.load(place, allow_pickle=False)), None
        else:
            content = safetensors.torch.load_file(place)
            values, mask = content["features"], content.get("mask")
    except (OSError, ValueError, TypeError, KeyError, EOFError, safetensors.SafetensorError) as error:
        raise DataError(
            f"{place}: no text features ({str(error)[:120]}); expected a .npy file of numbers, or a .safetensors file "
            "with 'features' and 'mask'"
        ) from error
    if values.ndim == 2:
        values, mask = values[None], mask if mask is None else mask.reshape(1, -1)
    if values.ndim != 3 or not values.is_floating_point() or not bool(values.isfinite().all()):
        raise DataError(f"{place}: text features are finite numbers [B, n, F]; got {values.dtype} {list(values.shape)}")
    return values.float(), mask


def features_of(
    given: Tensor | str | Path | None, mask: Tensor | None, prompts: Sequence[str], slots: int, width: int
) -> Features:
    """What a model with ``slots`` rows of ``width`` features takes: ``given`` features, else the ``prompts`` encoded.

    Raises UsageError where they do not fit, or nothing can encode the prompts.
    """
    if given is None:
        if mask is not None:
            raise UsageError("a mask needs the features that it is for")
        return encode(prompts, slots, width)
    if isinstance(given, str | Path):
        if mask is not None:
            raise UsageError("a file of features brings its own mask; leave mask out")
        given, mask = read_features(given)
    if given.ndim != 3 or given.shape[2] != width:
        raise UsageError(f"text features are [B, n, {width}] for this model; got {list(given.shape)}")
    visible = torch.ones(given.shape[:2], dtype=torch.bool) if mask is None else mask
    found = pad_left(given, visible.to(given.device), slots)
    if not bool(found.values.isfinite().all()):
        raise UsageError("text features are finite numbers; those of some words are not: encode the prompts again")
    return found


def encode(
    prompts: Sequence[str], slots: int, width: int, load: Callable[[], tuple[Any, Any]] | None = None
) -> Features:
    """``prompts`` through the T5 encoder, cut after ``slots`` tokens.

    Prompts are lower-cased and their white space is made single, the part of LlamaGen's cleaning that changes ordinary
    captions; its removal of addresses, markup and file names is not repeated here.

    Args:
        load: gives (tokenizer, encoder) in the interface of ``transformers``; Flan-T5-XL unless given.
    """
    if not prompts:
        raise UsageError("no prompts; give at least one text")
    tokenizer, encoder = (load or _flan_t5)()
    texts = [" ".join(prompt.lower().split()) for prompt in prompts]
    tokens = tokenizer(
        texts, max_length=slots, padding="max_length", truncation=True, return_attention_mask=True, return_tensors="pt"
    )
    with torch.inference_mode():
        output = encoder(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    values: Tensor = output["last_hidden_state"].float()
    if values.shape[2] != width:
        raise UsageError(
            f"the text encoder's features are {values.shape[2]} wide, the model takes {width}; use {ENCODER}"
        )
    return pad_left(values.clone(), tokens["attention_mask"].bool(), slots)


@lru_cache(maxsize=1)
def _flan_t5() -> tuple[Any, Any]:
    try:
        library = import_module("transformers")
    except ImportError as error:
        raise UsageError(
            "drawing from a text needs its T5 features: pip install 'parvis[text]', or give features=... "
            "(a tensor), or --features (a .safetensors or .npy file)"
        ) from error
    try:
        return library.AutoTokenizer.from_pretrained(ENCODER), library.T5EncoderModel.from_pretrained(ENCODER).eval()
    except Exception as error:  # the library's own, the network's, the disk's
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise UsageError(f"{ENCODER} cannot be loaded ({said}); give features=... or --features instead") from error
