"""What training minimises."""

from __future__ import annotations

import copy

import pytest
import torch

from parvis.canvas import Canvas
from parvis.decode.job import Job
from parvis.engine.runner import Runner
from parvis.model.framing import content
from parvis.noise import Noise
from parvis.sampling import Sampling
from parvis.train.objective import order_cross_entropy, random_order, teacher_logits
from toys import VOCABULARY, given, toy

NAMES = ("raster", "lpd", "words", "par", "randar", "arpg", "nar")
TABLES = ((1, 2, 3), (2, 4), (1,) * 6)


def case(name: str) -> tuple[torch.Tensor, torch.Tensor, object]:
    system = toy(name)
    codes = torch.randint(VOCABULARY, (3, system.grid.tokens), generator=torch.Generator().manual_seed(0))
    return codes, given(system, 3), system.order(system.grid, system.preset.steps, Noise((1, 2, 3)))


@pytest.mark.parametrize("name", NAMES)
def test_cross_entropy_is_the_mean_surprise_of_every_token_in_its_order(name: str) -> None:
    model, (codes, labels, order) = toy(name).models["main"], case(name)
    logits = teacher_logits(model, codes, labels, order)  # type: ignore[arg-type]
    laws, positions = logits.double().log_softmax(-1), order.batch(3)  # type: ignore[attr-defined]
    surprise = [
        -float(laws[image, rank, codes[image, positions[image, rank]]])
        for image in range(3)
        for rank in range(codes.shape[1])
    ]
    loss = order_cross_entropy(model, codes, labels, order)  # type: ignore[arg-type]
    assert float(loss) == pytest.approx(sum(surprise) / len(surprise), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_dropped_images_are_taught_without_their_condition(name: str) -> None:
    """A dropped image's logits do not depend on its condition; the others' do, and are as without dropping."""
    model, (codes, labels, order) = toy(name).models["main"], case(name)
    dropped = torch.tensor([False, True, False])
    made = teacher_logits(model, codes, labels, order, dropped)  # type: ignore[arg-type]
    other = teacher_logits(model, codes, labels.roll(1, 0), order, dropped)  # type: ignore[arg-type]
    plain = teacher_logits(model, codes, labels, order)  # type: ignore[arg-type]
    assert torch.equal(made[1], other[1]) and not torch.equal(made[0], other[0])
    assert torch.equal(made[0], plain[0]) and torch.equal(made[2], plain[2])
    assert not torch.equal(made[1], plain[1])


def test_random_order_draws_a_table_for_the_batch_and_a_permutation_per_image() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [random_order(4, TABLES, generator) for _ in range(60)]
    assert {order.sizes for order in drawn} == set(TABLES)
    for order in drawn:
        assert order.positions.shape == (4, 6)
        assert torch.equal(order.positions.sort(1).values, torch.arange(6).expand(4, 6))
    first = torch.stack([order.positions[:, 0] for order in drawn]).flatten()
    assert torch.bincount(first, minlength=6).min() > 20  # of 240: every cell comes first


def test_random_order_is_its_generators_alone() -> None:
    torch.manual_seed(0)
    one = random_order(2, TABLES, torch.Generator().manual_seed(5))
    torch.manual_seed(1)
    two = random_order(2, TABLES, torch.Generator().manual_seed(5))
    assert one.sizes == two.sizes and torch.equal(one.positions, two.positions)


@pytest.mark.parametrize("name", ["raster", "lpd"])
def test_a_few_steps_learn_one_image(name: str) -> None:
    model, (codes, labels, order) = copy.deepcopy(toy(name).models["main"]), case(name)
    model.requires_grad_(True)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    losses = []
    for _ in range(30):
        loss = order_cross_entropy(model, codes, labels, order)  # type: ignore[arg-type]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 < 2 < losses[0]


def test_next_scale_models_need_the_coarse_image() -> None:
    model, (codes, labels, order) = toy("var").models["main"], case("var")
    assert model.framing is content
    with pytest.raises(AssertionError):
        teacher_logits(model, codes, labels, order)  # type: ignore[arg-type]


def test_next_scale_models_are_taught_with_what_the_tokenizer_shows() -> None:
    """The loss is that of the laws which decoding asks when the true scales stand on the canvas; it can be followed."""
    system = toy("var")
    codes, labels, order = case("var")
    model = copy.deepcopy(system.models["main"]).requires_grad_(True)
    with torch.no_grad():
        shown = system.tokenizer.teacher_input(codes, system.grid)  # type: ignore[operator]
    loss = order_cross_entropy(model, codes, labels, order, view_BnC=shown)  # type: ignore[arg-type]
    runner = Runner(system, order, labels, 3, guided=False)  # type: ignore[arg-type]
    canvas, surprise = Canvas.empty(3, system.grid.tokens), []
    job = Job(order, canvas, Noise((1, 2, 3)), Sampling())  # type: ignore[arg-type]
    for group in job.groups:
        ask = job.ask(group)
        laws = runner.answer(canvas, ask)
        surprise.append(-laws.log_prob(codes[:, ask.positions]))
        canvas.write(ask.positions, codes[:, ask.positions])
    assert loss.item() == pytest.approx(torch.cat(surprise, 1).mean().item(), rel=1e-5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    for _ in range(8):
        optimizer.zero_grad()
        step = order_cross_entropy(model, codes, labels, order, view_BnC=shown)  # type: ignore[arg-type]
        step.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert step.item() < loss.item()
