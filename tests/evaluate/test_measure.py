"""All metrics at once: which there are, what stands beside them, and that they see damage."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from parvis.errors import UsageError
from parvis.evaluate.features import FeatureNet
from parvis.evaluate.frechet import frechet, moments
from parvis.evaluate.measure import BETTER, Protocol, interval, measure, rows_of
from parvis.evaluate.reference import Reference, of_features

NET = FeatureNet("plain", lambda pixels: pixels.flatten(1), classify=lambda features: features.softmax(1))
QUICK = Protocol(dimensions=3, subsets=5, subset=50, splits=5, replicates=40)


def rows(count: int, seed: int = 0, shift: float = 0.0) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)) + shift


def test_every_metric_is_there_with_its_company() -> None:
    real = of_features("real", rows(400))
    found = measure(rows(300, 1, 0.5), real, NET, QUICK)
    assert set(found) == set(BETTER)
    for name, one in found.items():
        assert math.isfinite(one.value) and one.floor is not None, name
    for name in ("frechet_projected", "precision", "recall", "density", "coverage"):
        low, high = found[name].low, found[name].high
        assert low is not None and high is not None and low <= found[name].value <= high, name
    assert all(found[name].spread is not None for name in ("kid", "inception_score", "precision"))
    assert found["frechet"].value == frechet(real.moments, moments(rows(300, 1, 0.5)))
    assert [row[0] for row in rows_of(found)] == list(found) and all(len(row) == 5 for row in rows_of(found))
    assert found == measure(rows(300, 1, 0.5), real, NET, QUICK)


def test_worse_pictures_are_worse_under_all_that_see_quality() -> None:
    real = of_features("real", rows(400))
    good, bad = (measure(rows(400, 1, shift), real, NET, QUICK) for shift in (0.0, 3.0))
    for name in ("frechet", "frechet_projected", "kid", "precision", "recall", "density", "coverage"):
        assert (bad[name].value - good[name].value) * BETTER[name] < 0, name
    assert good["frechet"].value < 2 * (good["frechet"].floor or 0) and abs(good["kid"].value) < 0.1


def test_statistics_alone_give_one_distance_and_few_pictures_a_warning() -> None:
    whole = of_features("real", rows(400))
    published = Reference("stats", "", 0, "", whole.moments)
    assert list(measure(rows(50), published, FeatureNet("x", NET.extract), QUICK)) == ["frechet"]
    assert list(measure(rows(50), published, NET, QUICK)) == ["frechet", "inception_score"]
    few = measure(rows(4), whole, NET, QUICK)
    assert "frechet_projected" in few and "precision" not in few and "far too few" in few["frechet"].note
    assert "no more" in measure(rows(30), whole, NET, QUICK)["kid"].note
    with pytest.raises(UsageError, match="two or more"):
        measure(rows(1), whole, NET, QUICK)


def test_the_interval_of_a_distance_narrows_with_more_pictures() -> None:
    widths = []
    for count in (50, 800):
        low, value, high = interval(rows(count), rows(count, 1, 1.0), 60)
        assert low is not None and high is not None and low < value < high
        widths.append((high - low) / value)
    assert widths[1] < widths[0] / 2
    assert interval(rows(50), rows(50, 1), 5)[0] is None
