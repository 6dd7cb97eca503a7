"""How rows go through a transformer's blocks: straight on, unless a paper has it otherwise.

Legend: B images, R rows, n asked, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from parvis.cache.store import Cache
from parvis.model.context import Context
from parvis.model.plan import Rows


class Body(nn.Module, ABC):
    """From embedded rows to what the head reads."""

    def layers(self, blocks: int) -> int:
        """How many layers of keys and values the cache holds, of a transformer with so many blocks."""
        return blocks

    @abstractmethod
    def forward(
        self,
        blocks: nn.ModuleList,
        x_BRD: Tensor,
        rows: Rows,
        mask: Tensor | None,
        turn: tuple[Tensor, Tensor] | None,
        context: Context,
        cache: Cache | None,
    ) -> Tensor:
        """Hidden vectors of the rows that answer, [B, n, D] by rank.

        Args:
            mask: bool [R, K] or [B, 1, R, K]. turn: (cos, sin), [B, 1, R, E] each.
        """


class Straight(Body):
    """Every row through every block."""

    def forward(
        self,
        blocks: nn.ModuleList,
        x_BRD: Tensor,
        rows: Rows,
        mask: Tensor | None,
        turn: tuple[Tensor, Tensor] | None,
        context: Context,
        cache: Cache | None,
    ) -> Tensor:
        modulations = context.modulation or (None,) * len(blocks)
        for layer, block in enumerate(blocks):
            x_BRD = block(x_BRD, rows, mask, turn, cache, layer, modulations[layer])
        return rows.answering(x_BRD)
