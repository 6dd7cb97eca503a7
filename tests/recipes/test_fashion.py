"""The runs of the comparison: equal in size, different in what they are said to be."""

import pytest
import torch

from parvis.generate import generate
from parvis.order import Order
from parvis.request import Request
from parvis.tokenizer.kl import KL
from parvis.tokenizer.multiscale import MultiScaleVQ
from parvis.tokenizer.vqgan import VQGAN
from parvis.train.objective import teacher_logits
from recipes import fashion, fashion_tokenizers
from recipes.small import objective

TOKENIZERS = {
    "fashion-vq": VQGAN(fashion_tokenizers.VQ).eval(),
    "fashion-kl": KL(fashion_tokenizers.KL_CONFIG).eval(),
    "fashion-multiscale": MultiScaleVQ(fashion_tokenizers.MULTISCALE).eval(),
}


def built(name):
    return fashion.build(name, TOKENIZERS[fashion.RUNS[name].tokenizer])


@pytest.mark.parametrize("name", fashion.RUNS)
def test_every_run_has_about_two_million_parameters_and_can_be_taught(name):
    system, run = built(name), fashion.RUNS[name]
    assert 1.9e6 < sum(p.numel() for p in system.models["main"].parameters()) < 2.5e6
    taught = run.taught(system) if run.taught else objective(run.arguments["kind"], system)
    channels = system.tokenizer.channels
    tokens = system.grid.tokens
    values = torch.zeros(2, tokens, dtype=torch.long) if channels is None else torch.zeros(2, tokens, channels)
    loss = taught(system.models["main"], values, torch.tensor([0, 9]), torch.Generator().manual_seed(0), None)
    loss.backward()
    assert torch.isfinite(loss)


def test_par_at_once_and_adjacent_change_only_the_order():
    par, once, near = built("par-4"), built("par-4-at-once"), built("par-4-adjacent")
    orders = [s.order(s.grid, s.preset.steps, None) for s in (par, once, near)]
    assert orders[0].sizes == (1,) * 4 + (4,) * 15 == orders[2].sizes and orders[1].sizes == (4,) * 16
    assert torch.equal(orders[0].positions, orders[1].positions)
    assert torch.equal(orders[2].positions, torch.arange(64))
    state = par.models["main"].state_dict()
    assert all(torch.equal(t, state[k]) for k, t in once.models["main"].state_dict().items())


def test_queries_that_are_apart_do_not_see_each_other():
    """The law of a position must not depend on what else is asked in its pass."""
    moved = {}
    for name in ("lpd", "lpd-apart"):
        model = built(name).models["main"].eval()
        torch.manual_seed(1)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        laws = []
        for company in (range(10, 18), range(20, 28)):
            first = [5, 0, *company]
            positions = torch.tensor([*first, *(i for i in range(64) if i not in first)])
            with torch.no_grad():
                order = Order(positions, (1, 9, 54))
                laws.append(teacher_logits(model, torch.arange(64)[None], torch.tensor([3]), order)[0, 1])
        moved[name] = float((laws[0] - laws[1]).abs().max())
    assert moved["lpd"] > 1e-3 and moved["lpd-apart"] < 1e-4


def test_a_run_draws_in_the_passes_that_it_is_named_for():
    system = built("par-16")
    _, passes = generate(system, Request(torch.tensor([1]), (0,)))
    assert passes == 16 + 3
