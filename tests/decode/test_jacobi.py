import itertools

import pytest
import torch

from oracle import drive, job, oracle, run
from parvis.decode.jacobi import jacobi
from parvis.decode.parallel import parallel
from parvis.errors import UsageError
from parvis.grid import Grid
from parvis.noise import Noise
from parvis.order import random, raster
from parvis.predict import Categorical
from parvis.sampling import Sampling

GRID = Grid.square(4)


@pytest.mark.parametrize("window", [1, 2, 5, 16, 100])
@pytest.mark.parametrize("sharp", [0.0, 1.0, 3.0, 30.0])
def test_equals_one_by_one_in_no_more_passes(window, sharp):
    order = raster(GRID)
    saved = 0
    for seed in range(8):
        expected, slow = run(parallel, order, (seed,), oracle(vocabulary=3, sharp=sharp))
        values, fast = run(jacobi(window), order, (seed,), oracle(vocabulary=3, sharp=sharp))
        assert torch.equal(values, expected)
        assert len(fast) <= len(slow)
        saved += len(slow) - len(fast)
    assert saved > 0 or window == 1


def test_a_law_that_ignores_the_context_takes_two_passes_per_window():
    """Coupled noise: the second pass draws the same values, so the whole window is accepted."""

    def blind(canvas, ask):
        empty = type(canvas)(torch.zeros_like(canvas.values), torch.zeros_like(canvas.known))
        return oracle()(empty, type(ask)(ask.group, ask.start, ask.stop, ask.positions))

    _, passes = run(jacobi(16), raster(GRID), (1,), blind)
    assert len(passes) <= 3


def test_coupled_draws_make_large_vocabularies_fast():
    """Flat laws over 2000 codes that the context moves a little: exact either way, far fewer passes when coupled."""
    scale = torch.arange(1, 2001) * 0.001

    def faint(canvas, ask):
        moved = oracle(2000, sharp=0.3)(canvas, ask).logits
        return Categorical(moved + 3 * torch.sin(40 * scale * (ask.positions[:, None] + 1)))

    passes = {}
    for coupled in (False, True):
        made = [job(raster(Grid.square(6)), (2,), sampling=Sampling(coupled=coupled)) for _ in range(2)]
        slow = drive(parallel, made[0], faint)
        passes[coupled] = len(drive(jacobi(12), made[1], faint))
        assert torch.equal(made[0].canvas.values, made[1].canvas.values)
        assert len(slow) == 36
    assert passes[True] < 0.6 * passes[False]


def test_batch_in_lockstep_stays_exact():
    seeds = tuple(range(20))
    order = random(GRID, (1,) * 16, Noise(seeds))
    expected, slow = run(parallel, order, seeds, oracle(vocabulary=2))
    values, fast = run(jacobi(8), order, seeds, oracle(vocabulary=2))
    assert torch.equal(values, expected)
    assert len(fast) <= len(slow)
    for row in (0, 7):
        alone, _ = run(jacobi(8), random(GRID, (1,) * 16, Noise((seeds[row],))), (seeds[row],), oracle(vocabulary=2))
        assert torch.equal(alone[0], values[row])


def test_windows_overlap_only_in_what_was_not_accepted():
    _, passes = run(jacobi(6), raster(GRID), (3, 4), oracle(vocabulary=3))
    assert passes[0].start == 0 and passes[-1].stop == 16
    for before, after in itertools.pairwise(passes):
        assert before.start < after.start <= before.stop
        assert after.stop == min(after.start + 6, 16)
        assert after.draft.shape == (2, after.stop - after.start)


def test_rejected_draws_become_the_next_draft():
    answers = []

    def remember(canvas, ask):
        answers.append(oracle(vocabulary=5)(canvas, ask))
        return answers[-1]

    made = job(raster(GRID), (3,))
    passes = drive(jacobi(6), made, remember)
    drawn = answers[0].sample(made.noise, passes[0].positions, made.sampling)
    moved = passes[1].start - passes[0].start
    assert torch.equal(passes[1].draft[:, : 6 - moved], drawn[:, moved:])


def test_given_ranks_are_left_alone():
    known = torch.zeros(16, dtype=torch.bool)
    known[5:9] = True
    made = job(raster(GRID).without(known), (1, 2))
    made.canvas.write(torch.arange(5, 9), torch.full((2, 4), 6))
    made.canvas.writes.zero_()
    drive(jacobi(4), made, oracle())
    assert (made.canvas.values[:, 5:9] == 6).all()
    assert torch.equal(made.canvas.writes, (~known).long().expand(2, -1))


def test_window_below_one_is_refused():
    with pytest.raises(UsageError, match="at least 1; got 0"):
        jacobi(0)
