import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parvis.errors import UsageError
from parvis.noise import Noise
from parvis.sampling import Sampling, choose, filter_logits


def by_hand(logits, how):
    """The filters on one list of numbers, written from their definition."""
    logits = [x / max(how.temperature, 1e-5) for x in logits]
    if how.top_k:
        kth = sorted(logits, reverse=True)[min(how.top_k, len(logits)) - 1]
        logits = [x if x >= kth else -math.inf for x in logits]
    if how.top_p < 1:
        total = sum(math.exp(x) for x in logits)
        mass, keep = 0.0, set()
        for i in sorted(range(len(logits)), key=lambda i: -logits[i]):
            if mass > how.top_p:
                break
            keep.add(i)
            mass += math.exp(logits[i]) / total
        logits = [x if i in keep else -math.inf for i, x in enumerate(logits)]
    return logits


@given(
    st.lists(st.integers(-6, 6), min_size=1, max_size=12),
    st.sampled_from([0.25, 0.5, 1.0, 2.0]),
    st.integers(0, 14),
    st.sampled_from([0.1, 0.37, 0.61, 0.93, 1.0]),
)
def test_filters_follow_their_definition(logits, temperature, top_k, top_p):
    how = Sampling(temperature, top_k, top_p)
    made = filter_logits(torch.tensor([logits, logits], dtype=torch.float64), how)
    expected = torch.tensor(by_hand([float(x) for x in logits], how), dtype=torch.float64)
    assert torch.allclose(made, expected.expand(2, -1))


def test_ties_with_the_kth_stay():
    made = filter_logits(torch.tensor([3.0, 1.0, 2.0, 2.0, 0.0]), Sampling(top_k=2))
    assert made.tolist() == [3.0, -math.inf, 2.0, 2.0, -math.inf]


def test_top_p_keeps_the_token_that_crosses_and_always_the_first():
    logits = torch.tensor([0.5, 0.3, 0.2]).log()
    assert filter_logits(logits, Sampling(top_p=0.6)).isfinite().tolist() == [True, True, False]
    assert filter_logits(logits, Sampling(top_p=0.01)).isfinite().tolist() == [True, False, False]
    assert filter_logits(logits, Sampling(top_p=0.9)).isfinite().tolist() == [True, True, True]


def test_filters_that_are_off_do_nothing():
    logits = torch.randn(2, 5)
    assert filter_logits(logits, Sampling()) is logits
    assert filter_logits(logits, Sampling(top_k=9)) is logits


def test_zero_temperature_is_finite_and_sharp():
    law = filter_logits(torch.tensor([1.0, 2.0, 0.0]), Sampling(temperature=0)).softmax(-1)
    assert law.tolist() == [0.0, 1.0, 0.0]


def test_choose_is_the_inverse_cdf():
    logits = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()
    picks = [(0.0, 0), (0.09, 0), (0.11, 1), (0.29, 1), (0.31, 2), (0.59, 2), (0.61, 3), (1 - 2**-24, 3)]
    for u, token in picks:
        assert choose(logits, torch.tensor(u), Sampling()).item() == token


def test_a_token_of_probability_zero_is_never_chosen():
    logits = torch.tensor([-math.inf, 0.0, -math.inf, 0.0, -math.inf]).expand(1000, 5)
    for u in (torch.zeros(1000), torch.full((1000,), 1 - 2**-24), torch.rand(1000)):
        assert set(choose(logits, u, Sampling()).tolist()) <= {1, 3}
    large = torch.zeros(4, 16384)
    large[:, 8000:] = -math.inf
    assert (choose(large, torch.tensor([0.0, 0.5, 0.999, 1 - 2**-24]), Sampling()) < 8000).all()


def test_frequencies_follow_the_law():
    logits = torch.tensor([0.0, 1.0, 2.0, 3.0, -1.0])
    u = (torch.arange(50_000) + 0.5) / 50_000
    for how in (Sampling(), Sampling(temperature=2.0), Sampling(top_k=2), Sampling(0.7, 3, 0.9)):
        counts = choose(logits.expand(50_000, 5), u, how).bincount(minlength=5) / 50_000
        assert torch.allclose(counts, filter_logits(logits, how).softmax(-1), atol=1e-4)


@pytest.mark.parametrize("how", [Sampling(coupled=True), Sampling(0.7, 3, 0.95, coupled=True)])
def test_coupled_draws_follow_the_law(how):
    logits = torch.tensor([0.0, 1.0, 2.0, 3.0, -1.0, 2.5])
    law = filter_logits(logits, how).softmax(-1).double()
    u = Noise([3]).uniform(torch.arange(60_000))[0]
    counts = choose(logits.expand(60_000, 6), u, how).bincount(minlength=6).double()
    expected = law * 60_000
    possible = expected > 0
    assert (counts[~possible] == 0).all()
    chi2 = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    assert chi2 < 5 + 5 * math.sqrt(10)


def test_coupled_draws_of_similar_laws_agree():
    """Among 4096 tokens: at least (1 - d) / (1 + d) of the draws agree; by the inverse CDF few do."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(500, 4096, generator=generator)
    b = a + 0.3 * torch.randn(500, 4096, generator=generator)
    u = Noise([5]).uniform(torch.arange(500))[0]
    apart = (a.softmax(-1) - b.softmax(-1)).abs().sum(-1).mean() / 2
    same = {c: (choose(a, u, Sampling(coupled=c)) == choose(b, u, Sampling(coupled=c))).float().mean() for c in (0, 1)}
    assert same[1] > (1 - apart) / (1 + apart) - 0.05
    assert same[0] < 0.3


@pytest.mark.parametrize("how", [Sampling(temperature=0), Sampling(top_k=1)])
def test_greedy_takes_the_largest(how):
    assert how.greedy
    logits = torch.tensor([[0.0, 5.0, 5.0, 1.0], [9.0, 5.0, 5.0, 1.0]])
    assert choose(logits, torch.tensor([0.99, 0.99]), how).tolist() == [1, 0]


def test_defaults_are_not_greedy():
    assert not Sampling().greedy


@pytest.mark.parametrize("coupled", [False, True])
def test_no_host_synchronisation(coupled):
    choice = choose(
        torch.empty(2, 3, 7, device="meta"), torch.empty(2, 3, device="meta"), Sampling(0.9, 5, 0.9, coupled)
    )
    assert choice.shape == (2, 3)


@pytest.mark.parametrize(
    "bad",
    [{"temperature": -1}, {"temperature": math.nan}, {"top_k": -1}, {"top_k": 2.5}, {"top_p": 0.0}, {"top_p": 1.5}],
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(UsageError, match=next(iter(bad))):
        Sampling(**bad)
