"""What training minimises where values are latents: against plain numbers, and that it learns."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from parvis.diffusion import Schedule
from parvis.errors import IncompatibleParts
from parvis.model.feed import Question
from parvis.order import Order
from parvis.train.latents import (
    diffusion_loss,
    logit_normal,
    mask_count,
    masked_diffusion,
    noisy_context,
    velocities,
)
from parvis.train.objective import teacher_logits
from toys import CHANNELS, given, toy

LABELS = torch.tensor([1, 3, 0])


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def latents(seed: int = 0) -> torch.Tensor:
    return torch.randn(3, 24, CHANNELS, generator=chance(seed))


def permutations() -> torch.Tensor:
    return torch.rand(3, 24, generator=chance(5)).argsort(1)


def chain_mean(schedule: Schedule, t: int, clean: float, x: float) -> float:
    """Of the latent one step less noisy."""
    bar, beta, before = schedule.bars[t], schedule.betas[t], schedule.bars[t - 1] if t else 1.0
    return (beta * math.sqrt(before) * clean + (1 - before) * math.sqrt(1 - beta) * x) / (1 - bar)


def pixel_bits(x: float, mean: float, deviation: float) -> float:
    """Bits of the bin around ``x`` under a Gaussian by the tanh formula; the outer bins are open."""

    def below(edge: float) -> float:
        u = (edge - mean) / deviation
        return 0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))

    mass = (1.0 if x > 0.999 else below(x + 1 / 255)) - (0.0 if x < -0.999 else below(x - 1 / 255))
    return -math.log2(max(mass, 1e-12))


def test_the_diffusion_loss_number_by_number() -> None:
    head, schedule = toy("mar").models["main"].head, Schedule()
    generator = chance(3)
    z, target, noise = (torch.randn(6, n, generator=generator) for n in (32, CHANNELS, CHANNELS))
    target[0] = torch.tensor([-1.2, 0.1, 1.3])  # the open bins at the ends
    timesteps = torch.tensor([0, 1, 10, 250, 700, 990])
    losses = diffusion_loss(head, z, target, timesteps, noise)
    for m, t in enumerate(timesteps.tolist()):
        bar, later = schedule.bars[t], max(t, 1)
        x = math.sqrt(bar) * target[m] + math.sqrt(1 - bar) * noise[m]
        eps, share = head(x[None], timesteps[m : m + 1], head.prepare(z[m : m + 1]))
        low = math.log(schedule.betas[later] * (1 - schedule.bars[later - 1]) / (1 - schedule.bars[later]))
        error = bits = 0.0
        numbers = torch.stack([eps[0], share[0], target[m], x, noise[m]], 1).tolist()
        for said, part, clean, seen, true in numbers:
            error += (true - said) ** 2 / CHANNELS
            mean = chain_mean(schedule, t, (seen - math.sqrt(1 - bar) * said) / math.sqrt(bar), seen)
            spread = part * math.log(schedule.betas[t]) + (1 - part) * low
            if t == 0:
                bits += pixel_bits(clean, mean, math.exp(0.5 * spread)) / CHANNELS
            else:
                gap = (chain_mean(schedule, t, clean, seen) - mean) ** 2
                nats = 0.5 * (spread - low + math.exp(low - spread) + gap * math.exp(-spread) - 1)
                bits += nats / math.log(2) / CHANNELS
        assert float(losses[m]) == pytest.approx(error + bits, rel=2e-3)


def test_the_bound_teaches_the_variance_alone() -> None:
    """Where the noise is said exactly, the squared error is at its least and nothing pulls at what is said."""
    head = copy.deepcopy(toy("mar").models["main"].head).requires_grad_(True)
    with torch.no_grad():  # it says no noise whatever it sees, and there is none
        head.out.weight[:CHANNELS], head.out.bias[:CHANNELS] = 0.0, 0.0
    target = torch.randn(8, CHANNELS)
    timesteps, none = torch.arange(100, 900, 100), torch.zeros(8, CHANNELS)
    diffusion_loss(head, torch.randn(8, 32), target, timesteps, none).sum().backward()
    assert head.out.weight.grad[:CHANNELS].abs().max() == 0 and head.out.weight.grad[CHANNELS:].abs().max() > 0


def test_masks_follow_the_cut_normal_law() -> None:
    counts = torch.tensor([mask_count(256, chance(seed)) for seed in range(2000)]).double() / 256
    assert counts.min() >= 0.7 and counts.max() <= 1.0
    a = -0.3 / 0.25
    mass = 0.5 * math.erf(-a / math.sqrt(2))
    mean = 1 - 0.25 * (1 - math.exp(-a * a / 2)) / math.sqrt(2 * math.pi) / mass
    assert counts.mean().item() == pytest.approx(mean, abs=0.01)
    assert mask_count(1, chance()) == 1


def test_masked_diffusion_is_the_mean_over_what_is_masked() -> None:
    """One repeat, by the runner's own hidden vectors; masked values are not read, known values are."""
    model, values = toy("mar").models["main"], latents()
    order = Order(permutations(), (17,), 7)
    loss = masked_diffusion(model, values, LABELS, order, chance(2), repeats=1)
    rows = model.plan((7, 17)).step(1, model.rule, values.device)
    asked = Question(rows, order.positions, values, None, model.context(LABELS, False))
    hidden = model.answer(asked).condition
    generator = chance(2)
    timesteps = torch.randint(1000, (51,), generator=generator)
    noise = torch.randn(51, CHANNELS, generator=generator)
    targets = torch.cat([values[image, order.positions[image, 7:]] for image in range(3)])
    torch.testing.assert_close(loss, diffusion_loss(model.head, hidden.flatten(0, 1), targets, timesteps, noise).mean())
    everything = masked_diffusion(model, values, LABELS, Order(permutations(), (24,)), chance(2))
    assert everything.isfinite() and everything != loss


def test_dropped_images_are_taught_without_their_class() -> None:
    mar, xar = toy("mar").models["main"], toy("xar").models["main"]
    order, cells = Order(permutations(), (17,), 7), toy("xar").order(toy("xar").grid, 6, None)  # type: ignore[arg-type]
    times, noise, all_of = torch.rand(3, 6), latents(1), torch.ones(3, dtype=torch.bool)
    for dropped, same in ((all_of, True), (~all_of, False)):
        classes = (LABELS, LABELS.flip(0))
        losses = [masked_diffusion(mar, latents(), c, order, chance(), dropped).item() for c in classes]
        flows = [noisy_context(xar, latents(), c, cells, times, noise, dropped).item() for c in classes]
        assert (losses[0] == losses[1]) is same and (flows[0] == flows[1]) is same


def test_noisy_context_is_the_error_of_every_velocity() -> None:
    system, values, noise = toy("xar"), latents(), latents(1)
    model, order = system.models["main"], system.order(system.grid, 6, None)  # type: ignore[arg-type]
    times = logit_normal(3, 6, chance())
    velocity = velocities(model, values, given(system, 3), order, times, noise)
    target = (noise - values)[:, order.positions]
    loss = noisy_context(model, values, given(system, 3), order, times, noise)
    torch.testing.assert_close(loss, (velocity - target).square().mean())
    assert times.shape == (3, 6) and times.min() > 0 and times.max() < 1
    assert logit_normal(4000, 1, chance()).logit().std().item() == pytest.approx(1.0, abs=0.05)


def learned(model: nn.Module, loss: object, steps: int) -> tuple[float, float]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    seen = []
    for step in range(steps):
        value = loss(step)  # type: ignore[operator]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        seen.append(value.item())
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    return sum(seen[:10]) / 10, sum(seen[-10:]) / 10


def test_both_objectives_teach() -> None:
    torch.manual_seed(0)
    values = latents()
    for name in ("mar", "xar"):
        system = toy(name)
        model = copy.deepcopy(system.models["main"]).train().requires_grad_(True)
        orders = system.order(system.grid, 6, None) if name == "xar" else None  # type: ignore[arg-type]

        def loss(step: int, model: nn.Module = model, cells: Order | None = orders) -> torch.Tensor:
            dropped = torch.tensor([step % 3 == 0, False, False])
            if cells is None:
                order = Order(torch.rand(3, 24, generator=chance(step)).argsort(1), (18,), 6)
                return masked_diffusion(model, values, LABELS, order, chance(step), dropped)  # type: ignore[arg-type]
            times, noise = logit_normal(3, 6, chance(0)), latents(1)  # the same: what is noise cannot be learned
            return noisy_context(model, values, LABELS, cells, times, noise, dropped)  # type: ignore[arg-type]

        first, last = learned(model, loss, 60)
        assert last < 0.7 * first


def test_a_model_of_latents_has_no_logits() -> None:
    system = toy("mar")
    order = Order(torch.arange(24), (24,))
    with pytest.raises(IncompatibleParts, match="predicts latents, not codes"):
        teacher_logits(system.models["main"], latents(), LABELS, order)
