"""What has been generated so far. Legend: B images, N positions, n of them, C channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(eq=False)
class Canvas:
    """Values and whether they are known; with the cache the only thing that changes during decoding.

    Args:
        values: long [B, N] (codes) or float [B, N, C] (latents), zero where unknown.
        known: bool [B, N].
    """

    values: Tensor
    known: Tensor

    @classmethod
    def empty(cls, batch: int, tokens: int, device: torch.device | str = "cpu", channels: int | None = None) -> Canvas:
        """A canvas of unknown codes, or of unknown latents if ``channels`` is given."""
        known = torch.zeros(batch, tokens, dtype=torch.bool, device=device)
        if channels is None:
            return cls(torch.zeros(batch, tokens, dtype=torch.long, device=device), known)
        return cls(torch.zeros(batch, tokens, channels, device=device), known)

    @property
    def batch(self) -> int:
        return self.values.shape[0]

    @property
    def tokens(self) -> int:
        return self.values.shape[1]

    def write(self, positions: Tensor, values: Tensor) -> None:
        """Put ``values`` [B, n] or [B, n, C] at ``positions`` ([n] or [B, n]) and mark them known."""
        index = positions.expand(self.batch, positions.shape[-1])
        assert values.shape[:2] == index.shape, (values.shape, index.shape)
        self.values.scatter_(1, self._wide(index), values.to(self.values.dtype))
        self.known.scatter_(1, index, True)

    def read(self, positions: Tensor) -> Tensor:
        """Values [B, n] or [B, n, C] at ``positions`` ([n] or [B, n]); zero where unknown."""
        return self.values.gather(1, self._wide(positions.expand(self.batch, positions.shape[-1])))

    def drafted(self, positions: Tensor, draft: Tensor) -> Tensor:
        """A copy of the values with ``draft`` [B, n] or [B, n, C] at ``positions`` ([n] or [B, n]); nothing is
        written."""
        index = positions.expand(self.batch, positions.shape[-1])
        return self.values.scatter(1, self._wide(index), draft.to(self.values.dtype))

    def _wide(self, index: Tensor) -> Tensor:
        return index if self.values.ndim == 2 else index[..., None].expand(*index.shape, self.values.shape[2])
