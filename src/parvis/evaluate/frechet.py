"""The Frechet distance between two sets of features, and what must be said beside it.

Legend: N rows (pictures), D features, d kept dimensions. All sums are float64.

The distance of two samples of one distribution is not 0 but grows like d / N, in full feature spaces beyond any effect
of interest. So features are projected to a few dimensions first, and a number never stands without the counts, the
dimensions, the feature net and the distance between halves of the real pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from parvis.errors import UnknownName, UsageError


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean [D] and covariance [D, D] (divided by count - 1), float64. Sets are joined with ``+``."""

    count: int
    mean: Tensor
    covariance: Tensor

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        step = other.mean - self.mean
        scatter = (self.count - 1) * self.covariance + (other.count - 1) * other.covariance
        scatter = scatter + torch.outer(step, step) * (self.count * other.count / count)
        return Moments(count, self.mean + step * (other.count / count), scatter / max(count - 1, 1))


def moments(features: Tensor | Iterable[Tensor]) -> Moments:
    """Of features [N, D], or of batches of them that are read one after the other and not kept.

    :raises UsageError: fewer than two rows, or a number that is not finite
    """
    total: Moments | None = None
    for batch in (features,) if isinstance(features, Tensor) else features:
        rows = batch.detach().to("cpu", torch.float64)
        if rows.ndim != 2 or not len(rows):
            raise UsageError(f"features are [N, D]; got a tensor of shape {list(rows.shape)}")
        centred = rows - rows.mean(0)
        part = Moments(len(rows), rows.mean(0), centred.T @ centred / max(len(rows) - 1, 1))
        total = part if total is None else total + part
    if total is None or total.count < 2:
        raise UsageError(f"a covariance needs at least two rows of features; got {total.count if total else 0}")
    if not bool(torch.isfinite(total.covariance).all()):
        raise UsageError("the features hold numbers that are not finite, so they have no covariance")
    return total


def weighted_moments(features: Tensor, weights: Tensor) -> Moments:
    """Of features [N, D] float64 where row i counts ``weights[i]`` times (whole numbers; the bootstrap's counts)."""
    count = int(weights.sum())
    share = (weights / count).to(torch.float64)
    mean = share @ features
    centred = features - mean
    return Moments(count, mean, (centred * share[:, None]).T @ centred * (count / (count - 1)))


def frechet(real: Moments, fake: Moments) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)): the squared 2-Wasserstein distance of the two Gaussians.

    C1 C2 and the symmetric C1^(1/2) C2 C1^(1/2) have the same eigenvalues, so two ``eigh`` do, and covariances may be
    singular. Nothing is added to them (no shrinkage).
    """
    if real.mean.shape != fake.mean.shape:
        raise UsageError(
            f"features of {len(real.mean)} and {len(fake.mean)} dimensions have no distance; use the same feature net"
        )
    values, vectors = torch.linalg.eigh(real.covariance)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    product = root @ fake.covariance @ root
    cross = torch.linalg.eigvalsh((product + product.T) / 2).clamp_min(0).sqrt().sum()
    apart = (real.mean - fake.mean).square().sum()
    distance = apart + real.covariance.trace() + fake.covariance.trace() - 2 * cross
    return max(0.0, float(distance))


@dataclass(frozen=True, eq=False)
class Projection:
    """features [N, D] -> float64 [N, d]: ``(features - mean) @ matrix``, the columns of ``matrix`` [D, d] orthonormal.

    ``explained`` is the share of the variance of the features it was fitted on that the projection keeps.
    """

    kind: str
    mean: Tensor
    matrix: Tensor
    explained: float

    @property
    def dimensions(self) -> int:
        return int(self.matrix.shape[1])

    def __call__(self, features: Tensor) -> Tensor:
        return (features.detach().to("cpu", torch.float64) - self.mean) @ self.matrix


KINDS = ("pca", "random")


def project(real: Tensor, dimensions: int = 64, kind: str = "pca", seed: int = 0) -> Projection:
    """A projection to ``dimensions`` fitted on the *real* features [N, D], to be applied to both sets.

    Args:
        kind: ``pca``, the directions in which real pictures differ most; or ``random``, ``dimensions`` orthonormal
            directions that depend on ``seed`` and D alone (blind to the data, so it sees what PCA drops).

    :raises UsageError: more dimensions than features, or for ``pca`` not more real rows than dimensions
    """
    if kind not in KINDS:
        raise UnknownName("kind of projection", kind, KINDS)
    fitted = moments(real)
    width = len(fitted.mean)
    if not 1 <= dimensions <= width:
        raise UsageError(f"{dimensions} dimensions were asked for; the features have {width}, so give 1 to {width}")
    if kind == "pca":
        if fitted.count <= dimensions:
            raise UsageError(
                f"{fitted.count} real pictures cannot fix {dimensions} principal directions; give more pictures or "
                "fewer dimensions"
            )
        matrix = torch.linalg.eigh(fitted.covariance)[1][:, -dimensions:].flip(1)
    else:
        generator = torch.Generator().manual_seed(seed)
        normal = torch.randn(width, dimensions, generator=generator, dtype=torch.float64)
        matrix = torch.linalg.qr(normal)[0]
    kept = float((matrix * (fitted.covariance @ matrix)).sum() / fitted.covariance.trace())
    return Projection(kind, fitted.mean, matrix, kept)


@dataclass(frozen=True)
class Floor:
    """The distance between two halves of the real pictures: what different pictures of one distribution, ``count`` of
    each, are apart. A model that is asked for the very captions of the real pictures may come below it.

    ``distance`` is the mean over several halvings, ``lowest`` and ``highest`` are the extremes.
    """

    distance: float
    lowest: float
    highest: float
    count: int


def floor(real: Tensor, repeats: int = 10, seed: int = 0) -> Floor:
    """Of features [N, d] (projected already), each picture given once: a copy in each half would lower the floor.

    :raises UsageError: fewer than four rows
    """
    half = len(real) // 2
    if half < 2 or repeats < 1:
        raise UsageError(f"{len(real)} real pictures cannot be halved ({repeats} times); give four or more")
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(repeats):
        rows = torch.randperm(len(real), generator=generator)
        found.append(frechet(moments(real[rows[:half]]), moments(real[rows[half : 2 * half]])))
    return Floor(sum(found) / repeats, min(found), max(found), half)


@dataclass(frozen=True)
class Frechet:
    """A distance with everything needed to read it; ``str()`` says all of it.

    Attributes:
        real, fake: how many pictures of each. dimensions, projection: what was kept of the features.
        features: the feature net. floor: real against real, see :class:`Floor`.
    """

    distance: float
    real: int
    fake: int
    dimensions: int
    projection: str
    features: str
    floor: Floor

    def __str__(self) -> str:
        return (
            f"{self.distance:.3f} ({self.fake} pictures against {self.real} real; {self.dimensions} dimensions "
            f"({self.projection}) of {self.features}; two halves of {self.floor.count} real: {self.floor.distance:.3f})"
        )


def compare(
    real: Tensor, fake: Tensor, projection: Projection, features: str, distinct: Tensor | None = None
) -> Frechet:
    """The distance of features ``fake`` [M, D] from ``real`` [N, D], both projected here.

    Args:
        features: name of the feature net. distinct: real features without repetitions for the floor, if ``real`` has
            some (several captions of one picture).

    :raises UsageError: a set that has not more pictures than the projection has dimensions
    """
    for what, rows in (("real", real), ("generated", fake)):
        if len(rows) <= projection.dimensions:
            raise UsageError(
                f"{len(rows)} {what} pictures in {projection.dimensions} dimensions give no usable distance; "
                "give more pictures (thousands, if the number is to mean something) or fewer dimensions"
            )
    least = floor(projection(real if distinct is None else distinct))
    distance = frechet(moments(projection(real)), moments(projection(fake)))
    return Frechet(distance, len(real), len(fake), projection.dimensions, projection.kind, features, least)


@dataclass(frozen=True)
class Ratio:
    """``value`` and a 95 % interval of distance ``a`` over distance ``b``."""

    value: float
    low: float
    high: float
    replicates: int


def ratio(real: Tensor, a: Tensor, b: Tensor, clusters: Tensor, replicates: int = 500, seed: int = 0) -> Ratio:
    """Distance of ``a`` from ``real`` over that of ``b``, with a bootstrap interval; all [N, d], row i of one caption.

    Whole clusters (long [N]: pictures of one drawing) are drawn with replacement, the same for the three sets, so that
    what is hard for both models cancels. Drawn rows repeat, which raises both distances; so the quantiles of the
    logarithm of the ratio are shifted until their median is the ratio of the whole sets. The interval speaks of other
    captions and other seeds, not of other training runs.
    """
    if not len(real) == len(a) == len(b) == len(clusters):
        raise UsageError(
            f"rows must pair: got {len(real)} real, {len(a)} and {len(b)} generated, {len(clusters)} marks"
        )
    numbers = torch.unique(clusters, return_inverse=True)[1]
    count = int(numbers.max()) + 1
    generator = torch.Generator().manual_seed(seed)

    def logarithm(measure: Callable[[Tensor], Moments]) -> float:
        base = measure(real)
        return _log(frechet(base, measure(a))) - _log(frechet(base, measure(b)))

    whole = logarithm(moments)
    drawn = []
    for _ in range(replicates):
        times = torch.randint(count, (count,), generator=generator).bincount(minlength=count)
        weights = times[numbers]
        drawn.append(logarithm(lambda rows, weights=weights: weighted_moments(rows, weights)))  # type: ignore[misc]
    spread = torch.tensor(drawn, dtype=torch.float64)
    low, middle, high = spread.quantile(torch.tensor([0.025, 0.5, 0.975], dtype=torch.float64)).tolist()
    return Ratio(math.exp(whole), math.exp(whole + low - middle), math.exp(whole + high - middle), replicates)


def _log(distance: float) -> float:
    return math.log(max(distance, 1e-12))
