"""MaskGIT against a slow, obvious version: no plan, no cache, no decoder."""

import math

import pytest
import torch
import torch.nn.functional as F

from parvis.generate import generate
from parvis.noise import CHOICE, Noise
from parvis.request import Request
from toys import given, toy


def logits(model, codes_N, row_D):
    """Of one image under one condition row: everything sees everything; -1 is masked."""
    shown = [model.query if c < 0 else model.tokens.weight[c] for c in codes_N.tolist()]
    table = model.positions.table
    x = model.norm_in(torch.stack([row_D + table[0], *(v + table[1 + i] for i, v in enumerate(shown))]))
    for block in model.blocks:
        a, n = block.attention, x.shape[0]
        q, k, v = (part.view(n, a.heads, -1).transpose(0, 1) for part in a.qkv(block.norm1(x)).chunk(3, -1))
        weights = (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).softmax(-1)
        x = x + a.proj((weights @ v).transpose(0, 1).flatten(1))
        x = x + block.mlp(block.norm2(x))
    return model.head(x[1:])


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_it_equals_the_plain_algorithm(guidance):
    system, steps, seeds = toy("maskgit"), 4, (3, 8)
    model, tokens = system.models["main"], system.grid.tokens
    classes = given(system, 2)
    canvas, passes = generate(system, Request(classes, seeds, guidance=guidance))
    assert passes == steps
    for image, seed in enumerate(seeds):
        noise, codes = Noise([seed]), torch.full((tokens,), -1)
        for t in range(steps):
            with torch.no_grad():
                law = logits(model, codes, model.condition.table.weight[classes[image]])
                if guidance != 1.0:
                    null = logits(model, codes, model.condition.absent[0])
                    law = null + guidance * (law - null)
            place = torch.arange(tokens)
            p = law.softmax(-1)
            fresh = (p.cumsum(-1) <= noise.uniform(place, t)[0][:, None]).sum(-1).clamp_max(p.shape[-1] - 1)
            drawn = torch.where(codes < 0, fresh, codes)
            gumbel = -(-noise.uniform(place, CHOICE + t)[0].clamp(1e-7, 1 - 1e-7).log()).log()
            sure = F.log_softmax(law, -1).gather(-1, drawn[:, None])[:, 0] + 4.5 * (1 - (t + 1) / steps) * gumbel
            sure[codes >= 0] = math.inf
            left = math.floor(tokens * math.cos(math.pi / 2 * (t + 1) / steps) + 1e-9)
            codes = drawn.clone()
            codes[sure.argsort()[:left]] = -1
        assert torch.equal(codes, canvas.values[image])
