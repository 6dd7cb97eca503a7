import pytest
import torch

from oracle import drive, job, oracle, run
from parvis import order as orders
from parvis.canvas import Canvas
from parvis.decode.job import Job
from parvis.decode.parallel import parallel
from parvis.grid import Grid
from parvis.noise import Noise
from parvis.predict import Categorical
from parvis.sampling import Sampling
from parvis.schedule import cosine

GRID = Grid.image(4, 6)
SEEDS = (3, 0, 2**63 - 1)
ORDERS = {
    "raster": lambda seeds: orders.raster(GRID),
    "random": lambda seeds: orders.random(GRID, cosine(24, 5), Noise(seeds)),
    "regions": lambda seeds: orders.regions(GRID, 4),
    "diagonals": lambda seeds: orders.diagonals(GRID),
    "halton": lambda seeds: orders.halton(GRID, cosine(24, 7), Noise(seeds)),
    "scales": lambda seeds: orders.scales(Grid.pyramid((1, 2, 4))),
}


@pytest.mark.parametrize("name", ORDERS)
def test_each_group_is_asked_once_and_each_position_written_once(name):
    order = ORDERS[name](SEEDS)
    _, passes = run(parallel, order, SEEDS, oracle())
    assert [p.group for p in passes] == list(range(len(order.sizes)))
    assert [p.stop - p.start for p in passes] == list(order.sizes)
    assert all(p.by == "main" and p.draft is None and p.scale is None for p in passes)


@pytest.mark.parametrize("name", ORDERS)
def test_alone_equals_batched(name):
    together, _ = run(parallel, ORDERS[name](SEEDS), SEEDS, oracle())
    for row, seed in enumerate(SEEDS):
        alone, _ = run(parallel, ORDERS[name]((seed,)), (seed,), oracle())
        assert torch.equal(alone[0], together[row])


def test_same_seed_same_image_other_seed_other_image():
    images = [run(parallel, orders.raster(GRID), (seed,), oracle())[0] for seed in (5, 5, 6)]
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


def test_every_earlier_value_matters():
    """The oracle, hence the driver's result, depends on each written value: a changed start changes what follows."""
    order = orders.raster(GRID)
    known = torch.zeros(24, dtype=torch.bool)
    known[0] = True
    ends = set()
    for first in range(7):
        made = job(order.without(known), (1,))
        made.canvas.write(torch.tensor([0]), torch.tensor([[first]]))
        drive(parallel, made, oracle())
        ends.add(tuple(made.canvas.values[0, 1:].tolist()))
    assert len(ends) == 7


@pytest.mark.parametrize("name", ORDERS)
def test_known_positions_never_change(name):
    full = ORDERS[name](SEEDS)
    known = torch.zeros(3, full.tokens, dtype=torch.bool)
    for row in range(3):
        known[row, torch.randperm(full.tokens, generator=torch.Generator().manual_seed(row))[:9]] = True
    made = job(full.without(known), SEEDS)
    given = torch.arange(full.tokens).expand(3, -1) % 7
    made.canvas.values[known], made.canvas.known[known] = given[known], True
    drive(parallel, made, oracle())
    assert torch.equal(made.canvas.values[known], given[known])
    assert torch.equal(made.canvas.writes, (~known).long())
    assert made.canvas.known.all()


def test_scales_are_handed_out_by_rank():
    made = job(orders.diagonals(GRID), SEEDS, scales=torch.arange(24.0))
    passes = drive(parallel, made, oracle())
    assert torch.equal(torch.cat([p.scale for p in passes]), torch.arange(24.0))


def test_a_whole_generation_needs_no_host_synchronisation():
    """On the meta device there is nothing to read back: any `.item()` or `bool(tensor)` would raise."""
    order = orders.regions(Grid.square(4), 4).to("meta")
    canvas = Canvas.empty(2, 16, device="meta")
    made = Job(order, canvas, Noise((1, 2), device="meta"), Sampling(top_k=3, top_p=0.9))
    passes = drive(parallel, made, lambda _, ask: Categorical(torch.empty(2, ask.stop - ask.start, 9, device="meta")))
    assert len(passes) == len(order.sizes)
