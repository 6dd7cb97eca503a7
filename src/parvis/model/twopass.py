"""A decoder of two halves (ARPG, arXiv 2503.10568, after YOCO): known rows attend to one another in the
first; in the second, queries read keys and values that are made once of what the first gave.

Legend: B images, R rows, n queries, D width, H heads, d head width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from parvis.model.body import Body
from parvis.model.feed import Feed, Turn
from parvis.model.position import rotate
from parvis.model.sight import Keys, Sight


class SeparateMaps(nn.Module):
    """Queries, keys and values by three linear maps without biases, side by side [.., 3 D]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.q(x), self.k(x), self.v(x)], -1)


class ReadingBlock(nn.Module):
    """x += read(norm1(x)); x += mlp(norm2(x)). Keys and values are given; queries are turned in every block."""

    def __init__(self, norm1: nn.Module, width: int, heads: int, norm2: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2, self.mlp, self.heads = norm1, norm2, mlp, heads
        self.q, self.proj = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)

    def forward(self, x_BnD: Tensor, sight: Sight, keys: Keys, turn: Turn | None) -> Tensor:
        query = by_heads(self.q(self.norm1(x_BnD)), self.heads)
        query = query if turn is None else rotate(query, turn)
        read = sight.attend(query, keys)
        x_BnD = x_BnD + self.proj(read.transpose(1, 2).flatten(2))
        y: Tensor = x_BnD + self.mlp(self.norm2(x_BnD))
        return y


class TwoPass(Body):
    """The transformer's own blocks for the rows that have keys; then ``blocks`` for those that have none.

    Args:
        norm: before the shared keys and values are made. blocks: of the second half. heads: H.
    """

    def __init__(self, norm: nn.Module, blocks: Sequence[ReadingBlock], width: int, heads: int) -> None:
        super().__init__()
        self.norm, self.blocks, self.heads = norm, nn.ModuleList(blocks), heads
        self.k, self.v = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)

    def layers(self, blocks: int) -> int:
        """One for each block of the first half, and one for the whole second half."""
        return blocks + 1

    def forward(self, blocks: nn.ModuleList, feed: Feed) -> Tensor:
        known, asked = feed.sight.divide(feed.x_BRD)
        sight_known, sight_asked = feed.sight.halves()
        turn_known, turn_asked = _divided(feed.sight, feed.turn)
        for layer, block in enumerate(blocks):
            known = block(known, sight_known, turn_known, layer)
        inner = self.norm(known)
        key, value = by_heads(self.k(inner), self.heads), by_heads(self.v(inner), self.heads)
        key = key if turn_known is None else rotate(key, turn_known)
        keys = sight_known.extend(len(blocks), key, value)
        for block in self.blocks:
            asked = block(asked, sight_asked, keys, turn_asked)
        return sight_asked.answering(asked)


def _divided(sight: Sight, turn: Turn | None) -> tuple[Turn | None, Turn | None]:
    """How the rows with keys turn, and those without."""
    if turn is None:
        return None, None
    cos, sin = (sight.divide(part[:, 0]) for part in turn)
    return (cos[0][:, None], sin[0][:, None]), (cos[1][:, None], sin[1][:, None])


def by_heads(x_BRD: Tensor, heads: int) -> Tensor:
    """[B, R, D] -> [B, H, R, d]."""
    return x_BRD.view(*x_BRD.shape[:2], heads, -1).transpose(1, 2)
