"""A layer for inference on a CPU whose weight is held in oneDNN's own arrangement: what linear layers and convolutions
that are packed have in common."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from parvis.errors import UsageError


class Packed(nn.Module, ABC):
    """It cannot be trained, cast or moved: load, cast and move first, pack last.

    ``state_dict()``, ``copy.deepcopy`` and ``pickle`` unpack the weight: what is saved is an ordinary layer's. Loading
    into a packed layer is refused.

    Args:
        packed: the weight, rearranged. dtype: it computes in. bias: kept as it is.
    """

    bias: Tensor | None
    kind: str
    """What to call it in an error."""

    def __init__(self, packed: Tensor, dtype: torch.dtype, bias: Tensor | None) -> None:
        super().__init__()
        self._packed, self.dtype = packed, dtype
        self.register_parameter("bias", None if bias is None else nn.Parameter(bias.detach(), requires_grad=False))
        self.eval()

    def __call__(self, x: Tensor) -> Tensor:
        if x.requires_grad and torch.is_grad_enabled():
            raise UsageError(
                f"a packed {self.kind} only infers: run it under torch.inference_mode(), or train before packing"
            )
        y: Tensor = super().__call__(x)
        return y

    @abstractmethod
    def __reduce__(self) -> tuple[Any, ...]: ...

    def unpack(self) -> Tensor:
        """The weight as it was: a new tensor."""
        weight: Tensor = self._packed.to_dense()
        return weight

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """``to``, ``float``, ``cuda`` and the like: allowed where they would change nothing."""
        probe = fn(torch.empty(0, dtype=self.dtype))
        if probe.dtype != self.dtype or probe.device.type != "cpu":
            raise UsageError(
                f"a packed {self.kind} ({self.dtype}, cpu) cannot become {probe.dtype} on {probe.device}: "
                "cast and move the model before it is packed"
            )
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        destination[prefix + "weight"] = self.unpack()
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        error_msgs.append(f"{prefix}weight: this {self.kind} is packed; load the weights before the model is packed")


def weight_bytes(module: nn.Module) -> int:
    """What the weights of a model take, packed or not."""
    packed = sum(one._packed.numel() * one.dtype.itemsize for one in module.modules() if isinstance(one, Packed))
    return packed + sum(one.numel() * one.dtype.itemsize for one in module.parameters())


def shell(module: nn.Module, made: dict[int, nn.Module] | None = None) -> nn.Module:
    """A module of the same parameters and buffers whose layers can be replaced without a change to ``module``; what is
    packed is shared. ``made``: the shells so far, where several modules share some."""
    made = {} if made is None else made
    if isinstance(module, Packed):
        return module
    if id(module) not in made:
        one = copy.copy(module)
        made[id(module)] = one
        one._parameters = dict(module._parameters)
        one._modules = {n: None if m is None else shell(m, made) for n, m in module._modules.items()}
    return made[id(module)]
