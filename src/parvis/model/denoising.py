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
from parvis.model.framing import content, query
from parvis.model.plan import Kind, RowPlan, Rows
from parvis.model.position import LearnedPositions, Rotary
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
        assert rows.arrange is None and context.vector is not None
        at_BR = torch.cat([order_BN[:, ranks] for ranks in rows.ranks.values()], 1)
        values_BRC = Canvas(values_BNC, at_BR).read(at_BR).to(context.vector.dtype)
        place_BR = self.place[at_BR]
        x_BRD = self.norm_in(self.tokens(values_BRC) + self.positions.at(place_BR)).repeat(context.copies, 1, 1)
        cos, sin = (part.repeat(context.copies, 1, 1)[:, None] for part in self.rotary.at(at_BR))
        vectors = [self.vector(context, time) for _, time in segments]
        counts = [count for count, _ in segments]
        for layer, block in enumerate((*self.encoder, *self.decoder)):
            assert isinstance(block, ModulatedBlock)
            if layer == len(self.encoder):
                x_BRD = self.bridge(self.norm_encoder(x_BRD))
                x_BRD = x_BRD + self.positions_decoder.at(place_BR).repeat(context.copies, 1, 1)
            x_BRD = block(x_BRD, rows, rows.mask, (cos, sin), cache, layer, _modulation(block, vectors, counts))
        y: Tensor = self.out(self.norm_decoder(rows.answering(x_BRD))).float()
        return y

    def vector(self, context: Context, time: Tensor) -> Tensor:
        """Class and time, [B, D]; the network is told the integer part of 1000 t, t in float32."""
        assert context.vector is not None
        told: Tensor = self.time((1000 * time.float()).floor(), context.vector.dtype)
        return context.vector + (told if len(told) == 1 else told.repeat(context.copies, 1))

    def answer(
        self,
        rows: Rows,
        order_BN: Tensor,
        values_BN: Tensor,
        view_BnC: Tensor | None,
        context: Context,
        cache: Cache | None = None,
        time: tuple[float, float] | None = None,
    ) -> Velocity:
        """The velocity of every asked latent; known values are clean, asked ones hold the draft at ``time``."""
        assert time is not None
        of_kind = {Kind.VALUE: 0.0, Kind.QUERY: time[0]}
        segments = [
            (len(ranks), torch.full((1,), of_kind[kind], device=order_BN.device)) for kind, ranks in rows.ranks.items()
        ]
        velocity = self.velocity(rows, order_BN, values_BN, segments, context, cache)
        asked = order_BN[:, rows.asked[0] : rows.asked[1]]
        return Velocity(velocity, Canvas(values_BN, asked).read(asked), time)


def _modulation(block: ModulatedBlock, vectors: Sequence[Tensor], counts: Sequence[int]) -> Tensor:
    """The adaptive norms of every row, [B, 6, R, D], or [B, 6, 1, D] where all rows share a time."""
    if len(vectors) == 1:
        return block.modulate(vectors[0], None)
    return torch.cat([block.modulate(v, None).expand(-1, -1, n, -1) for v, n in zip(vectors, counts, strict=True)], 2)
