"""From what a caller asks for to what a model is conditioned on: captions, class numbers, text features; and seeds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from parvis.data.captions import Words
from parvis.errors import UnknownName, UsageError
from parvis.model.context import Features, FeaturesCondition, Given
from parvis.system import System
from parvis.text import features_of

Prompts: TypeAlias = str | int | Sequence[str] | Sequence[int]
"""One or several captions, or class numbers."""


def ask(
    system: System,
    words: Words | None,
    prompts: Prompts,
    n: int,
    seed: int | Sequence[int],
    features: Tensor | str | Path | None,
    mask: Tensor | None,
) -> tuple[list[str], list[int], Given]:
    """What every picture is called, its seed, and what conditions it: ``n`` pictures of every prompt.

    Args:
        words: the vocabulary of a system that takes captions. seed: of the first picture, or one for each.
        features, mask: text features in place of the captions, for a system that takes them (``parvis/text.py``).

    Raises:
        UsageError: no prompts, prompts of another kind than the system takes, or another number of seeds or features.
    """
    single: list[str | int] = [prompts] if isinstance(prompts, str | int) else list(prompts)
    encoded = _features(system, single, features, mask)
    if encoded is not None and not single:
        single = [f"features {i}" for i in range(len(encoded.values))]
    if not single or n < 1:
        raise UsageError(f"got {len(single)} prompts and n={n}; give at least one prompt and n of 1 or more")
    asked = [str(prompt) for prompt in single for _ in range(n)]
    seeds = [seed + i for i in range(len(asked))] if isinstance(seed, int) else list(seed)
    if len(seeds) != len(asked):
        raise UsageError(f"{len(seeds)} seeds for {len(asked)} pictures; give one seed, or one per picture")
    index = torch.arange(len(asked)) // n
    if encoded is None:
        return asked, seeds, torch.stack([_condition(system, words, prompt) for prompt in single])[index]
    if len(encoded.values) != len(single):
        raise UsageError(f"{len(single)} prompts and features of {len(encoded.values)}; give as many of both")
    return asked, seeds, encoded[index]


def _features(
    system: System, prompts: Sequence[str | int], features: Tensor | str | Path | None, mask: Tensor | None
) -> Features | None:
    """Text features for a system that takes them, one entry per prompt; ``None`` for any other system."""
    condition = system.models["main"].condition
    if not isinstance(condition, FeaturesCondition):
        if features is not None or mask is not None:
            raise UsageError(f"{system.name} draws from {system.takes}, not from text features; leave features out")
        return None
    texts = [str(prompt) for prompt in prompts]
    return features_of(features, mask, texts, condition.prefix, condition.absent.shape[1])


def _condition(system: System, words: Words | None, prompt: str | int) -> Tensor:
    """The words of one caption, long [T], or one class number, long []."""
    if system.takes == "words":
        if not isinstance(prompt, str) or words is None:
            raise UsageError(f"{system.name} draws from captions, got {prompt!r}; give a text such as 'red apple'")
        encoded = words.encode(prompt)
        if encoded.warning:
            warnings.warn(f"{prompt!r}: {encoded.warning}; the rest is used", UserWarning, stacklevel=5)
        return torch.tensor(encoded.ids)
    classes = getattr(system.models["main"].condition, "classes", 0)
    if prompt in system.classes:
        return torch.tensor(system.classes.index(str(prompt)))
    number = int(prompt) if isinstance(prompt, int) or prompt.isdigit() else -1
    if isinstance(prompt, str) and number < 0 and system.classes:
        raise UnknownName("class", prompt, system.classes)
    if not 0 <= number < classes:
        raise UsageError(f"{system.name} draws from class numbers 0 to {classes - 1}, got {prompt!r}")
    return torch.tensor(number)
