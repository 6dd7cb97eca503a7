"""Weights in 8 bits: every row of a large matrix as whole numbers in -127..127 with one float32 scale. LOSSY.

Half the size of bfloat16, for models that are shipped. Stored as the tensor ``NAME`` (int8) with ``NAME.scale`` [rows]
beside it; reading gives float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, int8

SCALE = ".scale"
T = TypeVar("T")


def to_int8(state: Mapping[str, Tensor], least: int = 1 << 14) -> dict[str, Tensor]:
    """``state`` with its float matrices of at least ``least`` elements in 8 bits; all else as it is.

    A value is the integer nearest to w / scale, scale = max |row| / 127 (1 for a row of zeros): it is off by at most
    half a scale.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if tensor.dim() != 2 or tensor.numel() < least or not tensor.is_floating_point():
            stored[name] = tensor
            continue
        wide = tensor.detach().float()
        scale = wide.abs().amax(1) / 127
        scale[scale == 0] = 1
        stored[name], stored[name + SCALE] = (wide / scale[:, None]).round().to(int8), scale
    return stored


def from_int8(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What :func:`to_int8` stored, as float32."""
    return {
        name: tensor.float() * stored[name + SCALE][:, None] if name + SCALE in stored else tensor
        for name, tensor in without_scales(stored).items()
    }


def without_scales(stored: Mapping[str, T]) -> dict[str, T]:
    """``stored`` without those entries that are the scales of another."""
    return {name: x for name, x in stored.items() if not (name.endswith(SCALE) and name.removesuffix(SCALE) in stored)}
