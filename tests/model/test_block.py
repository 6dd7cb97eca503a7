"""Blocks and their parts against formulas written out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from parvis.grid import Grid
from parvis.model.attention import Attention
from parvis.model.block import Block, Head, Mlp, ModulatedBlock, ModulatedHead, RMSNorm, SwiGLU, swiglu_hidden
from parvis.model.framing import shift
from parvis.model.position import Rotary
from parvis.model.sight import Alone
from parvis.model.visibility import slot_causal

D, H = 16, 2


def random(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return module.eval()


def seen(count: int) -> Alone:
    rows = shift((1,) * count, 1).whole(slot_causal, torch.device("cpu"))
    return Alone(rows, rows.mask)


def softmax_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> torch.Tensor:
    """Causal, one head [R, d] at a time."""
    scores = (q @ k.T * scale).masked_fill(torch.ones(len(q), len(q)).triu(1).bool(), -math.inf)
    return scores.softmax(-1) @ v


X = torch.randn(2, 5, D, generator=torch.Generator().manual_seed(0))


def test_attention_is_softmax_over_visible_keys() -> None:
    module = random(Attention(D, H, bias=(True, True)))
    made = module(X, seen(5), None, 0)
    q, k, v = (F.linear(X, w, b) for w, b in zip(module.qkv.weight.chunk(3), module.qkv.bias.chunk(3), strict=True))
    for image in range(2):
        heads = [softmax_attention(*(t[image, :, h * 8 : h * 8 + 8] for t in (q, k, v)), 8**-0.5) for h in range(H)]
        torch.testing.assert_close(made[image], module.proj(torch.cat(heads, -1)), atol=1e-5, rtol=1e-5)


def test_cosine_attention_has_unit_keys_and_a_learned_scale_of_at_most_100() -> None:
    """VAR: logits are exp(min(s, log 100)) cos(q, k); k has no bias."""
    module = random(Attention(D, H, bias=(False, True), cosine=True))
    assert module.log_scale is not None and module.q_bias is not None and module.v_bias is not None
    module.log_scale.data = torch.tensor([0.7, 9.0]).view(1, H, 1, 1)
    x = X[:, :1] + 0.1 * X  # near one another, so that the clamped scale does not decide alone
    made = module(x, seen(5), None, 0)
    q, k, v = (F.linear(x, w) for w in module.qkv.weight.chunk(3))
    q, v = q + module.q_bias, v + module.v_bias
    for image in range(2):
        heads = []
        for h, strength in enumerate((math.exp(0.7), 100.0)):
            one_q, one_k, one_v = (t[image, :, h * 8 : h * 8 + 8] for t in (q, k, v))
            unit_q, unit_k = (t / t.norm(dim=-1, keepdim=True) for t in (one_q, one_k))
            heads.append(softmax_attention(unit_q, unit_k, one_v, strength))
        torch.testing.assert_close(made[image], module.proj(torch.cat(heads, -1)), atol=1e-4, rtol=1e-4)


def test_a_row_turned_by_nothing_reads_all_it_sees_alike() -> None:
    """cos = sin = 0 (LlamaGen's class row): its attention is the mean of the values that it sees."""
    module = random(Attention(D, H))
    cos, sin = (t[None, None].clone() for t in Rotary(Grid.square(3), D // H).at(torch.arange(5)))
    cos[..., 3, :], sin[..., 3, :] = 0, 0
    made = module(X, seen(5), (cos, sin), 0)
    values = F.linear(X, module.qkv.weight.chunk(3)[2])
    torch.testing.assert_close(made[:, 3], module.proj(values[:, :4].mean(1)), atol=1e-5, rtol=1e-5)


def test_rms_norm_is_taken_in_float32_and_weighted_after_the_cast() -> None:
    norm = RMSNorm(D)
    norm.weight.data.uniform_(0.5, 2)
    expected = X / (X.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(norm(X), expected * norm.weight)
    half = norm.to(torch.bfloat16)(X.bfloat16())
    again = X.bfloat16().float()
    again = again / (again.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    assert half.dtype == torch.bfloat16 and torch.equal(half, again.bfloat16() * norm.weight)


@pytest.mark.parametrize(("width", "hidden"), [(768, 2048), (1024, 2816), (1280, 3584), (1536, 4096), (3200, 8704)])
def test_hidden_width_of_llamagen(width: int, hidden: int) -> None:
    assert swiglu_hidden(width) == hidden


def test_mlps() -> None:
    mlp, tanh, gated = (random(m) for m in (Mlp(D, 8), Mlp(D, 8, tanh=True), SwiGLU(D, 8)))
    inner = mlp.fc1(X)
    torch.testing.assert_close(mlp(X), mlp.fc2(inner * 0.5 * (1 + torch.erf(inner / 2**0.5))))
    curve = torch.tanh((2 / math.pi) ** 0.5 * (inner + 0.044715 * inner**3))
    torch.testing.assert_close(tanh(X), mlp.fc2(inner * 0.5 * (1 + curve)), atol=1e-5, rtol=1e-5)
    assert (tanh(X) - mlp(X)).abs().max() > 1e-6
    gate = gated.w1(X)
    torch.testing.assert_close(gated(X), gated.w2(gate * torch.sigmoid(gate) * gated.w3(X)))


def test_a_block_adds_what_its_parts_make() -> None:
    norm1, norm2, attention, mlp = (random(m) for m in (RMSNorm(D), RMSNorm(D), Attention(D, H), SwiGLU(D, 8)))
    made = Block(norm1, attention, norm2, mlp)(X, seen(5), None, 0)
    middle = X + attention(norm1(X), seen(5), None, 0)
    torch.testing.assert_close(made, middle + mlp(norm2(middle)))


def kinds_of_block() -> list[tuple[nn.Module, torch.Tensor | None]]:
    """A plain block, and an adaptive one with its modulation."""
    plain = random(Block(RMSNorm(D), random(Attention(D, H)), RMSNorm(D), random(SwiGLU(D, 8))))
    adaptive = random(ModulatedBlock(D, random(Attention(D, H)), random(Mlp(D, 8))))
    return [(plain, None), (adaptive, torch.randn(1, 6, 1, D, generator=torch.Generator().manual_seed(2)))]


@pytest.mark.parametrize("which", [0, 1])
def test_drop_path_leaves_whole_branches_out_of_whole_images(which: int) -> None:
    """Stochastic depth (arXiv 1603.09382): of every image each branch is there, over 1 - p, or it is not."""
    block, modulation = kinds_of_block()[which]
    whole = block(X[:1], seen(5), None, 0, modulation)
    block.drop_path = 0.25
    assert torch.equal(block(X[:1], seen(5), None, 0, modulation), whole), "in eval mode nothing is dropped"
    block.train()
    torch.manual_seed(0)
    made = block(X[:1].expand(400, -1, -1), seen(5), None, 0, modulation)
    g1, g2, s1, s2, t1, t2 = (1, 1, 0, 0, 0, 0) if modulation is None else modulation.unbind(1)
    norm1, norm2 = (block.norm1, block.norm2) if modulation is None else (normalised, normalised)
    outcomes = []
    for first in (0, 4 / 3):
        middle = X[:1] + first * g1 * block.attention(norm1(X[:1]) * (1 + s1) + t1, seen(5), None, 0)
        outcomes += [middle + second * g2 * block.mlp(norm2(middle) * (1 + s2) + t2) for second in (0, 4 / 3)]
    near = torch.stack([(made - one).abs().amax((1, 2)) for one in outcomes])
    assert near.min(0).values.max() < 1e-4, "an image is none of the four outcomes"
    counts = torch.bincount(near.argmin(0), minlength=4) / 400
    torch.testing.assert_close(counts, torch.tensor([1, 3, 3, 9]) / 16, atol=0.06, rtol=0)


def test_dropped_attention_weights_are_those_of_the_formula_on_average() -> None:
    module = random(Attention(D, H))
    module.weight_dropout = 0.25
    whole = module(X, seen(5), None, 0)
    module.train()
    torch.manual_seed(0)
    drawn = module(X.repeat(4000, 1, 1), seen(5), None, 0).view(4000, 2, 5, D)
    assert ((drawn.mean(0) - whole).abs() < 5 * drawn.std(0) / 4000**0.5).all()
    first = torch.stack([module.proj(torch.cat(heads)) for heads in first_rows(module)])
    gaps = (drawn[:, :1, None, 0] - first).abs().amax(-1)  # the first row sees itself alone: there, or not, per head
    assert gaps.min(-1).values.max() < 1e-4 and len(gaps.argmin(-1).unique()) == 4


def first_rows(module: Attention) -> Iterator[list[torch.Tensor]]:
    """What the heads give image 0's first row, which sees itself alone, where either may be dropped (p = 1/4)."""
    value = F.linear(X[0, 0], module.qkv.weight.chunk(3)[2])
    for one, other in product((0, 4 / 3), repeat=2):
        yield [one * value[: D // 2], other * value[D // 2 :]]


def normalised(x: torch.Tensor) -> torch.Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()


@pytest.mark.parametrize("shared", [False, True])
def test_an_adaptive_block_scales_shifts_and_gates(shared: bool) -> None:
    """VAR: x += g1 attn(n(x)(1 + s1) + t1), x += g2 mlp(n(x)(1 + s2) + t2), with g1 g2 s1 s2 t1 t2 in this order."""
    attention, mlp = random(Attention(D, H, cosine=True)), random(Mlp(D, 8, tanh=True))
    block = random(ModulatedBlock(D, attention, mlp, shared=shared))
    vector = torch.randn(2, D, generator=torch.Generator().manual_seed(1))
    common = torch.randn(2, 6, 1, D, generator=torch.Generator().manual_seed(2))
    modulation = block.modulate(vector, common if shared else None)
    if shared:
        expected = common + block.offset
    else:
        linear = block.adapt[1]
        expected = F.linear(vector * torch.sigmoid(vector), linear.weight, linear.bias).view(2, 6, 1, D)
    torch.testing.assert_close(modulation, expected)
    g1, g2, s1, s2, t1, t2 = (expected[:, i] for i in range(6))
    made = block(X, seen(5), None, 0, modulation)
    middle = X + g1 * attention(normalised(X) * (1 + s1) + t1, seen(5), None, 0)
    whole = middle + g2 * mlp(normalised(middle) * (1 + s2) + t2)
    torch.testing.assert_close(made, whole, atol=1e-4, rtol=1e-4)


def test_heads() -> None:
    plain = random(Head(RMSNorm(D), D, 7))
    torch.testing.assert_close(plain(X), F.linear(plain.norm(X), plain.out.weight))
    adaptive = random(ModulatedHead(D, 7))
    vector = torch.randn(2, D)
    scale, shift_by = (
        F.linear(F.silu(vector), adaptive.adapt[1].weight, adaptive.adapt[1].bias).view(2, 2, 1, D).unbind(1)
    )
    expected = adaptive.out(normalised(X) * (1 + scale) + shift_by)
    torch.testing.assert_close(adaptive(X, adaptive.modulate(vector)), expected, atol=1e-5, rtol=1e-5)
