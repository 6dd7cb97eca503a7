"""The Frechet distance: against a slow form, against closed forms, and what stands beside it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from parvis.errors import UnknownName, UsageError
from parvis.evaluate.frechet import Moments, compare, floor, frechet, moments, project, ratio, weighted_moments


def rows(count: int, width: int, seed: int = 0, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    """Correlated normals."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(width, width, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    return scale * torch.randn(count, width, generator=generator, dtype=torch.float64) @ mix + shift


def slow(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """The textbook form by the eigenvalues of the product of the covariances, which is not symmetric."""
    c, d = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.sqrt(np.linalg.eigvals(c @ d).astype(complex)).real.sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c) + np.trace(d) - 2 * root)


@pytest.mark.parametrize(("width", "scale", "shift"), [(1, 2.0, 0.0), (5, 1.3, 0.4), (24, 0.7, -1.0)])
def test_the_distance_is_that_of_the_slow_form(width: int, scale: float, shift: float) -> None:
    a, b = rows(200, width), rows(150, width, 1, scale, shift)
    if width == 1:
        closed = (a.mean() - b.mean()).square() + (a.std() - b.std()).square()
        assert frechet(moments(a), moments(b)) == pytest.approx(float(closed), rel=1e-9)
    else:
        assert frechet(moments(a), moments(b)) == pytest.approx(slow(a.numpy(), b.numpy()), rel=1e-9)


def test_singular_covariances_have_a_distance() -> None:
    a, b = rows(8, 20), rows(9, 20, 1)
    found = frechet(moments(a), moments(b))
    assert found == pytest.approx(slow(a.numpy(), b.numpy()), rel=1e-5)
    assert frechet(moments(a), moments(a)) == pytest.approx(0, abs=1e-6)


def test_gaussians_with_commuting_covariances_have_a_closed_form() -> None:
    one = Moments(10, torch.zeros(2, dtype=torch.float64), torch.tensor([[4.0, 0], [0, 9.0]], dtype=torch.float64))
    two = Moments(10, torch.tensor([3.0, 4.0], dtype=torch.float64), torch.eye(2, dtype=torch.float64))
    assert frechet(one, two) == pytest.approx(25 + 1 + 4)
    assert frechet(two, one) == pytest.approx(frechet(one, two))


def test_moments_of_batches_are_moments_of_the_whole() -> None:
    x = rows(101, 6) + 1e4  # far from the origin, where sums of squares would lose digits
    whole, parts = moments(x), moments(part for part in x.split([1, 40, 7, 53]))
    assert parts.count == 101
    torch.testing.assert_close(parts.mean, x.mean(0))
    torch.testing.assert_close(parts.covariance, torch.cov(x.T))
    torch.testing.assert_close(whole.covariance, parts.covariance)


def test_weighted_moments_are_those_of_repeated_rows() -> None:
    x, times = rows(7, 3), torch.tensor([0, 2, 1, 0, 3, 1, 1])
    repeated = moments(x.repeat_interleave(times, 0))
    weighted = weighted_moments(x, times)
    assert weighted.count == repeated.count == 8
    torch.testing.assert_close(weighted.mean, repeated.mean)
    torch.testing.assert_close(weighted.covariance, repeated.covariance)


def test_a_principal_projection_keeps_what_differs_most() -> None:
    x = rows(300, 10)
    projection = project(x, 3)
    variances = torch.linalg.eigvalsh(torch.cov(x.T)).flip(0)
    torch.testing.assert_close(torch.cov(projection(x).T).diagonal(), variances[:3])
    assert projection.explained == pytest.approx(float(variances[:3].sum() / variances.sum()))
    torch.testing.assert_close(projection(x).mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)


def test_a_projection_to_all_dimensions_changes_no_distance() -> None:
    a, b = rows(60, 5), rows(60, 5, 1, 1.2, 0.3)
    for kind in ("pca", "random"):
        projection = project(a, 5, kind)
        assert frechet(moments(projection(a)), moments(projection(b))) == pytest.approx(frechet(moments(a), moments(b)))


def test_a_random_projection_knows_seed_and_width_alone() -> None:
    a, b = project(rows(60, 8), 3, "random"), project(rows(40, 8, 5, 3.0), 3, "random")
    assert torch.equal(a.matrix, b.matrix)
    torch.testing.assert_close(a.matrix.T @ a.matrix, torch.eye(3, dtype=torch.float64))
    assert not torch.equal(a.matrix, project(rows(60, 8), 3, "random", seed=1).matrix)


def test_the_floor_falls_as_pictures_are_added_and_is_deterministic() -> None:
    few, many = floor(rows(40, 4)), floor(rows(4000, 4))
    assert few.count == 20 and many.count == 2000
    assert 0 < many.distance < few.distance / 10
    assert few.lowest <= few.distance <= few.highest and few == floor(rows(40, 4))


def test_a_comparison_says_what_it_is_made_of() -> None:
    real, fake = rows(200, 12), rows(150, 12, 1, 1.0, 5.0)
    found = compare(real, fake, project(real, 6), "some net", distinct=real[:100])
    assert (found.real, found.fake, found.dimensions, found.floor.count) == (200, 150, 6, 50)
    assert found.distance > found.floor.distance
    text = str(found)
    for part in ("150 pictures", "200 real", "6 dimensions (pca)", "some net", "50 real", f"{found.distance:.3f}"):
        assert part in text


def test_the_ratio_pairs_and_its_interval_narrows() -> None:
    def trial(count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        real, hard = rows(count, 4), rows(count, 4, 3, 0.2)
        return real, real + hard + 0.9, real + hard + 0.6, torch.arange(count) // 2

    small, large = ratio(*trial(100), replicates=100), ratio(*trial(2000), replicates=100)
    for found in (small, large):
        assert found.low < found.value < found.high
    assert large.high - large.low < (small.high - small.low) / 2
    real, a, b, clusters = trial(400)
    assert ratio(real, a, a, clusters, replicates=50).low == ratio(real, a, a, clusters, replicates=50).high == 1
    there, back = ratio(real, a, b, clusters, replicates=50), ratio(real, b, a, clusters, replicates=50)
    assert there.value == pytest.approx(1 / back.value) and there.low == pytest.approx(1 / back.high)


@pytest.mark.slow
def test_the_interval_covers_what_it_says() -> None:
    """In 60 repeated experiments the middle ratio lies in about 95 % of the intervals."""
    found = []
    for seed in range(60):
        real = rows(200, 3, seed)
        a, b = rows(200, 3, 1000 + seed, 1.0, 0.9), rows(200, 3, 2000 + seed, 1.0, 0.7)
        found.append(ratio(real, a, b, torch.arange(200), replicates=60, seed=seed))
    middle = math.exp(sum(math.log(one.value) for one in found) / len(found))
    covered = sum(one.low <= middle <= one.high for one in found) / len(found)
    assert 0.85 <= covered <= 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: moments(torch.zeros(1, 3)), "at least two rows; got 1|got 1"),
        (lambda: moments(torch.zeros(3)), "shape"),
        (lambda: moments(torch.full((4, 2), torch.nan)), "not finite"),
        (lambda: frechet(moments(rows(9, 2)), moments(rows(9, 3))), "2 and 3 dimensions"),
        (lambda: project(rows(9, 3), 4), "the features have 3"),
        (lambda: project(rows(9, 30), 20), "9 real pictures"),
        (lambda: floor(rows(3, 2)), "cannot be halved"),
        (lambda: compare(rows(50, 8), rows(8, 8), project(rows(50, 8), 8), "x"), "8 generated pictures in 8"),
        (lambda: ratio(rows(5, 2), rows(5, 2), rows(4, 2), torch.arange(5)), "must pair"),
    ],
)
def test_what_cannot_be_measured_is_said(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=message):
        call()


def test_an_unknown_projection_is_named() -> None:
    with pytest.raises(UnknownName, match="pca"):
        project(rows(9, 3), 2, "pcs")
