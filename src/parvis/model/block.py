"""Transformer blocks: pre-norm, plain or with adaptive norms; and their parts.

Legend: B images, R rows, D width, F hidden width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvis.model.attention import Attention
from parvis.model.sight import Sight


class RMSNorm(nn.Module):
    """x / rms(x) in float32, cast back, then times the weight (LlamaGen: eps 1e-5)."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)).type_as(x) * self.weight


class Mlp(nn.Module):
    """fc1, GELU (exact, or its tanh form), fc2, with biases (LPD, VAR)."""

    def __init__(self, width: int, hidden: int, *, tanh: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.approximate, self.dropout = "tanh" if tanh else "none", dropout

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.fc2(F.gelu(self.fc1(x), approximate=self.approximate)), self.dropout, self.training)


class SwiGLU(nn.Module):
    """w2(silu(w1 x) * w3 x), no biases (LlamaGen)."""

    def __init__(self, width: int, hidden: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.w1, self.w3 = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.w2, self.dropout = nn.Linear(hidden, width, bias=False), dropout

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.w2(F.silu(self.w1(x)) * self.w3(x)), self.dropout, self.training)


class GEGLU(nn.Module):
    """fc2(gelu(fc1_g x) * fc1_x x), exact GELU, with biases (xAR)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1_g, self.fc1_x, self.fc2 = (
            nn.Linear(width, hidden),
            nn.Linear(width, hidden),
            nn.Linear(hidden, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(F.gelu(self.fc1_g(x)) * self.fc1_x(x))
        return y


def swiglu_hidden(width: int) -> int:
    """LlamaGen's hidden width: int(8 D / 3) rounded up to a multiple of 256."""
    return -(-int(8 * width / 3) // 256) * 256


def drop_path(branch_BRD: Tensor, share: float, training: bool) -> Tensor:
    """Stochastic depth (Huang et al., arXiv 1603.09382): in training the whole branch is left out of an image with
    probability ``share``, below 1, and divided by 1 - ``share`` in the others."""
    if not training or not share:
        return branch_BRD
    kept_B11 = branch_BRD.new_empty(branch_BRD.shape[0], 1, 1).bernoulli_(1 - share)
    return branch_BRD * kept_B11.div_(1 - share)


class Block(nn.Module):
    """x += attention(norm1(x)); x += mlp(norm2(x)). ``drop_path``: how often a branch is left out, in training."""

    def __init__(self, norm1: nn.Module, attention: Attention, norm2: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.norm1, self.attention, self.norm2, self.mlp = norm1, attention, norm2, mlp
        self.drop_path = 0.0

    def forward(
        self,
        x_BRD: Tensor,
        sight: Sight,
        turn: tuple[Tensor, Tensor] | None,
        layer: int,
        modulation: Tensor | None = None,
    ) -> Tensor:
        read = self.attention(self.norm1(x_BRD), sight, turn, layer)
        x_BRD = x_BRD + drop_path(read, self.drop_path, self.training)
        y: Tensor = x_BRD + drop_path(self.mlp(self.norm2(x_BRD)), self.drop_path, self.training)
        return y


class ModulatedBlock(nn.Module):
    """A block whose norms and residuals are set by the condition (VAR, arXiv 2404.02905, appendix; AdaLN).

    ``modulation`` [B, 6, 1 or R, D] = gain1, gain2, scale1, scale2, shift1, shift2:
    x += gain1 * attention(norm(x) (1 + scale1) + shift1); x += gain2 * mlp(norm(x) (1 + scale2) + shift2).
    ``drop_path``: how often a branch is left out, in training.

    Args:
        shared: the vector is made by one network for all blocks, this block adds its own learned offset (VAR-d36).
        rms: RMS norms without weights (xAR) instead of layer norms.
    """

    def __init__(
        self,
        width: int,
        attention: Attention,
        mlp: nn.Module,
        *,
        shared: bool = False,
        rms: bool = False,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.attention, self.mlp, self.width, self.rms, self.eps = attention, mlp, width, rms, eps
        self.drop_path = 0.0
        self.adapt = None if shared else nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.offset = nn.Parameter(torch.zeros(1, 6, 1, width)) if shared else None

    def modulate(self, vector_BD: Tensor, shared_B6D: Tensor | None) -> Tensor:
        """The six vectors, [B, 6, 1, D]: once per request."""
        if self.offset is not None and shared_B6D is not None:
            return shared_B6D + self.offset
        assert self.adapt is not None
        made: Tensor = self.adapt(vector_BD).view(-1, 6, 1, self.width)
        return made

    def forward(
        self,
        x_BRD: Tensor,
        sight: Sight,
        turn: tuple[Tensor, Tensor] | None,
        layer: int,
        modulation: Tensor | None = None,
    ) -> Tensor:
        assert modulation is not None
        gain1, gain2, scale1, scale2, shift1, shift2 = modulation.unbind(1)
        inner = self._norm(x_BRD) * (1 + scale1) + shift1
        x_BRD = x_BRD + drop_path(self.attention(inner, sight, turn, layer) * gain1, self.drop_path, self.training)
        inner = self._norm(x_BRD) * (1 + scale2) + shift2
        y: Tensor = x_BRD + drop_path(self.mlp(inner) * gain2, self.drop_path, self.training)
        return y

    def _norm(self, x_BRD: Tensor) -> Tensor:
        if self.rms:
            return F.rms_norm(x_BRD, (self.width,), eps=self.eps)
        return F.layer_norm(x_BRD, (self.width,), eps=self.eps)


class Head(nn.Module):
    """Norm, then logits without bias."""

    def __init__(self, norm: nn.Module, width: int, vocabulary: int) -> None:
        super().__init__()
        self.norm, self.out = norm, nn.Linear(width, vocabulary, bias=False)

    def forward(self, x_BnD: Tensor, modulation: Tensor | None = None) -> Tensor:
        y: Tensor = self.out(self.norm(x_BnD))
        return y


class ModulatedHead(nn.Module):
    """VAR's head: adaptive norm (scale, shift), then logits."""

    def __init__(self, width: int, vocabulary: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.adapt = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.out, self.width, self.eps = nn.Linear(width, vocabulary), width, eps

    def modulate(self, vector_BD: Tensor) -> Tensor:
        made: Tensor = self.adapt(vector_BD).view(-1, 2, 1, self.width)
        return made

    def forward(self, x_BnD: Tensor, modulation: Tensor | None = None) -> Tensor:
        assert modulation is not None
        scale, shift = modulation.unbind(1)
        y: Tensor = self.out(F.layer_norm(x_BnD, (self.width,), eps=self.eps) * (1 + scale) + shift)
        return y
