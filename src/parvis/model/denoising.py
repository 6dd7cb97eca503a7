"""The transformer of xAR (arXiv 2502.20388): rows are latents at a time, 0 (clean) to 1 (noise), answers velocities.

Class and time set the norms of every row. Two stacks with a norm, a linear map and positions of their own in between.

Legend: B images (condition and null rows stacked under guidance), N positions, R rows, n asked, D width, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from parvis.cache.store import Cache
from parvis.canvas import Canvas
from parvis.flow import Velocity
from parvis.grid import Grid
from parvis.model.base import Model
from parvis.model.block import ModulatedBlock, RMSNorm
from parvis.model.context import Condition, Context
from parvis.model.denoiser import TimeEmbedding
from parvis.model.feed import Feed, Gather, Question, alone
from parvis.model.framing import content, query
from parvis.model.plan import Kind, RowPlan, Rows
from parvis.model.position import LearnedPositions, Rotary
from parvis.model.sight import Alone
from parvis.model.visibility import peers_and_context
from parvis.order import Order

Segments = Sequence[tuple[int, Tensor]]
"""Rows one after the other that share a time: how many, and their time, [B] or [1]."""


class DenoisingTransformer(Model):
    """Clean values and drafts in, the drafts' velocities out.

    Args:
        order: in which positions come; the rows of the learned position tables lie in this order (as published).
        grid: the positions it was built for. condition: gives a vector per image and no rows.
        encoder, decoder: the blocks of the two stacks, of one width D. rotary: turns queries and keys.
        channels: C.
    """

    place: Tensor

    def __init__(
        self,
        *,
        grid: Grid,
        order: Order,
        condition: Condition,
        encoder: Sequence[ModulatedBlock],
        decoder: Sequence[ModulatedBlock],
        rotary: Rotary,
        channels: int,
    ) -> None:
        super().__init__()
        self.grid, self.framing, self.rule, self.view = grid, query, peers_and_context, None
        self.vocabulary, self.channels, self.drafts, self.timed = 0, channels, True, True
        self.heads, D = encoder[0].attention.heads, encoder[0].width
        self.condition, self.rotary, self.time = condition, rotary, TimeEmbedding(D)
        self.tokens, self.norm_in = nn.Linear(channels, D), RMSNorm(D, 1e-6)
        self.positions, self.positions_decoder = LearnedPositions(grid, D, 0), LearnedPositions(grid, D, 0)
        self.register_buffer("place", order.inverse(), persistent=False)
        self.encoder, self.decoder = nn.ModuleList(encoder), nn.ModuleList(decoder)
        self.norm_encoder, self.norm_decoder = RMSNorm(D, 1e-6), RMSNorm(D, 1e-6)
        self.bridge, self.out = nn.Linear(D, D), nn.Linear(D, channels)

    def taught(self, sizes: tuple[int, ...]) -> RowPlan:
        """The rows of training ("noisy context"): every group is its own draft and sees the drafts before it."""
        return content(sizes, 0)

    def cache(self, plan: RowPlan, context: Context) -> Cache:
        """An empty cache for a generation under ``plan``; the encoder's layers come first."""
        vector = context.vector
        assert vector is not None
        B, D = vector.shape
        layers = len(self.encoder) + len(self.decoder)
        return Cache(layers, B, self.heads, plan.slots, D // self.heads, vector.dtype, vector.device)

    def velocity(
        self,
        rows: Rows,
        order_BN: Tensor,
        values_BNC: Tensor,
        segments: Segments,
        context: Context,
        cache: Cache | None = None,
    ) -> Tensor:
        """Velocities of the rows that answer, float32 [B, n, C], by rank."""
        asked = Question(rows, order_BN, values_BNC, None, context, cache)
        (velocity,) = self._velocities([asked], [segments], alone)
        return velocity

    def _velocities(
        self, questions: Sequence[Question], segments: Sequence[Segments], gather: Gather
    ) -> Sequence[Tensor]:
        feed = gather([self._embed(asked, some) for asked, some in zip(questions, segments, strict=True)])
        x_BRD = self.norm_in(feed.x_BRD)
        for layer, block in enumerate((*self.encoder, *self.decoder)):
            if layer == len(self.encoder):
                placed = [self.positions_decoder.at(self._places(q)).repeat(q.context.copies, 1, 1) for q in questions]
                x_BRD = self.bridge(self.norm_encoder(x_BRD)) + feed.sight.laid(placed)
            x_BRD = block(x_BRD, feed.sight, feed.turn, layer, feed.modulation(layer))
        y: Tensor = self.out(self.norm_decoder(feed.sight.answering(x_BRD))).float()
        return feed.sight.answers(y)

    def _embed(self, asked: Question, segments: Segments) -> Feed:
        rows, context = asked.rows, asked.context
        assert rows.arrange is None and context.vector is not None
        at_BR = _at(asked)
        values_BRC = Canvas(asked.values_BN, at_BR).read(at_BR).to(context.vector.dtype)
        x_BRD = (self.tokens(values_BRC) + self.positions.at(self._places(asked))).repeat(context.copies, 1, 1)
        cos, sin = (part.repeat(context.copies, 1, 1)[:, None] for part in self.rotary.at(at_BR))
        vectors, counts = [self.vector(context, time) for _, time in segments], [count for count, _ in segments]
        blocks = (*self.encoder, *self.decoder)

        def modulation(layer: int) -> Tensor:
            block = blocks[layer]
            assert isinstance(block, ModulatedBlock)
            return _modulation(block, vectors, counts)

        return Feed(x_BRD, Alone(rows, rows.mask, asked.cache), (cos, sin), modulation)

    def _places(self, asked: Question) -> Tensor:
        """The place of every row's position in the order of the position tables, long [B, R]."""
        return self.place[_at(asked)]

    def vector(self, context: Context, time: Tensor) -> Tensor:
        """Class and time, [B, D]; the network is told the integer part of 1000 t, t in float32."""
        assert context.vector is not None
        told: Tensor = self.time((1000 * time.float()).floor(), context.vector.dtype)
        return context.vector + (told if len(told) == 1 else told.repeat(context.copies, 1))

    def answers(self, questions: Sequence[Question], gather: Gather) -> list[Velocity]:
        """The velocity of every asked latent; known values are clean, asked ones hold the draft at ``time``."""
        velocities = self._velocities(questions, [_segments(asked) for asked in questions], gather)
        return [_towards(asked, velocity) for asked, velocity in zip(questions, velocities, strict=True)]


def _at(asked: Question) -> Tensor:
    """The position of every row, long [B, R]."""
    return torch.cat([asked.order_BN[:, ranks] for ranks in asked.rows.ranks.values()], 1)


def _segments(asked: Question) -> Segments:
    assert asked.time is not None
    of_kind, device = {Kind.VALUE: 0.0, Kind.QUERY: asked.time[0]}, asked.order_BN.device
    return [(len(ranks), torch.full((1,), of_kind[kind], device=device)) for kind, ranks in asked.rows.ranks.items()]


def _towards(asked: Question, velocity: Tensor) -> Velocity:
    assert asked.time is not None
    start, stop = asked.rows.asked
    at_Bn = asked.order_BN[:, start:stop]
    return Velocity(velocity, Canvas(asked.values_BN, at_Bn).read(at_Bn), asked.time)


def _modulation(block: ModulatedBlock, vectors: Sequence[Tensor], counts: Sequence[int]) -> Tensor:
    """The adaptive norms of every row, [B, 6, R, D], or [B, 6, 1, D] where all rows share a time."""
    if len(vectors) == 1:
        return block.modulate(vectors[0], None)
    return torch.cat([block.modulate(v, None).expand(-1, -1, n, -1) for v, n in zip(vectors, counts, strict=True)], 2)
