"""A case of the authors' code: a safetensors file (their weights, inputs and outputs) with a JSON beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from parvis.errors import WeightsError
from parvis.weights.config import parse_json


class Tensors(Mapping[str, Tensor]):
    """The tensors of a case; remembers which were asked for, so that nothing recorded is left out unseen."""

    def __init__(self, content: Mapping[str, Tensor]) -> None:
        self.content, self.asked = dict(content), set[str]()

    def __getitem__(self, name: str) -> Tensor:
        self.asked.add(name)
        return self.content[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)

    def unread(self) -> list[str]:
        """The outputs that were never asked for."""
        return sorted(name for name in self.content if name.startswith("outputs.") and name not in self.asked)


@dataclass(frozen=True)
class Case:
    """A case read from its two files. ``order``: of the axis of tokens in training's outputs, where it is not that of
    generation."""

    facts: Mapping[str, Any]
    tensors: Tensors
    order: Tensor | None = field(default=None, compare=False)

    @property
    def config(self) -> Mapping[str, Any]:
        config: Mapping[str, Any] = self.facts["config"]
        return config

    def weights(self, prefix: str = "weights.") -> dict[str, Tensor]:
        """The official state dict; half-precision storage is widened to float32."""
        state = {name[len(prefix) :]: self.tensors[name] for name in self.tensors if name.startswith(prefix)}
        return {name: t.float() if t.is_floating_point() else t for name, t in state.items()}

    def inputs(self, name: str) -> Tensor:
        return self.tensors[f"inputs.{name}"]

    def outputs(self, name: str) -> Tensor | None:
        return self.tensors.get(f"outputs.{name}")


def read_facts(place: Path) -> Mapping[str, Any]:
    """The JSON of a case. Raises WeightsError where it is missing or damaged."""
    try:
        facts = parse_json(place.read_bytes(), str(place))
    except OSError as error:
        raise _unreadable(place, error) from error
    if not isinstance(facts, dict):
        raise WeightsError(f"{place} does not say which system and config it is for")
    return facts


def read_case(path: str | Path) -> Case:
    """Read ``CASE.safetensors`` and ``CASE.json``. Raises WeightsError where either is missing or damaged."""
    place = Path(path)
    beside = place.with_suffix(".json")
    facts = read_facts(beside)
    try:
        tensors = safetensors.torch.load_file(place)
    except (OSError, safetensors.SafetensorError) as error:
        raise _unreadable(place, error) from error
    if not {"system", "config"} <= set(facts):
        raise WeightsError(f"{beside} does not say which system and config it is for")
    return Case(facts, Tensors(tensors))


def _unreadable(place: Path, error: Exception) -> WeightsError:
    return WeightsError(f"cannot read the case {place}: {error}; it needs a .safetensors file and a .json")
