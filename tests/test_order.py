import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parvis.errors import UsageError
from parvis.grid import Grid
from parvis.noise import Noise
from parvis.order import Order, cells, diagonals, halton, random, raster, regions, scales
from parvis.schedule import constant, cosine

PUBLISHED = json.loads((Path(__file__).parent / "golden" / "fixed_orders.json").read_text())
SEEDS = (4, 5, 6)


def shuffled(tokens, seed):
    return torch.randperm(tokens, generator=torch.Generator().manual_seed(seed))


# what an order is


def test_groups_and_bounds():
    order = Order(torch.tensor([3, 0, 2, 1]), (1, 2), given=1)
    assert order.tokens == 4 and order.bounds == (1, 2, 4)
    assert [order.group(k).tolist() for k in range(2)] == [[0], [2, 1]]


def test_groups_of_orders_per_image():
    order = Order(torch.tensor([[0, 1, 2], [2, 1, 0]]), (2, 1))
    assert order.group(0).tolist() == [[0, 1], [2, 1]]


def test_inverse_is_the_rank_of_every_position():
    for order in (random(Grid.square(4), (16,), Noise(SEEDS)), diagonals(Grid.square(4))):
        assert torch.equal(order.inverse(), order.positions.argsort(dim=-1))


def test_batch_repeats_a_shared_order_and_refuses_another_number_of_images():
    assert raster(Grid.square(2)).batch(3).tolist() == [[0, 1, 2, 3]] * 3
    own = random(Grid.square(2), (4,), Noise(SEEDS))
    assert torch.equal(own.batch(3), own.positions)
    with pytest.raises(UsageError, match="for 3 images, not for 2"):
        own.batch(2)


@pytest.mark.parametrize(
    ("positions", "sizes", "given", "words"),
    [
        ([0, 1, 1], (3,), 0, "each of 0..2 once"),
        ([0, 1, 3], (3,), 0, "each of 0..2 once"),
        ([0, -1, 1], (3,), 0, "each of 0..2 once"),
        ([[0, 1], [1, 1]], (2,), 0, "each of 0..1 once"),
        ([0, 1, 2], (2,), 0, "all 3 positions; got 0 given \\+ 2 in 1 groups"),
        ([0, 1, 2], (2,), 2, "2 given"),
        ([0, 1, 2], (3, 0), 0, "at least 1"),
        ([0, 1, 2], (), 3, "at least 1"),
        ([0, 1, 2], (4,), -1, "at least 0"),
        ([0.0, 1.0], (2,), 0, "long"),
    ],
)
def test_what_is_no_order_is_refused(positions, sizes, given, words):
    with pytest.raises(UsageError, match=words):
        Order(torch.tensor(positions), sizes, given)


# editing


@given(st.data(), st.integers(2, 40), st.integers(1, 3))
def test_without_keeps_the_order_of_what_is_left(data, tokens, images):
    count = data.draw(st.integers(1, tokens - 1))
    full = Order(torch.stack([shuffled(tokens, i) for i in range(images)]), cosine(tokens, max(1, tokens // 3)))
    known = torch.zeros(images, tokens, dtype=torch.bool)
    for row in range(images):
        known[row, shuffled(tokens, 10 + row)[:count]] = True
    edited = full.without(known)
    assert edited.given == count and sum(edited.sizes) == tokens - count
    for row in range(images):
        ranks = full.positions[row].tolist()
        expected = [p for p in ranks if known[row, p]] + [p for p in ranks if not known[row, p]]
        assert edited.positions[row].tolist() == expected


def test_without_scales_sizes_by_cumulative_rounding():
    order = Order(torch.arange(16), (1, 2, 3, 4, 6))
    known = torch.arange(16) < 8
    # cumulative 1 3 6 10 16, halved and rounded half up: 1 2 3 5 8
    assert order.without(known).sizes == (1, 1, 1, 2, 3)
    assert order.without(torch.arange(16) < 13).sizes == (1, 1, 1)


def test_without_keeps_a_shared_order_shared_unless_images_know_different_positions():
    order = raster(Grid.square(2))
    one = torch.tensor([False, True, False, False])
    assert order.without(one).positions.tolist() == [1, 0, 2, 3]
    assert order.without(torch.stack([one, one.flip(0)])).positions.tolist() == [[1, 0, 2, 3], [2, 0, 1, 3]]


def test_without_twice_adds_up():
    order = random(Grid.square(3), (2, 3, 4), Noise(SEEDS))
    first, second = torch.arange(9) == 4, torch.arange(9) == 7
    edited = order.without(first).without(second)
    assert edited.given == 2
    assert (edited.positions[:, :2].sort(dim=1).values == torch.tensor([4, 7])).all()


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (torch.zeros(4, dtype=torch.bool), "nothing is known"),
        (torch.ones(4, dtype=torch.bool), "all 4 positions are known"),
        (torch.tensor([[True, False, False, False], [True, True, False, False]]), "equally many positions; got 1..2"),
        (torch.tensor([True, False]), r"bool \[4\]"),
        (torch.tensor([1, 0, 0, 0]), r"bool \[4\]"),
    ],
)
def test_without_refuses_what_cannot_be_edited(known, words):
    with pytest.raises(UsageError, match=words):
        raster(Grid.square(2)).without(known)


# the orders of the papers


def test_raster_and_scales():
    assert raster(Grid.image(2, 3)).sizes == (1,) * 6
    order = scales(Grid.pyramid((1, 2, 3)))
    assert order.sizes == (1, 4, 9) and order.positions.tolist() == list(range(14))


@pytest.mark.parametrize("case", ["par_4", "par_16"])
def test_regions_equal_the_published_order(case):
    golden = PUBLISHED[case]
    order = regions(Grid.square(golden["grid"]), golden["parallel"])
    assert order.positions.tolist() == golden["order"]
    assert list(order.sizes) == golden["step_sizes"]


def test_regions_on_other_grids():
    order = regions(Grid.image(2, 4), 4)
    assert order.positions.tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    assert len(regions(Grid.square(24), 4).sizes) == 147 and len(regions(Grid.square(16), 16).sizes) == 31
    assert len(regions(Grid(((5, 16, 16),)), 4).sizes) == 323 and len(regions(Grid(((5, 16, 16),)), 16).sizes) == 95
    assert torch.equal(regions(Grid.square(4), 1).positions, torch.arange(16))


@pytest.mark.parametrize(
    ("grid", "parallel", "words"),
    [
        (Grid.square(4), 3, "square number"),
        (Grid.square(4), 0, "square number"),
        (Grid.image(4, 6), 16, "must divide"),
        (Grid.pyramid((1, 2)), 1, "single scale"),
    ],
)
def test_regions_refuse_what_does_not_divide(grid, parallel, words):
    with pytest.raises(UsageError, match=words):
        regions(grid, parallel)


def test_cells() -> None:
    """Cell after cell, both in raster order (xAR)."""
    order = cells(Grid.image(4, 6), 2)
    assert order.sizes == (4,) * 6
    assert order.group(0).tolist() == [0, 1, 6, 7] and order.group(4).tolist() == [14, 15, 20, 21]
    assert cells(Grid.square(3), 1).positions.tolist() == list(range(9))
    for grid, side in ((Grid.square(4), 3), (Grid.square(4), 0), (Grid.pyramid((2, 2)), 2)):
        with pytest.raises(UsageError):
            cells(grid, side)


def test_diagonals_equal_the_published_order():
    golden = PUBLISHED["nar"]
    order = diagonals(Grid.square(golden["grid"]))
    assert order.positions.tolist() == golden["order"]
    assert len(order.sizes) == 2 * golden["grid"] - 1


def test_diagonals_of_images_and_clips():
    order = diagonals(Grid.image(2, 3))
    assert order.positions.tolist() == [0, 1, 3, 2, 4, 5] and order.sizes == (1, 2, 2, 1)
    grid = Grid(((4, 16, 16),))
    order = diagonals(grid)
    assert len(order.sizes) == 34
    for k in (0, 7, 33):
        assert (grid.coords()[order.group(k), 1:].sum(dim=1) == k).all()


@pytest.mark.parametrize("make", [random, halton])
def test_orders_by_seed_depend_on_the_seed_alone(make):
    grid, sizes = Grid.image(5, 7), cosine(35, 6)
    together = make(grid, sizes, Noise(SEEDS)).positions
    assert together.shape == (3, 35)
    assert len({tuple(row.tolist()) for row in together}) == 3
    for row, seed in enumerate(SEEDS):
        assert torch.equal(make(grid, sizes, Noise([seed])).positions[0], together[row])


@pytest.mark.parametrize("grid", [Grid.image(5, 7), Grid.square(16), Grid.image(1, 9), Grid.square(1)])
def test_halton_is_a_permutation_on_any_image(grid):
    assert halton(grid, (grid.tokens,)).positions.shape == (grid.tokens,)
    assert halton(grid, (grid.tokens,), Noise(SEEDS)).positions.shape == (3, grid.tokens)


def test_halton_prefixes_cover_evenly():
    """The largest hole that the first sixteen of 256 cells leave is much smaller than by chance."""
    grid = Grid.square(16)
    coords = grid.coords()[:, 2:].double()

    def hole(positions):
        return torch.cdist(coords, coords[positions[:16]]).min(dim=1).values.max()

    made = halton(grid, constant(256, 16), Noise(range(20))).positions
    chance = random(grid, constant(256, 16), Noise(range(20))).positions
    assert sum(hole(p) for p in made) < 0.8 * sum(hole(p) for p in chance)


def test_halton_is_for_one_image():
    with pytest.raises(UsageError, match="one image"):
        halton(Grid.pyramid((1, 2)), (5,))
