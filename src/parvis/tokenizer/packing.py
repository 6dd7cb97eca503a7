"""Convolutions with prepacked weights: how a picture is decoded fast on a CPU, alone as well as in a batch.

``torch.nn.Conv2d`` sends a small input (one picture's coarse levels) through an unfolding that is much slower than
oneDNN's kernel, and rearranges the weight at every call. A packed convolution always takes oneDNN's kernel, with a
weight arranged once. So on one thread a picture's numbers do not depend on how many are decoded with it
(``engine/steady.py``).

The operators are private to PyTorch, so they are looked for, tried against ``F.conv2d`` once, and left alone with a
reason (:func:`convolution_problem`) where they are missing or wrong. Legend: B images, C channels, H height, W width.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvis.packed import Packed

_TOLERANCE = 1e-5  # of the largest output

Way = tuple[tuple[int, int], tuple[int, int], tuple[int, int], int]
"""Stride, padding, dilation and groups."""


def _reorder(weight: Tensor, way: Way) -> Tensor:
    stride, padding, dilation, groups = way
    packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
        weight, list(padding), list(stride), list(dilation), groups, None
    )
    return packed


def _product(x: Tensor, packed: Tensor, bias: Tensor | None, way: Way) -> Tensor:
    stride, padding, dilation, groups = way
    y: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, packed, bias, list(padding), list(stride), list(dilation), groups, "none", [], ""
    )
    return y


@lru_cache(maxsize=1)
def convolution_problem() -> str | None:
    """Why convolutions in float32 cannot be packed in this process, or ``None`` where they can. The first call
    tries."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "this PyTorch is built without oneDNN"
    try:
        with torch.inference_mode():
            worst = _self_test()
    except (AttributeError, RuntimeError, NotImplementedError) as error:
        return f"this PyTorch has no usable packed convolution: {str(error).splitlines()[0][:200]}"
    if not worst <= _TOLERANCE:
        return f"the packed convolution is wrong on this machine: relative error {worst:.1e} against F.conv2d"
    return None


def _self_test() -> float:
    """Largest error relative to the largest output; inf where a packed weight does not come back as it was."""
    chance, errors = torch.Generator().manual_seed(0), []
    for fan_in, fan_out, size, stride in ((3, 32, 3, 1), (32, 48, 3, 2), (40, 8, 1, 1), (5, 7, 3, 1)):
        weight = torch.randn(fan_out, fan_in, size, size, generator=chance) / fan_in**0.5
        some = torch.randn(fan_out, generator=chance)
        way: Way = ((stride, stride), (size // 2, size // 2), (1, 1), 1)
        packed = _reorder(weight, way)
        if not torch.equal(packed.to_dense(), weight):
            return float("inf")
        for shape in ((1, 8, 8), (3, 17, 9)):
            x = torch.randn(shape[0], fan_in, *shape[1:], generator=chance)
            for layout in (torch.contiguous_format, torch.channels_last):
                for bias in (None, some):
                    got = _product(x.contiguous(memory_format=layout), packed, bias, way)
                    wanted = F.conv2d(x, weight, bias, stride, size // 2)
                    if got.shape != wanted.shape:
                        return float("inf")
                    errors.append((got - wanted).abs().max() / wanted.abs().max())
    return float(torch.stack(errors).max())


class PackedConv(Packed):
    """``nn.Conv2d`` for inference in float32 on a CPU, its weight held packed only.

    Args:
        weight: [out, in / groups, h, w]; not kept. bias: [out] or ``None``. way: stride, padding, dilation, groups.
    """

    kind = "convolution"

    def __init__(self, weight: Tensor, bias: Tensor | None, way: Way) -> None:
        super().__init__(_reorder(weight.detach(), way), weight.dtype, bias)
        self.way, self.shape = way, weight.shape

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return _product(x_BCHW, self._packed, self.bias, self.way)

    def extra_repr(self) -> str:
        out, fan_in, height, width = self.shape
        return f"{fan_in} -> {out}, {height}x{width}, bias={self.bias is not None}"

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedConv, (self.unpack(), self.bias, self.way)


def pack_convolutions(module: nn.Module) -> nn.Module:
    """Replace the convolutions of an inference model, in place, by :class:`PackedConv`; return the model.

    Left as they are: other dtypes and devices, subclasses of ``nn.Conv2d``, other padding than zeros, layers with
    hooks, and everything where :func:`convolution_problem` has a reason. Numbers stay within rounding.
    """
    made: dict[nn.Module, PackedConv] = {}
    for parent in list(module.modules()):
        for name, child in list(parent._modules.items()):
            if child not in made and isinstance(child, nn.Conv2d) and _packable(child):
                made[child] = _packed(child)
            if child in made:
                setattr(parent, name, made[child])
    return module


def _packed(layer: nn.Conv2d) -> PackedConv:
    def pair(value: tuple[int, ...] | str) -> tuple[int, int]:
        assert not isinstance(value, str) and len(value) == 2
        return value[0], value[1]

    way = (pair(layer.stride), pair(layer.padding), pair(layer.dilation), layer.groups)
    return PackedConv(layer.weight, layer.bias, way)


def _packable(layer: nn.Conv2d) -> bool:
    if type(layer) is not nn.Conv2d or layer.weight.device.type != "cpu" or layer.weight.dtype != torch.float32:
        return False
    if layer._forward_hooks or layer._forward_pre_hooks or isinstance(layer.padding, str):
        return False
    return layer.padding_mode == "zeros" and convolution_problem() is None
