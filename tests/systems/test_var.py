"""VAR against a slow, obvious version: everything computed anew for every scale, a dense mask, no cache, no plan."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from parvis.generate import generate
from parvis.noise import Noise
from parvis.request import Request
from parvis.train.objective import teacher_logits
from toys import given, toy


def shrunk_sum(tokenizer, codes_N, sides, upto):
    """The picture so far, [C, h, w]: the codes of every scale enlarged, smoothed, added up one after the other."""
    count, last, start = len(sides), sides[-1], 0
    total = torch.zeros(1, tokenizer.config.z_channels, last, last, dtype=torch.float64)
    for k in range(upto):
        part = codes_N[start : start + sides[k] ** 2]
        start += sides[k] ** 2
        h = tokenizer.quantize.embedding.weight[part].T.reshape(1, -1, sides[k], sides[k])
        if sides[k] != last:
            h = F.interpolate(h, size=(last, last), mode="bicubic")
        shared = tokenizer.quantize.quant_resi.qresi_ls
        margin = 1 / 3 / len(shared) if len(shared) == 4 else 1 / 2 / len(shared)
        ticks = np.linspace(margin, 1 - margin, len(shared))  # halfway between two its rounding decides, as published
        phi = shared[int(np.argmin(np.abs(ticks - k / (count - 1))))]
        total = total + 0.5 * h + 0.5 * F.conv2d(h, phi.weight, phi.bias, padding=1)
    return total


def logits_of(model, tokenizer, codes_N, label, sides, upto):
    """Logits [n, V] of scale ``upto`` of one image, all earlier scales fed again."""
    vector = model.condition.table.weight[label]
    pieces, scale_of = [(vector + model.condition.start[0, 0])[None]], [0]
    for k in range(1, upto + 1):
        seen = F.interpolate(shrunk_sum(tokenizer, codes_N, sides, k), size=(sides[k], sides[k]), mode="area")
        pieces.append(model.view(seen[0].flatten(1).T))
        scale_of += [k] * sides[k] ** 2
    x, at = torch.cat(pieces), torch.tensor(scale_of)
    x = x + model.positions.table[: len(x)] + model.positions.level[at]
    visible = at[None] <= at[:, None]
    for block in model.blocks:
        gain1, gain2, scale1, scale2, shift1, shift2 = block.adapt(vector).view(6, -1)
        a, inner = block.attention, F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale1) + shift1
        q, k, v = (inner @ a.qkv.weight.T).view(len(x), 3, a.heads, -1).permute(1, 2, 0, 3)
        q = q + a.q_bias.view(a.heads, 1, -1)
        v = v + a.v_bias.view(a.heads, 1, -1)
        q, k = q / q.norm(dim=-1, keepdim=True), k / k.norm(dim=-1, keepdim=True)
        weights = (q @ k.transpose(1, 2)) * a.log_scale[0].clamp_max(math.log(100)).exp()
        mixed = weights.masked_fill(~visible, -math.inf).softmax(-1) @ v
        x = x + a.proj(mixed.transpose(0, 1).flatten(1)) * gain1
        x = x + block.mlp(F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale2) + shift2) * gain2
    scale, shift = model.head.adapt(vector).view(2, -1)
    answers = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift
    return model.head.out(answers)[-(sides[upto] ** 2) :]


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_decoding_equals_the_plain_algorithm(guidance):
    system, seeds = toy("var"), (3, 8)
    sides = system.tokenizer.config.sides
    model, tokenizer = (copy.deepcopy(m).double() for m in (system.models["main"], system.tokenizer))
    classes = given(system, 2)
    canvas, passes = generate(system, Request(classes, seeds, guidance=guidance))
    assert passes == len(sides)
    for image, seed in enumerate(seeds):
        codes, noise = torch.zeros(0, dtype=torch.long), Noise([seed])
        for k, side in enumerate(sides):
            with torch.no_grad():
                law = logits_of(model, tokenizer, codes, classes[image], sides, k)
                if guidance != 1.0:
                    null = logits_of(model, tokenizer, codes, model.condition.classes, sides, k)
                    law = null + (1 + (guidance - 1) * k / (len(sides) - 1)) * (law - null)
            place = torch.arange(len(codes), len(codes) + side**2)
            drawn = (law.softmax(-1).cumsum(-1) <= noise.uniform(place)[0][:, None]).sum(-1)
            codes = torch.cat([codes, drawn.clamp_max(law.shape[-1] - 1)])
        assert torch.equal(codes, canvas.values[image])


def test_training_logits_equal_the_plain_ones():
    system = toy("var")
    sides, tokens = system.tokenizer.config.sides, system.grid.tokens
    codes = torch.randint(system.tokenizer.vocabulary, (1, tokens), generator=torch.Generator().manual_seed(4))
    view = system.tokenizer.teacher_input(codes, system.grid)
    order = system.order(system.grid, len(sides), Noise([0]))
    model, tokenizer = (copy.deepcopy(m).double() for m in (system.models["main"], system.tokenizer))
    with torch.no_grad():
        found = teacher_logits(model, codes, torch.tensor([2]), order, view_BnC=view)[0]
        plain = torch.cat([logits_of(model, tokenizer, codes[0], 2, sides, k) for k in range(len(sides))])
    torch.testing.assert_close(found.double(), plain, atol=1e-5 * float(plain.abs().max()), rtol=1e-5)
