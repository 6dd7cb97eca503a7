"""The key-value cache: preallocated, written by slot, read as a prefix. It knows nothing about orders or masks.

Rows of a pass are *provisional* in the sense that a later pass may write the same slots again (LPD's queries are
replaced by the tokens sampled for them; a rejected Jacobi guess is replaced by the next one). Nothing is ever copied
to make room, and nothing is cleared: whatever lies in the slots that a pass may see was written by it or before it
(``RowPlan``).

Legend: L layers, B images (condition and null rows stacked), H heads, S slots, d head width.
"""

from __future__ import annotations

import math
import weakref
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
        self._home: Cache | None = None
        self._members: list[weakref.ref[Cache]] = []

    @property
    def written(self) -> bool:
        """Whether it holds anything."""
        return "keys" in self.__dict__

    @property
    def nbytes(self) -> int:
        """What it takes, or will take once it is written."""
        return 2 * math.prod(self.shape) * self.dtype.itemsize

    @cached_property
    def keys(self) -> Tensor:
        return torch.empty(self.shape, dtype=self.dtype, device=self.device)

    @cached_property
    def values(self) -> Tensor:
        return torch.empty(self.shape, dtype=self.dtype, device=self.device)

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

    def alone(self) -> Cache:
        """This cache in memory of its own, where it was joined with others."""
        if self._home is not None:
            self._home = None
            self.keys, self.values = self.keys.clone(), self.values.clone()
        return self


def joined(caches: Sequence[Cache], copies: int) -> Cache:
    """The caches of several requests of one image as one, copy by copy and in each copy request by request.

    From then on they are views of it, so that the same requests are joined again without copying anything. (``copies``:
    2 where the null condition is stacked behind the real one.)
    """
    home = caches[0]._home
    if home is not None and [member() for member in home._members] == list(caches):
        return home
    layers, _, heads, slots, width = caches[0].shape
    count = len(caches)
    home = Cache(layers, copies * count, heads, slots, width, caches[0].dtype, caches[0].device)
    home._members = [weakref.ref(cache) for cache in caches]
    for index, cache in enumerate(caches):
        keys, values = home.keys[:, index::count], home.values[:, index::count]
        if cache.written:
            keys.copy_(cache.keys)
            values.copy_(cache.values)
        cache.keys, cache.values, cache._home = keys, values, home
    return home
