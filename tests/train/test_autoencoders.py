"""What KL and multi-scale tokenizers are trained on: both learn a few pictures, and what each loss promises holds."""

import torch

from parvis.tokenizer.kl import KL, KLConfig
from parvis.tokenizer.multiscale import MultiScaleConfig, MultiScaleVQ
from parvis.train.kl import kl_loss, scaled
from parvis.train.multiscale import MultiScaleTraining, first_codes, multiscale_loss

KL_TOY = KLConfig(channels=8, multipliers=(1, 2), blocks=1, groups=4, z_channels=4)
SCALES_TOY = MultiScaleConfig((1, 2, 4), channels=8, multipliers=(1, 2), blocks=1, groups=4, z_channels=4, codes=32)


def pictures(count=8, side=8):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def taught(model, loss, steps):
    optimizer, found = torch.optim.AdamW(model.parameters(), lr=5e-3), []
    for step in range(steps):
        value, terms = loss(model, {"pixels": pictures()}, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        found.append({name: float(term.detach()) for name, term in terms.items()})
    return found


def test_a_kl_tokenizer_learns_and_is_scaled_to_unit_variance():
    torch.manual_seed(0)
    model = KL(KL_TOY)
    found = taught(model, kl_loss, 40)
    assert found[-1]["mse"] < 0.7 * found[0]["mse"]
    made = scaled(model.eval().requires_grad_(False), [pictures()])
    mean, deviation = model.moments(pictures())
    second = float((made.config.scale**2 * (mean.square() + deviation.square())).mean())
    assert abs(second - 1) < 0.01
    assert torch.equal(made.moments(pictures())[0], mean)


def test_the_divergence_is_the_gaussians_own():
    torch.manual_seed(0)
    model, x = KL(KL_TOY).eval(), pictures()
    _, terms = kl_loss(model, {"pixels": x}, torch.Generator().manual_seed(0))
    mean, deviation = model.moments(x)
    exact = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, deviation), torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    )
    torch.testing.assert_close(terms["divergence"], exact.mean(), rtol=1e-4, atol=1e-5)


def test_a_multi_scale_tokenizer_learns_and_keeps_its_codes_in_use():
    torch.manual_seed(0)
    tokenizer = MultiScaleVQ(SCALES_TOY)
    first_codes(tokenizer, pictures(), torch.Generator().manual_seed(0))
    model = MultiScaleTraining(tokenizer, revive_until=40, revive_every=5)
    found = taught(model, multiscale_loss, 60)
    assert found[-1]["mse"] < 0.7 * found[0]["mse"]
    assert int(model.steps) == 60
    codes = tokenizer.eval().encode(pictures())
    assert codes.shape == (8, 1 + 4 + 16) and codes.unique().numel() > 8


def test_gradients_pass_through_the_codes_and_codes_that_nobody_uses_are_moved():
    torch.manual_seed(0)
    tokenizer = MultiScaleVQ(SCALES_TOY)
    tokenizer.quantize.embedding.weight.data[16:] = 1e4  # far from everything
    model = MultiScaleTraining(tokenizer, revive_until=1000, revive_every=1, dead=0.99)
    f = torch.randn(2, 4, 4, 4, requires_grad=True)
    out, _ = model.quantized(f, torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(out.sum(), f, retain_graph=True)
    assert torch.equal(gradient, torch.ones_like(f))
    assert int((tokenizer.quantize.embedding.weight[16:] < 1e4).all(1).sum()) > 0
    model.eval()
    before = tokenizer.quantize.embedding.weight.clone()
    model.quantized(f, torch.Generator().manual_seed(0))
    assert torch.equal(before, tokenizer.quantize.embedding.weight)
