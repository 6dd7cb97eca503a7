"""The key-value cache: preallocated, written by slot, read as a prefix. It knows nothing about orders or masks.

Rows of a pass are *provisional* in the sense that a later pass may write the same slots again (LPD's queries are
replaced by the tokens sampled for them; a rejected Jacobi guess is replaced by the next one). Nothing is ever copied
to make room.

Legend: L layers, B images (condition and null rows stacked), H heads, S slots, d head width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from parvis.model.plan import Rows


class Cache:
    """Keys and values of every layer, [L, B, H, S, d] each; memory is taken when they are first written.

    Args:
        layers, batch, heads, slots, width: the sizes L, B, H, S, d.
        dtype, device: as the model computes.
    """

    def __init__(
        self, layers: int, batch: int, heads: int, slots: int, width: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.shape, self.dtype, self.device = (layers, batch, heads, slots, width), dtype, device

    @property
    def nbytes(self) -> int:
        """What it takes, or will take once it is written."""
        return 2 * math.prod(self.shape) * self.dtype.itemsize

    @cached_property
    def keys(self) -> Tensor:
        return torch.zeros(self.shape, dtype=self.dtype, device=self.device)

    @cached_property
    def values(self) -> Tensor:
        return torch.zeros(self.shape, dtype=self.dtype, device=self.device)

    def extend(self, layer: int, rows: Rows, key_BHRd: Tensor, value_BHRd: Tensor) -> tuple[Tensor, Tensor]:
        """Write the rows' keys and values into their slots; return all that these rows may see, views [B, H, K, d]."""
        keys, values = self.keys[layer], self.values[layer]
        if rows.span is not None:
            low, high = rows.span
            keys[:, :, low:high] = key_BHRd
            values[:, :, low:high] = value_BHRd
        else:
            keys.index_copy_(2, rows.slots, key_BHRd)
            values.index_copy_(2, rows.slots, value_BHRd)
        return keys[:, :, : rows.length], values[:, :, : rows.length]


class Caches:
    """The caches of several requests of one image each, as one of a merged batch."""

    def __init__(self, caches: Sequence[Cache]) -> None:
        self.caches = caches

    def extend(self, layer: int, rows: Rows, key_BHRd: Tensor, value_BHRd: Tensor) -> tuple[Tensor, Tensor]:
        """Everyone's keys and values into their own slots; all that they may see, stacked, [B, H, K, d]."""
        count = len(self.caches)
        each = [c.extend(layer, rows, key_BHRd[i::count], value_BHRd[i::count]) for i, c in enumerate(self.caches)]
        keys, values = (torch.stack(part, 1).flatten(0, 1) for part in zip(*each, strict=True))
        return keys, values
