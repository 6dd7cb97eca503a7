"""What goes into a model's layers: embedded rows, and all that goes with them.

Legend: B images of one batch (condition and null rows stacked), R rows, M rows of all batches, n asked, D width,
E angles per head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from parvis.cache.store import Cache
from parvis.model.context import Context
from parvis.model.plan import Rows
from parvis.model.sight import Alone, Padded, Together, end_to_end

Turn: TypeAlias = tuple[Tensor, Tensor]
"""How rows turn: (cos, sin)."""


@dataclass(frozen=True, eq=False)
class Question:
    """One pass, as a model is asked.

    Attributes:
        rows: of the pass. order_BN: the order's positions. values_BN: the canvas, [B, N] codes or [B, N, C] latents,
            with the pass's draft in its place. view_BnC: content of the QUERY rows, by rank (content framing).
        context: the condition. cache: what earlier passes left; ``None`` where these rows are all (training).
        time: of the draft, and the time to which it is to be brought (``Model.drafts``).
    """

    rows: Rows
    order_BN: Tensor
    values_BN: Tensor
    view_BnC: Tensor | None
    context: Context
    cache: Cache | None = None
    time: tuple[float, float] | None = None


def unmodulated(layer: int) -> None:
    """Blocks without adaptive norms."""


@dataclass(frozen=True, eq=False)
class Feed:
    """Embedded rows on their way through the layers.

    Attributes:
        x_BRD: the rows. sight: what they see. turn: [B, 1, R, E] each; ``None`` without rotary positions.
        modulation: of the adaptive norms of a block, by its number, [B, 6, 1 or R, D]; ``None`` without.
        final: of the head, [B, 2, 1 or n, D]; ``None`` without.
    """

    x_BRD: Tensor
    sight: Alone | Together
    turn: Turn | None = None
    modulation: Callable[[int], Tensor | None] = unmodulated
    final: Tensor | None = None


Gather: TypeAlias = Callable[[Sequence[Feed]], Feed]
"""What several requests feed -> what the layers are given."""


def alone(feeds: Sequence[Feed]) -> Feed:
    """One request: its batch as it is."""
    (feed,) = feeds
    return feed


def together(padded: Padded) -> Gather:
    """Requests end to end, ``padded(M)`` rows where they have M."""

    def gather(feeds: Sequence[Feed]) -> Feed:
        sights = [feed.sight for feed in feeds if isinstance(feed.sight, Alone)]
        sight = Together(sights, [(feed.x_BRD.shape[0], feed.x_BRD.shape[1]) for feed in feeds], padded)
        turns = [feed.turn for feed in feeds if feed.turn is not None]
        turn = tuple(sight.laid([turn[i][:, 0] for turn in turns])[:, None] for i in range(2)) if turns else None

        def modulation(layer: int) -> Tensor | None:
            made = [_by_row(feed.modulation(layer), feed.x_BRD.shape[1]) for feed in feeds]
            several = [part for part in made if part is not None]
            return sight.laid(several).transpose(1, 2) if several else None

        heads = [_by_row(feed.final, one.rows.answers.shape[-1]) for feed, one in zip(feeds, sights, strict=True)]
        several = [part for part in heads if part is not None]
        final = end_to_end(several).transpose(1, 2) if several else None
        return Feed(sight.laid([feed.x_BRD for feed in feeds]), sight, turn, modulation, final)  # type: ignore[arg-type]

    return gather


def _by_row(modulation: Tensor | None, rows: int) -> Tensor | None:
    """[B, m, 1 or R, D] -> [B, R, m, D]."""
    return None if modulation is None else modulation.expand(-1, -1, rows, -1).transpose(1, 2)
