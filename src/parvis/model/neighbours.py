"""Several heads of which each predicts another neighbour, at a depth of its own (NAR, arXiv 2503.10696).

Legend: B images, R rows, n asked, D width, V vocabulary, H heads of prediction.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from parvis.model.body import Body
from parvis.model.feed import Feed


class Depths(Body):
    """Head h reads the rows after block n - H + h of n, through a norm of its own; the last head after the last block.

    Gives [B, n, H D]: for every answer the rows of all heads side by side, each times its share in the answer (see
    ``Rows.share``). Heads are linear, so the sum of what they make of it is the mean of their logits.
    """

    def __init__(self, norms: Sequence[nn.Module]) -> None:
        super().__init__()
        self.norms = nn.ModuleList(norms)

    def forward(self, blocks: nn.ModuleList, feed: Feed) -> Tensor:
        assert feed.sight.heads == len(self.norms), "the plan has as many heads as the body"
        x_BRD, first, read = feed.x_BRD, len(blocks) - len(self.norms), []
        for layer, block in enumerate(blocks):
            x_BRD = block(x_BRD, feed.sight, feed.turn, layer, feed.modulation(layer))
            head = layer - first
            if head >= 0:
                heard, share = feed.sight.heard(x_BRD, head)
                own = self.norms[head](heard)
                read.append(own * share.to(own.dtype))
        return torch.cat(read, -1)


class SumHead(nn.Module):
    """Logits without bias, summed over heads: ``out`` reads the first D channels, ``more`` the following ones."""

    def __init__(self, width: int, vocabulary: int, heads: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, vocabulary, bias=False)
        self.more = nn.ModuleList(nn.Linear(width, vocabulary, bias=False) for _ in range(heads - 1))

    def forward(self, x_BnE: Tensor, modulation: Tensor | None = None) -> Tensor:
        first, *others = x_BnE.chunk(1 + len(self.more), -1)
        y: Tensor = self.out(first)
        for out, x_BnD in zip(self.more, others, strict=True):
            y = y + out(x_BnD)
        return y
