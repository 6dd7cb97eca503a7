"""Batches, average, rates, parameter groups."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from parvis.errors import UsageError
from parvis.train.data import choose_caption, gather, shuffled, weighted
from parvis.train.ema import Ema
from parvis.train.optim import clip, decays, optimizers, set_rate
from parvis.train.rates import SCHEDULES, rate, weight_decay
from parvis.train.seeds import seed_of


def test_seeds_differ_and_are_the_same_everywhere() -> None:
    assert seed_of(0, "epoch", 1) == 3496682244657562532
    assert len({seed_of(a, b) for a in range(20) for b in range(20)}) == 400
    assert seed_of(1, 23) != seed_of(12, 3)


def test_shuffled_visits_all_once_an_epoch_and_needs_no_history() -> None:
    pick = shuffled(10, 4, seed=1)
    drawn = torch.cat([pick(s) for s in range(5)])
    assert sorted(drawn[:10].tolist()) == sorted(drawn[10:].tolist()) == list(range(10))
    assert drawn[:10].tolist() != drawn[10:].tolist()
    assert torch.equal(shuffled(10, 4, seed=1)(3), drawn[12:16])
    assert len(shuffled(3, 8)(0)) == 8


def test_weighted_draws_in_proportion() -> None:
    pick = weighted(torch.tensor([1.0, 0.0, 3.0]), 1000, seed=0)
    counts = torch.bincount(pick(5), minlength=3)
    assert counts[1] == 0 and 650 < counts[2] < 850
    assert torch.equal(pick(5), pick(5)) and not torch.equal(pick(5), pick(6))
    with pytest.raises(UsageError):
        weighted(torch.tensor([1.0, -1.0]), 2)


def test_gather_wants_one_length() -> None:
    batch = gather({"a": torch.arange(6), "b": torch.arange(12).view(6, 2)}, lambda step: torch.tensor([step, 5]))(2)
    assert batch["a"].tolist() == [2, 5] and batch["b"].tolist() == [[4, 5], [10, 11]]
    with pytest.raises(UsageError, match="first dimension"):
        gather({"a": torch.zeros(2), "b": torch.zeros(3)}, lambda step: torch.zeros(1))


def test_captions_are_chosen_among_an_images_own() -> None:
    ids = torch.arange(3)[None, :, None].repeat(500, 1, 2)
    count = torch.tensor([1, 3] * 250)
    chosen = choose_caption(ids, count, step=4, first=0.5)[:, 0]
    assert chosen[0::2].eq(0).all()
    assert 0.55 < chosen[1::2].eq(0).float().mean() < 0.8 and set(chosen.tolist()) == {0, 1, 2}


def test_ema_is_the_average_and_gives_the_weights_back() -> None:
    model = nn.Linear(2, 1)
    ema = Ema(model, 0.5)
    nn.init.zeros_(model.weight)
    start = ema.tensors["weight"].clone()
    ema.update(model, step=100)
    assert torch.allclose(ema.tensors["weight"], start / 2)
    with ema.applied(model):
        assert torch.equal(model.weight, ema.tensors["weight"])
    assert not model.weight.any()


def test_early_average_forgets_the_start() -> None:
    model = nn.Linear(2, 1)
    ema = Ema(model, 0.999)
    nn.init.ones_(model.weight)
    for step in range(100):
        ema.update(model, step)
    assert torch.allclose(ema.tensors["weight"], torch.ones(1, 2), atol=1e-3)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rates_warm_up_hold_and_end_at_the_floor(schedule: str) -> None:
    rates = [rate(s, 100, 10, schedule, floor=0.1) for s in range(100)]  # type: ignore[arg-type]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1) and rates[-1] == pytest.approx(0.1)
    assert all(a >= b - 1e-12 for a, b in pairwise(rates[10:]))
    assert (rates[70] == 1) == (schedule != "cosine")


def test_half_a_cosine_at_the_end_is_the_constant_rate_and_the_annealing_of_pytorch() -> None:
    """LPD (section 4.1): constant, then half a cosine over the last epochs, here the last 25 of 100 steps."""
    constant = [rate(s, 100, 0, "wsd-cosine", floor=0.1, decay=0.25) for s in range(100)]
    opt = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=25, eta_min=0.1)
    annealed = [1.0]
    for _ in range(25):
        opt.step()
        annealing.step()
        annealed.append(opt.param_groups[0]["lr"])
    assert constant[:75] == [1.0] * 75 and constant[74:] == pytest.approx(annealed)


@pytest.mark.parametrize("steps", [12, 300, 1_501_200])
def test_stairs_are_the_milestones_of_pytorch(steps: int) -> None:
    """NAR: a fifth at 1/2, 2/3 and 5/6 of the run."""
    opt = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    falls = [steps // 2, 2 * steps // 3, 5 * steps // 6]
    if steps < 1000:
        milestones = torch.optim.lr_scheduler.MultiStepLR(opt, falls, gamma=0.2)
        for step in range(steps):
            assert rate(step, steps, 0, "stairs", floor=0.008, decay=0.5) == pytest.approx(opt.param_groups[0]["lr"])
            opt.step()
            milestones.step()
    for number, fall in enumerate(falls):
        around = [rate(s, steps, 0, "stairs", floor=0.008, decay=0.5) for s in (fall - 1, fall)]
        assert around == pytest.approx([0.2**number, 0.2 ** (number + 1)])


def test_weight_decay_grows_by_half_a_cosine() -> None:
    """VAR: at step i of n, end + (start - end) (1 + cos(pi i / (n - 1))) / 2."""
    grown = [weight_decay(i, 50, 0.05, 0.08) for i in range(50)]
    assert grown == pytest.approx([0.08 - 0.03 * (0.5 + 0.5 * math.cos(math.pi * i / 49)) for i in range(50)])
    assert weight_decay(7, 50, 0.05, None) == 0.05
    (adamw,) = optimizers(model(), "adamw", 1e-3, 0.05)
    set_rate([adamw], 2e-3, 0.07)
    assert {(g["lr"], g["weight_decay"]) for g in adamw.param_groups} == {(2e-3, 0.07), (2e-3, 0.0)}


def model() -> nn.ModuleDict:
    parts = {
        "table": nn.Embedding(4, 3),
        "blocks": nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)),
        "conv": nn.Conv2d(3, 3, 3),
    }
    return nn.ModuleDict({**parts, "head": nn.Linear(3, 4)})


def test_decay_is_on_matrices_and_kernels_alone() -> None:
    assert decays(model()) == {"blocks.0.weight", "conv.weight", "head.weight"}


def test_muon_takes_block_matrices_and_adamw_the_rest() -> None:
    net = model()
    muon, adamw = optimizers(net, "muon", 1e-3, 0.1)
    assert [p is net["blocks"][0].weight for g in muon.param_groups for p in g["params"]] == [True]  # type: ignore[index]
    taken = [p for opt in (muon, adamw) for g in opt.param_groups for p in g["params"]]
    assert {id(p) for p in taken} == {id(p) for p in net.parameters()} and len(taken) == len(list(net.parameters()))
    assert {g["weight_decay"] for g in adamw.param_groups} == {0.0, 0.1}
    with pytest.raises(UsageError, match="no matrix"):
        optimizers(nn.Linear(2, 2), "muon", 1e-3, 0.1)


def test_frozen_parameters_are_left_out() -> None:
    net = model().requires_grad_(False)
    with pytest.raises(UsageError, match="frozen"):
        optimizers(net, "adamw", 1e-3, 0.1)


def test_clip_scales_to_the_limit_and_tells_the_norm() -> None:
    net = nn.Linear(4, 1, bias=False)
    net.weight.grad = torch.full((1, 4), 3.0)
    assert float(clip(net, 1.0)) == pytest.approx(6)
    assert float(net.weight.grad.norm()) == pytest.approx(1, abs=1e-4)
