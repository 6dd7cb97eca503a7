"""One transformer for every system: rows in, predictions out. It knows nothing about loops, orders' meaning, or
sampling.

What differs between papers is handed in as parts: framing, visibility rule, condition, positions, blocks, head.

Legend: B images, N positions, R rows, n asked, D width, C view channels, V vocabulary, H heads, E angles per head.
Under guidance the batch is twice as large behind the embedding (condition rows first, null rows second).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvis.cache.store import Cache
from parvis.errors import UnknownName
from parvis.grid import Grid
from parvis.model.base import Model
from parvis.model.block import Block, Head, ModulatedBlock, ModulatedHead
from parvis.model.body import Body, Straight
from parvis.model.context import Condition, Context
from parvis.model.feed import Feed, Gather, Question, Turn, unmodulated
from parvis.model.framing import Framing
from parvis.model.neighbours import SumHead
from parvis.model.plan import Kind, RowPlan, Rows, Rule
from parvis.model.position import LearnedPositions, Rotary
from parvis.model.sight import Alone
from parvis.predict import Categorical

Pose = Callable[[Tensor, Turn, int], Tensor]
"""(query vectors [B, n, D], how their positions turn, heads) -> QUERY rows [B, n, D]."""


@dataclass(frozen=True)
class Size:
    """The size of a transformer: number of blocks, width D, heads H, hidden width of the MLP."""

    depth: int
    width: int
    heads: int
    hidden: int

    def __str__(self) -> str:
        return f"{self.depth}x{self.width}"


def sized(family: str, size: str | Size, sizes: Mapping[str, Size]) -> Size:
    """``size`` itself, or the one of that name. Raises UnknownName, which says of what ``family`` there is none."""
    if isinstance(size, Size):
        return size
    if size not in sizes:
        raise UnknownName(f"{family} size", size, sizes)
    return sizes[size]


class Transformer(Model):
    """A row transformer.

    Args:
        grid: the positions it was built for.
        framing: group sizes -> row plan. rule: who sees whom.
        condition: turns the request's condition into prefix rows.
        tokens: embedding of VALUE rows [V, D]; ``None`` where none are ever fed (next-scale models).
        blocks, head: what rows go through. body: how they go through the blocks; all rows straight on unless given.
        positions: learned vectors added to rows. rotary: rotations of queries and keys. Either may be ``None``.
        query: learn one vector for all QUERY rows. view: linear map C -> D of QUERY rows' content instead.
        mask_row: the row of ``tokens`` that is the query vector, where there is no learned one (ARPG).
        pose: how the query vector becomes the row of a position, where positions are not added but turn it (RandAR).
        drafts: a QUERY row shows the drafted code of its position; codes below 0 are masked (MaskGIT).
        fillers: number of learned EXTRA rows.
        norm_in: applied to every embedded row (LPD's ``z_proj_ln``).
        shared: one adaptive-norm network for all blocks (VAR-d36).
        dropout: on embedded rows, in training.
    """

    def __init__(
        self,
        *,
        grid: Grid,
        framing: Framing,
        rule: Rule,
        condition: Condition,
        tokens: nn.Embedding | None,
        blocks: Sequence[Block | ModulatedBlock],
        head: Head | ModulatedHead | SumHead,
        body: Body | None = None,
        positions: LearnedPositions | None = None,
        rotary: Rotary | None = None,
        query: bool = False,
        mask_row: int | None = None,
        pose: Pose | None = None,
        view: nn.Linear | None = None,
        drafts: bool = False,
        fillers: int = 0,
        norm_in: nn.Module | None = None,
        shared: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.grid, self.framing, self.rule, self.dropout = grid, framing, rule, dropout
        self.condition, self.tokens, self.positions, self.rotary = condition, tokens, positions, rotary
        self.blocks, self.head, self.norm_in, self.view, self.shared = (
            nn.ModuleList(blocks),
            head,
            norm_in,
            view,
            shared,
        )
        self.body, self.mask_row = body or Straight(), mask_row
        width, self.heads = blocks[0].attention.proj.out_features, blocks[0].attention.heads
        self.pose, self.vocabulary, self.drafts = pose, head.out.out_features, drafts
        self.query = nn.Parameter(torch.zeros(width)) if query else None
        self.fillers = nn.Parameter(torch.zeros(fillers, width)) if fillers else None

    def modulated(self, context: Context) -> Context:
        """``context`` with the adaptive norms' vectors computed, once per request."""
        if context.vector is None or not isinstance(self.head, ModulatedHead):
            return context
        shared = None if self.shared is None else self.shared(context.vector).view(-1, 6, 1, context.vector.shape[-1])
        vectors = [block.modulate(context.vector, shared) for block in self.blocks if isinstance(block, ModulatedBlock)]
        return replace(context, modulation=(*vectors, self.head.modulate(context.vector)))

    def cache(self, plan: RowPlan, context: Context) -> Cache:
        """An empty cache for a generation under ``plan``."""
        rows = context.rows
        width = rows.shape[-1] // self.heads
        return Cache(
            self.body.layers(len(self.blocks)), rows.shape[0], self.heads, plan.slots, width, rows.dtype, rows.device
        )

    def embed(self, asked: Question) -> Feed:
        """Rows as vectors, how they turn, what they see, and what the condition makes of the norms."""
        rows, context = asked.rows, asked.context
        x_BRD, turn = self._rows(asked)
        final = context.modulation[-1] if context.modulation else None
        sight = Alone(rows, self._mask(rows, context), asked.cache)
        return Feed(x_BRD, sight, turn, context.modulation.__getitem__ if context.modulation else unmodulated, final)

    def _rows(self, asked: Question) -> tuple[Tensor, Turn | None]:
        """Vectors [B', R, D], and how they turn, (cos, sin) [B', 1, R, E] each."""
        rows, context = asked.rows, asked.context
        pieces: list[Tensor] = []
        turns: list[Turn] = []
        for kind, ranks in rows.ranks.items():
            at_Bn = asked.order_BN[:, ranks]
            if self.rotary is not None:
                somewhere = kind in (Kind.VALUE, Kind.QUERY)
                turns.append(self.rotary.at(at_Bn) if somewhere else self.rotary.nowhere(at_Bn))
            turn = turns[-1] if turns else None
            pieces.append(self._piece(kind, ranks, at_Bn, asked, turn))
        x_BRD = torch.cat(pieces, 1)
        turn = None
        if turns:
            cos, sin = (torch.cat(part, 1) for part in zip(*turns, strict=True))
            turn = (cos.repeat(context.copies, 1, 1), sin.repeat(context.copies, 1, 1))
        if rows.arrange is not None:
            x_BRD = x_BRD[:, rows.arrange]
            turn = None if turn is None else (turn[0][:, rows.arrange], turn[1][:, rows.arrange])
        if self.norm_in is not None:
            x_BRD = self.norm_in(x_BRD)
        x_BRD = F.dropout(x_BRD, self.dropout, self.training)
        return x_BRD, None if turn is None else (turn[0][:, None], turn[1][:, None])

    def _piece(
        self,
        kind: Kind,
        ranks: Tensor,
        at_Bn: Tensor,
        asked: Question,
        turn: Turn | None,
    ) -> Tensor:
        context = asked.context
        if kind == Kind.COND:
            own = None if self.positions is None else self.positions.of_prefix(ranks)
            rows = context.rows[:, : ranks.shape[0]]
            return rows if own is None else rows + own
        if kind == Kind.EXTRA:
            assert self.fillers is not None
            return self.fillers[ranks].expand(at_Bn.shape[0] * context.copies, -1, -1)
        if kind == Kind.VALUE:
            assert self.tokens is not None
            x: Tensor = self.tokens(asked.values_BN.gather(1, at_Bn))
        elif self.view is not None:
            assert asked.view_BnC is not None
            x = self.view(asked.view_BnC.to(context.rows.dtype))
        else:
            x = self._query().expand(*at_Bn.shape, -1)
            if self.drafts:
                assert self.tokens is not None
                codes_Bn = asked.values_BN.gather(1, at_Bn)
                x = torch.where(codes_Bn[..., None] < 0, x, self.tokens(codes_Bn.clamp_min(0)))
            if self.pose is not None and turn is not None:
                x = self.pose(x, turn, self.heads)
        if self.positions is not None:
            x = x + self.positions.at(at_Bn)
        return x.repeat(context.copies, 1, 1) if context.copies > 1 else x

    def _query(self) -> Tensor:
        """The vector of all QUERY rows, [D]."""
        if self.mask_row is not None:
            assert self.tokens is not None
            return self.tokens.weight[self.mask_row]
        assert self.query is not None
        return self.query

    def _mask(self, rows: Rows, context: Context) -> Tensor | None:
        """The rule's mask, less the condition's padding; a padded row always sees itself."""
        if context.visible is None:
            return rows.mask
        B, T = context.visible.shape
        keys = rows.length if rows.cached else rows.keyed
        shown = torch.ones(B, 1, 1, keys, dtype=torch.bool, device=context.visible.device)
        shown[..., :T] = context.visible[:, None, None]
        mask = shown.expand(-1, 1, rows.count, -1) if rows.mask is None else shown & rows.mask
        places = torch.arange(keys, device=mask.device)
        own = places == (rows.slots if rows.cached else places)[:, None]
        return mask | F.pad(own, (0, 0, 0, rows.count - rows.keyed))

    def answers(self, questions: Sequence[Question], gather: Gather) -> list[Categorical]:
        """Embed, run, predict: float32 logits of every asked rank, [B', n, V]. Codes have no ``time``."""
        feed = gather([self.embed(asked) for asked in questions])
        logits = self.head(self.body(self.blocks, feed), feed.final)
        return [Categorical(part.float()) for part in feed.sight.answers(logits)]
