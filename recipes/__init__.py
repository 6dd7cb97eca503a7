"""Recipes: a function per result. Its docstring says what it makes; ``parvis train NAME`` runs it, a tokenizer's
``parvis tokenizer train NAME``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from recipes import emoji, fashion, fashion_tokenizers, published, small, small_tokenizers, texts, tokenizer

RECIPES: dict[str, Callable[..., object]] = {
    "emoji-64": emoji.emoji_64,
    "emoji-64-raster": emoji.emoji_64_raster,
    "emoji-128": emoji.emoji_128,
    "emoji-128-raster": emoji.emoji_128_raster,
    **{f"fashion-{name}": partial(fashion.train, name) for name in fashion.RUNS},
    **small.SMALL,
    **texts.TEXTS,
    **published.TRAINED,
}
"""By the name that ``parvis train`` takes; each takes ``out`` and some of the options of ``commands/train.py``."""

TOKENIZERS: dict[str, Callable[..., object]] = {
    "small": small_tokenizers.small,
    "kl-small": small_tokenizers.kl_small,
    "multiscale-small": small_tokenizers.multiscale_small,
    "emoji": tokenizer.emoji_tokenizer,
    "fashion-vq": fashion_tokenizers.fashion_vq,
    "fashion-kl": fashion_tokenizers.fashion_kl,
    "fashion-multiscale": fashion_tokenizers.fashion_multiscale,
}
"""By the name that ``parvis tokenizer train`` takes; each takes ``out`` and some of the options of
``commands/train.py``."""

__all__ = ["RECIPES", "TOKENIZERS"]
