"""Linear layers with prepacked weights: how a linear layer is run is most of the time of a model on a CPU.

``torch.nn.Linear`` hands MKL or oneDNN a row-major weight, which is rearranged into the kernel's own order again at
every call. At the few rows of a decoding pass (2 to 200) that costs as much as the product. :func:`pack` does it once.

The operators are private to PyTorch, so they are looked for, tried against ``F.linear`` once per dtype, and left alone
with a reason (:func:`packing_problem`) where they are missing or wrong.
"""

from __future__ import annotations

import logging
from collections import Counter
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvis.errors import UsageError
from parvis.packed import Packed

_log = logging.getLogger(__name__)

_ROWS = 64  # the row count oneDNN is told to expect; packings for 2, 16, 64 and 200 rows are equally fast from 1 to 200

LEAST = 1 << 18
"""Weights that a layer to be packed must have: a packed call costs 50 us more, which smaller layers never win back."""

_FINEST = 8

_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}  # of the largest output


def rung(rows: int) -> int:
    """With how many rows to run a packed product where ``rows`` are needed: 1, 2, 4, then multiples of 8, from 128 on
    eight in every doubling.

    For every number of rows that it has ever seen oneDNN keeps half a MiB to four MiB per layer, and gives little of it
    back. A server sees every number there is; so few are let through that it stays small.
    """
    if rows < _FINEST:
        return 1 << (rows - 1).bit_length() if rows else 0
    step = max(_FINEST, (1 << (rows - 1).bit_length()) >> 4)
    return -(-rows // step) * step


def _reorder(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
    return packed


def _product(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    return y


@lru_cache(maxsize=8)
def packing_problem(dtype: torch.dtype) -> str | None:
    """Why linear layers of ``dtype`` cannot be packed in this process, or ``None`` where they can.

    The first call for a dtype runs the self-test (milliseconds): odd and even sizes, 1 to 130 rows, with and without
    bias, against ``F.linear``.
    """
    if dtype not in _TOLERANCE:
        return f"{dtype} is not float32 or bfloat16"
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "this PyTorch is built without oneDNN"
    try:
        with torch.inference_mode():
            worst = _self_test(dtype)
    except (AttributeError, RuntimeError, NotImplementedError) as error:
        return f"this PyTorch has no usable packed linear layer: {str(error).splitlines()[0][:200]}"
    if not worst <= _TOLERANCE[dtype]:
        return f"the packed linear layer is wrong on this machine: relative error {worst:.1e} against F.linear"
    return None


def packing_available(dtype: torch.dtype = torch.float32) -> bool:
    """Whether :func:`pack` changes layers of ``dtype`` on a CPU; see :func:`packing_problem`."""
    return packing_problem(dtype) is None


def _self_test(dtype: torch.dtype) -> float:
    """Largest error of the packed product, relative to the largest output; inf for a wrong shape, dtype or weight."""
    chance, errors = torch.Generator().manual_seed(0), []
    for fan_in, fan_out in ((17, 35), (128, 192), (256, 64)):
        weight = (torch.randn(fan_out, fan_in, generator=chance) / fan_in**0.5).to(dtype)
        some = torch.randn(fan_out, generator=chance).to(dtype)
        packed = _reorder(weight)
        if not torch.equal(packed.to_dense(), weight):
            return float("inf")
        for rows in (1, 2, 7, 40, 130):
            x = torch.randn(rows, fan_in, generator=chance).to(dtype)
            for bias in (None, some):
                got, wanted = _product(x, packed, bias), F.linear(x, weight, bias)
                if got.shape != wanted.shape or got.dtype != wanted.dtype:
                    return float("inf")
                errors.append((got.float() - wanted.float()).abs().max() / wanted.float().abs().max())
    return float(torch.stack(errors).max())


class PackedLinear(Packed):
    """``nn.Linear`` for inference, its weight held packed only (CPU; float32 or bfloat16).

    Any leading shape, contiguous or not.

    Args:
        weight: [out_features, in_features]; not kept.
        bias: [out_features] or ``None``; kept as it is.

    Raises:
        UsageError: weights of this kind cannot be packed here (:func:`packing_problem`).
    """

    kind = "linear layer"

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        problem = f"its weight is on {weight.device}" if weight.device.type != "cpu" else packing_problem(weight.dtype)
        if problem is not None:
            raise UsageError(f"this linear layer cannot be packed: {problem}; pack() leaves such layers as they are")
        super().__init__(_reorder(weight.detach()), weight.dtype, bias)
        self.out_features, self.in_features = weight.shape

    def forward(self, x: Tensor) -> Tensor:
        try:
            rows = x.shape[:-1].numel()
            if rows == rung(rows):
                return _product(x, self._packed, self.bias)
            flat = F.pad(x.reshape(rows, x.shape[-1]), (0, 0, 0, rung(rows) - rows))
            return _product(flat, self._packed, self.bias)[:rows].view(*x.shape[:-1], self.out_features)
        except RuntimeError as error:
            raise RuntimeError(
                f"packed linear layer {self.extra_repr()} was given {tuple(x.shape)} of {x.dtype} on {x.device}"
            ) from error

    def extra_repr(self) -> str:
        return f"{self.in_features} -> {self.out_features}, bias={self.bias is not None}, {self.dtype}"

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedLinear, (self.unpack(), self.bias)


def pack(module: nn.Module, least: int = LEAST) -> nn.Module:
    """Replace the linear layers of an inference model, in place, by :class:`PackedLinear`; return the model.

    Each layer's own weight is dropped as soon as its packed form exists, so memory grows by one layer at most. Left as
    they are: small layers, layers that are not on a CPU, subclasses of ``nn.Linear``, layers with hooks, weights that
    another module uses too (a tied head: packing would add a copy), and dtypes for which :func:`packing_problem` has a
    reason. Numbers stay within rounding of the unpacked model's.

    Args:
        module: a model in its final dtype on its final device. ``torch.compile`` a model or pack it, not both.
        least: layers of fewer weights stay as they are.

    Returns:
        ``module``, or its replacement where ``module`` itself is a linear layer.
    """
    owners = Counter(id(parameter) for owner in module.modules() for parameter in owner.parameters(recurse=False))
    made: dict[int, PackedLinear] = {}

    def replaced(layer: nn.Module) -> nn.Module:
        if id(layer) in made or not _packable(layer, least):
            return made.get(id(layer), layer)
        assert isinstance(layer, nn.Linear)
        if owners[id(layer.weight)] > 1:
            return layer
        made[id(layer)] = PackedLinear(layer.weight, layer.bias)
        del layer.weight  # whoever still holds the layer must not keep its memory
        return made[id(layer)]

    for parent in list(module.modules()):
        for name, child in parent.named_children():
            setattr(parent, name, replaced(child))
    return replaced(module)


def _packable(layer: nn.Module, least: int) -> bool:
    if type(layer) is not nn.Linear or layer.weight.device.type != "cpu" or layer.weight.numel() < least:
        return False
    if layer._forward_hooks or layer._forward_pre_hooks:
        return False
    problem = packing_problem(layer.weight.dtype)
    if problem is not None:
        _log.info("linear layer %s stays unpacked: %s", layer, problem)
    return problem is None
