import torch

from parvis.canvas import Canvas
from parvis.decode.job import Job
from parvis.grid import Grid
from parvis.noise import Noise
from parvis.order import diagonals, random
from parvis.sampling import Sampling


def make(order, batch=2, scales=None):
    return Job(order, Canvas.empty(batch, order.tokens), Noise(range(batch)), Sampling(), scales)


def test_ask_names_the_group_its_ranks_and_positions():
    order = diagonals(Grid.square(3))
    ask = make(order, scales=torch.arange(9.0)).ask(2, by="refine", draft=torch.zeros(2, 3))
    assert (ask.group, ask.start, ask.stop, ask.by) == (2, 3, 6, "refine")
    assert ask.positions.tolist() == [2, 4, 6]
    assert ask.scale.tolist() == [3, 4, 5]
    assert ask.draft.shape == (2, 3)


def test_groups_start_after_the_given_ranks():
    order = diagonals(Grid.square(3)).without(torch.tensor([True] * 4 + [False] * 5))
    job = make(order)
    assert job.ask(0).start == 4
    assert job.ask(job.groups[-1]).stop == 9


def test_window_cuts_ranks_of_every_image():
    order = random(Grid.square(3), (9,), Noise((4, 5)))
    ask = make(order).window(2, 6, torch.zeros(2, 4, dtype=torch.long))
    assert ask.group is None and (ask.start, ask.stop, ask.by) == (2, 6, "main")
    assert torch.equal(ask.positions, order.positions[:, 2:6])
