import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oracle import drive, job, oracle, run
from parvis.canvas import Canvas
from parvis.decode.job import Job
from parvis.decode.parallel import parallel
from parvis.decode.refine import kept, refine
from parvis.errors import UsageError
from parvis.grid import Grid
from parvis.noise import Noise
from parvis.order import random, scales
from parvis.predict import Categorical
from parvis.sampling import Sampling

ORDER = scales(Grid.pyramid((1, 2, 4)))


@given(st.integers(1, 300), st.integers(1, 40))
def test_shares_rise_to_the_whole_group(size, steps):
    shares = kept(size, steps)
    assert len(shares) == min(size, steps) and shares[-1] == size
    assert all(a < b for a, b in zip((0, *shares), shares, strict=False))


def test_shares_follow_the_cosine():
    assert kept(64, 4) == (64 - 59, 64 - 45, 64 - 24, 64)
    assert kept(100, 1) == (100,)


def test_one_pass_per_group_is_parallel_decoding():
    assert torch.equal(run(refine(1), ORDER, (1, 2), oracle())[0], run(parallel, ORDER, (1, 2), oracle())[0])


def test_groups_are_asked_in_turn_and_written_once():
    _, passes = run(refine(3), ORDER, (1, 2), oracle())
    assert [p.group for p in passes] == [0, 1, 1, 1, 2, 2, 2]


def test_kept_values_stay_and_their_number_is_the_share():
    _, passes = run(refine(4), scales(Grid.square(4)), (1, 2, 3), oracle())
    assert (passes[0].draft == -1).all()
    for before, after, share in zip(passes, passes[1:], kept(16, 4), strict=False):
        stays = before.draft >= 0
        assert torch.equal(after.draft[stays], before.draft[stays])
        assert ((after.draft >= 0).sum(dim=1) == share).all()


def test_a_value_is_on_the_canvas_from_the_pass_that_keeps_it():
    made, known = job(scales(Grid.square(4)), (1, 2, 3)), []

    def look(canvas, ask):
        known.append(canvas.known.clone())
        assert torch.equal(known[-1], ask.draft >= 0) and torch.equal(canvas.values[known[-1]], ask.draft[known[-1]])
        return oracle()(canvas, ask)

    drive(refine(4), made, look)
    assert [row.sum(dim=1).tolist() for row in known] == [[share] * 3 for share in (0, *kept(16, 4)[:-1])]


def test_the_most_confident_values_are_kept():
    answers = []

    def remember(canvas, ask):
        answers.append(oracle()(canvas, ask))
        return answers[-1]

    made = job(scales(Grid.square(4)), (1,))
    passes = drive(refine(4), made, remember)
    values = answers[0].sample(made.noise, passes[0].positions, made.sampling)
    confidence = answers[0].confidence(values)
    stays = passes[1].draft >= 0
    assert torch.equal(passes[1].draft[stays], values[stays])
    assert confidence[stays].min() >= confidence[~stays].max()


def test_masked_values_are_drawn_afresh():
    """With a law that never changes, a value asked again is drawn with other noise."""
    flat = Categorical(torch.zeros(1, 64, 1000))
    made = job(scales(Grid.square(8)), (1,))
    drive(refine(8), made, lambda canvas, ask: flat)
    first = flat.sample(made.noise, torch.arange(64), made.sampling)
    assert (made.canvas.values != first).float().mean() > 0.8


def test_alone_equals_batched():
    seeds = (4, 5, 6)
    together, _ = run(refine(3), random(Grid.square(4), (1, 5, 10), Noise(seeds)), seeds, oracle())
    for row, seed in enumerate(seeds):
        alone, _ = run(refine(3), random(Grid.square(4), (1, 5, 10), Noise((seed,))), (seed,), oracle())
        assert torch.equal(alone[0], together[row])


def test_no_host_synchronisation():
    made = Job(ORDER.to("meta"), Canvas.empty(2, 21, device="meta"), Noise((1, 2), device="meta"), Sampling())
    passes = drive(refine(3), made, lambda _, ask: Categorical(torch.empty(2, ask.stop - ask.start, 9, device="meta")))
    assert len(passes) == 7


def test_a_temperature_keeps_others_than_the_most_confident_and_fades():
    plain, warm = ([p.draft >= 0 for p in run(refine(4, t), ORDER, (1, 2), oracle())[1][-3:]] for t in (0.0, 50.0))
    assert any(not torch.equal(a, b) for a, b in zip(plain, warm, strict=True))
    assert all(torch.equal(a.sum(1), b.sum(1)) for a, b in zip(plain, warm, strict=True))


@pytest.mark.parametrize(("steps", "temperature"), [(0, 0.0), (2, -1.0), (2, float("nan"))])
def test_steps_below_one_and_negative_temperatures_are_refused(steps, temperature):
    with pytest.raises(UsageError, match=f"at least 1 step at a temperature of at least 0; got {steps} and"):
        refine(steps, temperature)
