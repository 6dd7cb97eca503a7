"""A case of the authors' code: a safetensors file (their weights, inputs and outputs) with a JSON beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from parvis.errors import WeightsError
from parvis.weights.config import parse_json


@dataclass(frozen=True)
class Case:
    """A case read from its two files."""

    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def config(self) -> Mapping[str, Any]:
        config: Mapping[str, Any] = self.facts["config"]
        return config

    def weights(self, prefix: str = "weights.") -> dict[str, Tensor]:
        """The official state dict; half-precision storage is widened to float32."""
        state = {name[len(prefix) :]: t for name, t in self.tensors.items() if name.startswith(prefix)}
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
    return Case(facts, tensors)


def _unreadable(place: Path, error: Exception) -> WeightsError:
    return WeightsError(f"cannot read the case {place}: {error}; it needs a .safetensors file and a .json")
