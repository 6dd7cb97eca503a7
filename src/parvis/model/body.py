"""How rows go through a transformer's blocks: straight on, unless a paper has it otherwise.

Legend: B images, R rows, n asked, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from parvis.model.feed import Feed


class Body(nn.Module, ABC):
    """From embedded rows to what the head reads."""

    def layers(self, blocks: int) -> int:
        """How many layers of keys and values the cache holds, of a transformer with so many blocks."""
        return blocks

    @abstractmethod
    def forward(self, blocks: nn.ModuleList, feed: Feed) -> Tensor:
        """Hidden vectors of the rows that answer, [B, n, D] by rank."""


class Straight(Body):
    """Every row through every block."""

    def forward(self, blocks: nn.ModuleList, feed: Feed) -> Tensor:
        x_BRD = feed.x_BRD
        for layer, block in enumerate(blocks):
            x_BRD = block(x_BRD, feed.sight, feed.turn, layer, feed.modulation(layer))
        return feed.sight.answering(x_BRD)
