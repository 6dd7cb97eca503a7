"""Kernel distance, Inception score, precision, recall, density, coverage: against slow forms and known answers."""

from __future__ import annotations

import importlib
import importlib.util
import math

import numpy as np
import pytest
import torch
from torch import Tensor

import slow_metrics as slow
from parvis.errors import UsageError
from parvis.evaluate.certainty import inception_score
from parvis.evaluate.frechet import frechet, moments
from parvis.evaluate.kernel import kid, mmd2
from parvis.evaluate.manifold import manifold


def rows(count: int, width: int, seed: int = 0, shift: float = 0.0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(count, width, generator=generator, dtype=torch.float64) + shift


@pytest.mark.parametrize(("n", "m", "shift", "block"), [(30, 25, 0.0, 7), (24, 40, 1.0, 1000), (20, 20, 3.0, 1)])
def test_the_four_shares_are_those_of_the_slow_form(n: int, m: int, shift: float, block: int) -> None:
    real, fake = rows(n, 4), rows(m, 4, 1, shift)
    found = manifold(real, fake, 3, 5, block)
    expected = slow.manifold(real.numpy(), fake.numpy(), 3, 5)
    assert [found.precision.value, found.recall.value, found.density.value, found.coverage.value] == pytest.approx(
        expected, abs=1e-12
    )


def test_a_set_covers_itself_and_nothing_that_is_far() -> None:
    real = rows(50, 6)
    same, far = manifold(real, real), manifold(real, rows(50, 6, 1, 100.0))
    assert [s.value for s in (same.precision, same.recall, same.coverage)] == [1, 1, 1]
    assert same.density.value == pytest.approx(6 / 5)  # each picture lies in its own ball and in five others
    assert [s.value for s in (far.precision, far.recall, far.density, far.coverage)] == [0, 0, 0, 0]


def test_quality_and_variety_are_told_apart() -> None:
    """Real pictures are of two kinds; drawn ones are all of the first, or of a third as well."""
    real = torch.cat([rows(100, 3), rows(100, 3, 1, 50.0)])
    dropped = manifold(real, rows(200, 3, 2))
    assert dropped.precision.value > 0.9 and 0.35 < dropped.recall.value < 0.52 and dropped.coverage.value < 0.52
    extra = manifold(real, torch.cat([rows(100, 3, 2), rows(100, 3, 3, 50.0), rows(100, 3, 4, -50.0)]))
    assert extra.recall.value > 0.9 and 0.6 < extra.precision.value < 0.68


def test_copies_of_a_picture_lie_in_its_ball_though_its_radius_is_nothing() -> None:
    real = rows(1, 8, shift=9.0).repeat(12, 1).float() + 0.1
    found = manifold(torch.cat([real, rows(12, 8).float()]), torch.cat([real, rows(12, 8, 5).float()]), block=5)
    assert found.precision.value >= 0.5 and found.coverage.value >= 0.5


def test_the_error_is_that_of_a_share() -> None:
    found = manifold(rows(300, 5), rows(200, 5, 1, 0.8)).precision
    assert found.error == pytest.approx(math.sqrt(found.value * (1 - found.value) / 199), rel=1e-6)


def test_the_kernel_distance_is_that_of_the_slow_form() -> None:
    x, y = rows(9, 5), rows(13, 5, 1, 0.3)
    assert mmd2(x, y) == pytest.approx(slow.mmd2(x.numpy(), y.numpy()), rel=1e-10)
    whole = kid(x, y[:9], subsets=3)
    assert whole.size == 9 and whole.std < 1e-12  # every subset is the whole set, in another order
    assert whole.value == pytest.approx(mmd2(x, y[:9]))


def test_the_kernel_distance_is_unbiased() -> None:
    """The mean over many small samples of one law is 0 within its error; of two laws it is what large samples give."""
    same = torch.tensor([mmd2(rows(8, 3, 2 * s), rows(8, 3, 2 * s + 1)) for s in range(300)])
    assert abs(same.mean()) < 3 * same.std() / 300**0.5 and same.min() < 0
    far = torch.tensor([mmd2(rows(8, 3, 2 * s), rows(8, 3, 2 * s + 1, 0.5)) for s in range(300)])
    large = mmd2(rows(1500, 3, 7), rows(1500, 3, 8, 0.5))
    assert abs(far.mean() - large) < 4 * far.std() / 300**0.5
    assert large > 10 * abs(same.mean())


def test_the_kernel_distance_has_seeds_and_subsets() -> None:
    x, y = rows(60, 4), rows(50, 4, 1)
    found = kid(x, y, 20, 30)
    assert found == kid(x, y, 20, 30) and found != kid(x, y, 20, 30, seed=1)
    assert (found.subsets, found.size) == (20, 30) and found.std > 0


def test_the_inception_score_of_sure_and_of_unsure_guesses() -> None:
    sure = torch.eye(10).repeat(20, 1)
    assert inception_score(sure, splits=1).value == pytest.approx(10)
    assert inception_score(torch.full((40, 10), 0.1), splits=4).value == pytest.approx(1)
    one = torch.zeros(40, 10)
    one[:, 3] = 1
    assert inception_score(one).value == pytest.approx(1)  # sure, but all alike


def test_the_inception_score_is_that_of_the_slow_form_whatever_the_order() -> None:
    p = rows(30, 6).softmax(1)
    assert inception_score(p, splits=1).value == pytest.approx(slow.inception_score(p.numpy()))
    sorted_by_class = torch.eye(10).repeat_interleave(30, 0)
    found = inception_score(sorted_by_class, splits=5)
    assert found.value > 8 and found.std > 0 and found.classes == 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: manifold(rows(5, 2), rows(9, 2)), "5 real and 9 generated"),
        (lambda: manifold(rows(9, 2), rows(9, 3)), "of one D"),
        (lambda: manifold(rows(9, 2), rows(9, 2), k=0), "k of 1 or more"),
        (lambda: mmd2(rows(1, 2), rows(5, 2)), "two or more rows"),
        (lambda: kid(rows(5, 2), rows(5, 3)), "equally many"),
        (lambda: kid(rows(5, 2), rows(5, 2), subsets=0), "0 subsets"),
        (lambda: inception_score(rows(5, 3)), "splits"),
        (lambda: inception_score(rows(20, 3)), "no probabilities"),
    ],
)
def test_what_cannot_be_measured_is_said(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=message):
        call()


def test_the_frechet_distance_of_large_samples_is_that_of_their_laws() -> None:
    """N(0, I) and N(m, s^2 I) in D dimensions are |m|^2 + D (s - 1)^2 apart."""
    found = frechet(moments(rows(40000, 4)), moments(rows(40000, 4, 1, 0.5, 1.5)))
    assert found == pytest.approx(4 * 0.25 + 4 * 0.25, rel=0.03)


@pytest.mark.skipif(importlib.util.find_spec("scipy") is None, reason="needs scipy")
def test_the_frechet_distance_is_that_of_scipys_matrix_root() -> None:
    linalg = importlib.import_module("scipy.linalg")
    a, b = rows(80, 12).numpy(), rows(90, 12, 1, 0.2, 1.3).numpy()
    c, d = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(c @ d).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c + d - 2 * root)
    assert frechet(moments(torch.from_numpy(a)), moments(torch.from_numpy(b))) == pytest.approx(expected, rel=1e-8)


@pytest.mark.skipif(importlib.util.find_spec("torchmetrics") is None, reason="needs torchmetrics")
def test_the_frechet_distance_is_that_of_torchmetrics() -> None:
    fid = importlib.import_module("torchmetrics.image.fid")
    a, b = rows(80, 12), rows(90, 12, 1, 0.2, 1.3)
    expected = fid._compute_fid(a.mean(0), torch.cov(a.T), b.mean(0), torch.cov(b.T))
    assert frechet(moments(a), moments(b)) == pytest.approx(float(expected), rel=1e-8)
