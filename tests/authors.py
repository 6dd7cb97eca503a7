"""Toy systems as published ones, with checkpoints in their authors' layout."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from torch import Tensor

from parvis.system import System
from parvis.systems import PUBLISHED, SYSTEMS
from parvis.weights.layouts import LAYOUTS, layout_of
from toys import EVERY, FAMILIES, toy

TOYS = tuple(name for name in EVERY if FAMILIES.get(name, name) in LAYOUTS)


@contextmanager
def published_toys() -> Iterator[None]:
    """``toy-NAME`` is a published system of its own family, with its family's layout; no other is published."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(PUBLISHED):
            patch.delitem(PUBLISHED, name)
        for name in TOYS:
            toy(name)  # built here, where tensors have memory
            build = _builder(name)
            patch.setitem(SYSTEMS, f"toy-{name}", build)
            patch.setitem(PUBLISHED, f"toy-{name}", partial(build))
            patch.setitem(LAYOUTS, f"toy-{name}", LAYOUTS[FAMILIES.get(name, name)])
        yield


def _builder(name: str) -> Callable[[], System]:
    def build() -> System:
        return copy.deepcopy(toy(name))

    return build


def model_state(name: str) -> dict[str, Tensor]:
    """The transformer of a toy as its authors' code keeps it, derived buffers and all."""
    system, layout = toy(name), LAYOUTS[FAMILIES.get(name, name)]
    state, _ = layout.keys.invert(system.models["main"].state_dict())
    return {**state, **layout.derived(system)}


def tokenizer_state(name: str) -> dict[str, Tensor]:
    """The tokenizer of a toy as its authors' code keeps it."""
    tokenizer = toy(name).tokenizer
    layout = layout_of(tokenizer)
    return {**layout.keys.invert(tokenizer.state_dict())[0], **layout.derived(tokenizer)}


def nested(state: dict[str, Tensor], *path: str) -> dict[str, Any]:
    inner: dict[str, Any] = state
    for key in reversed(path):
        inner = {key: inner}
    return inner
