"""The masked encoder-decoder of MAR (arXiv 2406.11838, section 3.4; MAE): the encoder reads the condition and the known
values, the decoder their encodings and a mask token wherever nothing is known.

Legend: B images (condition and null rows stacked under guidance), N positions, R rows, n asked, D width, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from parvis.cache.store import Cache
from parvis.canvas import Canvas
from parvis.diffusion import Diffused
from parvis.grid import Grid
from parvis.model.base import Model
from parvis.model.block import Block
from parvis.model.context import Condition, Context
from parvis.model.denoiser import DiffusionHead
from parvis.model.feed import Feed, Gather, Question, alone
from parvis.model.framing import full
from parvis.model.plan import Kind, RowPlan, Rows
from parvis.model.position import LearnedPositions
from parvis.model.sight import Alone
from parvis.model.visibility import own_group


class MaskedAutoencoder(Model):
    """Encoder over what is known, decoder over everything, a diffusion head for every asked position. No cache.

    Args:
        grid: the positions it was built for. condition: its prefix rows go through both halves (MAR's buffer).
        encoder, decoder: the blocks of the halves, of one width D. norms: after the embedding, the encoder and the
            decoder.
        head: draws latents.
    """

    def __init__(
        self,
        *,
        grid: Grid,
        condition: Condition,
        encoder: Sequence[Block],
        decoder: Sequence[Block],
        norms: tuple[nn.Module, nn.Module, nn.Module],
        head: DiffusionHead,
    ) -> None:
        super().__init__()
        self.grid, self.framing, self.rule, self.view = grid, full, own_group, None
        self.vocabulary, self.channels = 0, head.channels
        self.heads, D = encoder[0].attention.heads, encoder[0].attention.proj.out_features
        self.condition, self.head = condition, head
        self.tokens = nn.Linear(head.channels, D)
        self.positions = LearnedPositions(grid, D, condition.prefix)
        self.norm_in, self.norm_encoder, self.norm_decoder = norms
        self.encoder, self.decoder = nn.ModuleList(encoder), nn.ModuleList(decoder)
        self.bridge = nn.Linear(D, D)
        self.query = nn.Parameter(torch.zeros(D))
        self.positions_decoder = LearnedPositions(grid, D, condition.prefix)
        self.positions_head = nn.Parameter(torch.zeros(grid.tokens, D))

    def cache(self, plan: RowPlan, context: Context) -> Cache:
        """Of no layers: every pass is computed anew."""
        rows = context.rows
        return Cache(0, rows.shape[0], self.heads, 0, 1, rows.dtype, rows.device)

    def encode(self, rows: Rows, order_BN: Tensor, values_BNC: Tensor, context: Context) -> Tensor:
        """Condition and known values encoded, [B, T + known, D], known values by rank."""
        return self._encoded(alone([self._known(Question(rows, order_BN, values_BNC, None, context))]))

    def decode(self, rows: Rows, order_BN: Tensor, encoded_BRD: Tensor, context: Context) -> Tensor:
        """What the head is told about every row that answers, [B, n, D], by rank."""
        asked = Question(rows, order_BN, encoded_BRD, None, context)
        return self._decoded(alone([self._whole(asked, encoded_BRD)])) + self._told(asked)

    def answers(self, questions: Sequence[Question], gather: Gather) -> list[Diffused]:
        """The law of every asked latent, given the known ones. Takes one pass's rows, not a whole plan's."""
        assert all(q.rows.mask is None and q.rows.arrange is None for q in questions), "rows of several passes"
        known = gather([self._known(asked) for asked in questions])
        encoded = known.sight.parts(self._encoded(known))
        whole = gather([self._whole(asked, part) for asked, part in zip(questions, encoded, strict=True)])
        hidden = whole.sight.answers(self._decoded(whole))
        told = [part + self._told(asked) for asked, part in zip(questions, hidden, strict=True)]
        return [Diffused(part, self.head) for part in told]

    def _known(self, asked: Question) -> Feed:
        """The encoder's rows: condition and known values."""
        rows, context = asked.rows, asked.context
        own = self.positions.of_prefix(rows.ranks[Kind.COND])
        x_BRD = context.rows if own is None else context.rows + own
        if Kind.VALUE in rows.ranks:
            at_Bn = asked.order_BN[:, rows.ranks[Kind.VALUE]]
            values_BnC = Canvas(asked.values_BN, at_Bn).read(at_Bn).to(context.rows.dtype)
            known_BnD = self.tokens(values_BnC) + self.positions.at(at_Bn)
            x_BRD = torch.cat([x_BRD, known_BnD.repeat(context.copies, 1, 1)], 1)
        return Feed(x_BRD, Alone(rows))

    def _encoded(self, feed: Feed) -> Tensor:
        x_BRD = self.norm_in(feed.x_BRD)
        for layer, block in enumerate(self.encoder):
            x_BRD = block(x_BRD, feed.sight, None, layer)
        y: Tensor = self.norm_encoder(x_BRD)
        return y

    def _whole(self, asked: Question, encoded_BRD: Tensor) -> Feed:
        """The decoder's rows: what is encoded, and a mask token wherever nothing is known."""
        rows, B = asked.rows, encoded_BRD.shape[0]
        unknown = rows.ranks[Kind.QUERY].shape[0]
        x_BRD = torch.cat([self.bridge(encoded_BRD), self.query.expand(B, unknown, -1)], 1)
        own = self.positions_decoder.of_prefix(rows.ranks[Kind.COND])
        assert own is not None
        placed = self.positions_decoder.at(asked.order_BN).repeat(asked.context.copies, 1, 1)
        return Feed(x_BRD + torch.cat([own.expand(B, -1, -1), placed], 1), Alone(rows))

    def _decoded(self, feed: Feed) -> Tensor:
        x_BRD = feed.x_BRD
        for layer, block in enumerate(self.decoder):
            x_BRD = block(x_BRD, feed.sight, None, layer)
        y: Tensor = self.norm_decoder(feed.sight.answering(x_BRD))
        return y

    def _told(self, asked: Question) -> Tensor:
        """Where the asked latents lie, as the head is told, [B, n, D]."""
        start, stop = asked.rows.asked
        told: Tensor = self.positions_head[asked.order_BN[:, start:stop].repeat(asked.context.copies, 1)]
        return told
