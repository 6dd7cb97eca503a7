"""Self-attention of a pass's rows over what they may see.

Legend: B images, R rows, D width, H heads, d head width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvis.model.position import rotate
from parvis.model.sight import Sight


class Attention(nn.Module):
    """Fused qkv, scaled dot-product attention, output projection.

    Args:
        width: D. heads: H.
        bias: biases on qkv and on the projection.
        cosine: VAR's attention: q and k of unit length, q times a learned scale per head exp(min(s, log 100)), no
            1/sqrt(d); q and v have biases, k has none.
        dropout: on the projected output, in training.
        qkv: makes queries, keys and values [.., 3 D], in place of one linear map.

    ``weight_dropout``: share of attention's weights that are dropped in training (MAR; PAR's paper); 0 unless set.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        bias: tuple[bool, bool] = (False, False),
        cosine: bool = False,
        dropout: float = 0.0,
        qkv: nn.Module | None = None,
    ) -> None:
        super().__init__()
        assert width % heads == 0, "width does not divide over the heads"
        self.heads = heads
        self.qkv = qkv or nn.Linear(width, 3 * width, bias=bias[0])
        self.proj = nn.Linear(width, width, bias=bias[1])
        self.log_scale = nn.Parameter(torch.full((1, heads, 1, 1), math.log(4.0))) if cosine else None
        self.q_bias = nn.Parameter(torch.zeros(width)) if cosine else None
        self.v_bias = nn.Parameter(torch.zeros(width)) if cosine else None
        self.dropout, self.weight_dropout = dropout, 0.0

    def forward(
        self,
        x_BRD: Tensor,
        sight: Sight,
        turn: tuple[Tensor, Tensor] | None,
        layer: int,
    ) -> Tensor:
        """Attend to all that the rows see, themselves included."""
        B, R, D = x_BRD.shape
        mixed = self.qkv(x_BRD)
        if self.q_bias is not None and self.v_bias is not None:
            mixed = mixed + torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        q, k, v = mixed.view(B, R, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        scale = None
        if self.log_scale is not None:
            strength = self.log_scale.clamp_max(math.log(100.0)).exp()
            q, k, scale = (F.normalize(q, dim=-1) * strength).type_as(v), F.normalize(k, dim=-1), 1.0
        if turn is not None:
            q, k = rotate(q, turn), rotate(k, turn)
        dropped = self.weight_dropout if self.training else 0.0
        out = sight.attend(q, sight.extend(layer, k, v), scale, dropped)
        projected: Tensor = self.proj(out.transpose(1, 2).reshape(B, R, D))
        return F.dropout(projected, self.dropout, self.training)
