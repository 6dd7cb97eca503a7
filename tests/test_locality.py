import itertools
import json
import math
import statistics
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parvis.errors import UsageError
from parvis.grid import Grid
from parvis.locality import Rule, lpd, proximity_only, repulsion_only, walk
from parvis.noise import Noise
from parvis.schedule import cosine, published

GOLDEN = Path(__file__).parent / "golden"
CASES = json.loads((GOLDEN / "lpd_orders.json").read_text())


@pytest.mark.parametrize("case", CASES["deterministic"], ids=lambda case: f"{case['grid']}-{case['first_cell']}")
def test_orders_of_the_authors_without_chance_are_reproduced(case):
    grid, sizes = Grid.square(case["grid"]), case["group_sizes"]
    ties = np.tile(np.arange(grid.tokens), (len(sizes), 1))
    made = walk(grid, sizes, Rule(case["tau"], case["rho"]), ties, lambda step, free: 0 if step else case["first_cell"])
    assert made == case["order"]


def by_definition(grid, sizes, rule, ties, start):
    """The algorithm on plain lists, cell by cell; returns the groups and how many picks of each were greedy."""
    place = [divmod(cell, grid.width) for cell in range(grid.tokens)]

    def chebyshev(a, b):
        return max(abs(place[a][0] - place[b][0]), abs(place[a][1] - place[b][1]))

    def score(cell, known):
        near = [v for v in known if chebyshev(cell, v) == 1]
        return round(sum(1 / math.dist(place[cell], place[v]) for v in near), 9) if rule.scored else 0.0

    known, groups, greedy = [], [], []
    for step, size in enumerate(sizes):
        free = [cell for cell in range(grid.tokens) if cell not in known]
        ranked = sorted(free, key=lambda cell: (-score(cell, known), ties[step][cell]))
        picks, later = [], []
        if step == 0:
            picks = [start(0, grid.tokens)]
            later = [cell for cell in ranked if cell != picks[0]]
        else:
            far = [cell for cell in ranked if score(cell, known) < rule.proximity]
            for cell in ranked[: len(ranked) - len(far)]:
                clear = all(chebyshev(cell, other) > rule.repulsion for other in picks)
                (picks if clear and len(picks) < size else later).append(cell)
            later = far + later
        greedy.append(len(picks))
        if not picks and len(later) > size:
            picks.append(later[start(step, len(later))])
        while len(picks) < size:
            later = [cell for cell in later if cell not in picks]
            if len(later) + len(picks) <= size:
                picks += later
            else:
                picks.append(max(later, key=lambda c: min([math.dist(place[c], place[p]) for p in picks])))
        known += picks
        groups.append(picks)
    return groups, greedy


@st.composite
def cases(draw):
    grid = Grid.image(draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    cuts = draw(st.sets(st.integers(1, max(1, grid.tokens - 1)), max_size=min(8, grid.tokens - 1)))
    edges = [0, *sorted(c for c in cuts if c < grid.tokens), grid.tokens]
    sizes = tuple(b - a for a, b in itertools.pairwise(edges))
    tau, rho = draw(st.sampled_from([0.0, 0.7, 1.0, 1.5, 2.0, 9.0])), draw(st.sampled_from([0.0, 1.0, 1.5, 2.0, 4.0]))
    return grid, sizes, Rule(tau, rho, draw(st.booleans())), draw(st.integers(0, 2**32))


@settings(max_examples=60, deadline=None)
@given(cases())
def test_any_grid_and_steps_follow_the_definition(case):
    grid, sizes, rule, seed = case
    chance = np.random.default_rng(seed)
    ties = np.stack([chance.permutation(grid.tokens) for _ in sizes])
    starts = chance.random(len(sizes))
    made = walk(grid, sizes, rule, ties, lambda step, free: int(starts[step] * free))
    groups, greedy = by_definition(grid, sizes, rule, ties, lambda step, free: int(starts[step] * free))
    assert made == list(itertools.chain.from_iterable(groups))
    done = 0
    for size, picked in zip(sizes, greedy, strict=True):
        places = np.array([divmod(cell, grid.width) for cell in made[done : done + picked]])
        apart = abs(places[:, None] - places).max(axis=-1) if picked else np.zeros((0, 0))
        assert (apart[~np.eye(picked, dtype=bool)] > rule.repulsion).all()
        done += size


@settings(max_examples=40, deadline=None)
@given(cases(), st.sampled_from([lpd, proximity_only, repulsion_only]))
def test_every_image_gets_a_permutation_from_its_own_seed(case, make):
    grid, sizes, _, seed = case
    together = make(grid, sizes, Noise([seed, 7]))
    assert together.sizes == sizes and together.positions.shape == (2, grid.tokens)
    assert torch.equal(together.positions.sort(dim=1).values, torch.arange(grid.tokens).expand(2, -1))
    assert torch.equal(make(grid, sizes, Noise([seed])).positions[0], together.positions[0])


def test_other_seeds_give_other_orders():
    orders = lpd(Grid.square(8), cosine(64, 8), Noise(range(50))).positions.tolist()
    assert len({tuple(order) for order in orders}) == 50
    assert len({order[0] for order in orders}) > 25


def test_first_group_of_several_is_spread_out():
    order = lpd(Grid.square(8), (4, 60), Noise(range(10)))
    for cells in order.group(0):
        places = torch.stack([cells // 8, cells % 8], dim=1).float()
        assert (torch.cdist(places, places) + 99 * torch.eye(4)).min() >= 4


def measure(order, width):
    """Mean nearest distance inside a group; mean number of known edge neighbours in the first third of the image."""
    apart, touching = [], []
    for row in range(len(order.positions)):
        known = np.zeros((width + 2, width + 2))
        for k in range(len(order.sizes)):
            cells = order.group(k)[row].numpy()
            y, x = cells // width, cells % width
            if k and order.bounds[k] < width * width / 3:
                touching += (known[y, x + 1] + known[y + 2, x + 1] + known[y + 1, x] + known[y + 1, x + 2]).tolist()
            if len(cells) > 1:
                away = np.hypot(y[:, None] - y, x[:, None] - x) + 99 * np.eye(len(cells))
                apart += away.min(axis=1).tolist()
            known[y + 1, x + 1] = 1
    return statistics.mean(apart), statistics.mean(touching)


def test_each_ablation_gives_up_its_principle():
    grid, sizes, noise = Grid.square(16), published(256, 20), Noise(range(4))
    both, near, far = (measure(make(grid, sizes, noise), 16) for make in (lpd, proximity_only, repulsion_only))
    assert near[0] < 0.6 * both[0]  # proximity alone: groups clump
    assert far[1] < 0.7 * both[1]  # repulsion alone: less is known beside a cell
    assert near[1] >= both[1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: lpd(Grid.pyramid((1, 2)), (1, 4), Noise([0])), "one image"),
        (lambda: lpd(Grid.square(4), (1, 14), Noise([0])), r"sum to 16; got \(1, 14\) \(sum 15\)"),
        (lambda: lpd(Grid.square(4), (0, 16), Noise([0])), "at least 1"),
        (lambda: lpd(Grid.square(4), (16,), Noise([0]), repulsion=-1), "at least 0"),
        (lambda: lpd(Grid.square(4), (16,), Noise([0]), proximity=math.nan), "at least 0"),
    ],
)
def test_bad_calls_are_refused(make, words):
    with pytest.raises(UsageError, match=words):
        make()


@pytest.mark.parametrize(("side", "steps", "repulsion", "limit"), [(16, 20, 2, 0.004), (32, 48, 4, 0.030)])
def test_an_order_takes_no_time(side, steps, repulsion, limit):
    """Twice the aims of 2 and 15 ms of processor time; the best of many, since the machine may be shared."""
    grid, sizes = Grid.square(side), published(side * side, steps)
    taken = []
    for seed in range(25):
        start = time.thread_time()
        lpd(grid, sizes, Noise([seed]), repulsion=repulsion)
        taken.append(time.thread_time() - start)
    assert min(taken) < limit


@pytest.mark.parametrize("make", [lpd, proximity_only, repulsion_only])
def test_known_cells_come_first_and_count_as_generated(make):
    grid, noise = Grid.image(6, 8), Noise([3, 4])
    known = torch.zeros(2, 48, dtype=torch.bool)
    known[0, :24] = True  # the upper half
    known[1, ::2] = True
    order = make(grid, (4, 8, 12), noise, known=known)
    assert order.given == 24
    for image in range(2):
        assert sorted(order.positions[image, :24].tolist()) == known[image].nonzero().flatten().tolist()
    if make is lpd:  # next to what is known, and apart from each other
        first = order.positions[0, 24:28].tolist()
        assert all(cell // 8 == 3 for cell in first[:3])
        columns = [cell % 8 for cell in first[:3]]
        assert min(abs(a - b) for a in columns for b in columns if a != b) > 2


def test_nothing_known_is_the_order_as_ever():
    grid, sizes = Grid.square(8), (1, 7, 20, 36)
    none = torch.zeros(64, dtype=torch.bool)
    assert torch.equal(lpd(grid, sizes, Noise([7])).positions, lpd(grid, sizes, Noise([7]), known=none).positions)


def test_known_cells_that_do_not_fit_are_refused():
    grid, noise = Grid.square(4), Noise([0, 1])
    with pytest.raises(UsageError, match=r"bool \[16\] or \[2, 16\]"):
        lpd(grid, (16,), noise, known=torch.zeros(15, dtype=torch.bool))
    with pytest.raises(UsageError, match="all 16 positions are known"):
        lpd(grid, (16,), noise, known=torch.ones(16, dtype=torch.bool))
    uneven = torch.zeros(2, 16, dtype=torch.bool)
    uneven[1, 0] = True
    with pytest.raises(UsageError, match="equally many"):
        lpd(grid, (16,), noise, known=uneven)
    with pytest.raises(UsageError, match="sum to 12"):
        lpd(grid, (16,), noise, known=torch.arange(16) < 4)
