"""All metrics of a set of pictures at once, with what must stand beside each.

Every number comes with the same one for two halves of the real pictures: what pictures that *are* real would get, at
half their number. Distances fall and shares move as sets grow, so numbers compare at equal counts, nets and settings
only; records (``evaluate/record.py``) hold all of these and refuse the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from parvis.errors import UsageError
from parvis.evaluate.certainty import inception_score
from parvis.evaluate.features import FeatureNet
from parvis.evaluate.frechet import Moments, frechet, moments, project, weighted_moments
from parvis.evaluate.kernel import kid
from parvis.evaluate.manifold import manifold
from parvis.evaluate.reference import Reference

BETTER = {
    "frechet": -1,
    "frechet_projected": -1,
    "kid": -1,
    "inception_score": 1,
    "precision": 1,
    "recall": 1,
    "density": 1,
    "coverage": 1,
}
"""Every metric of samples, and whether more of it is better (1) or less (-1)."""


@dataclass(frozen=True)
class Protocol:
    """What the metrics leave open; two measurements compare only under one protocol.

    Attributes:
        dimensions: of the projected Frechet distance (the real pictures' principal directions).
        k: neighbours of precision and recall. k_density: of density and coverage. subsets, subset: of the kernel
            distance. splits: of the Inception score. replicates: of the bootstrap. seed: of all that is drawn.
    """

    dimensions: int = 64
    k: int = 3
    k_density: int = 5
    subsets: int = 100
    subset: int = 1000
    splits: int = 10
    replicates: int = 200
    seed: int = 0


@dataclass(frozen=True)
class Measured:
    """One number and what it needs to be read.

    Attributes:
        low, high: 95 % interval, or ``None``. spread: standard deviation over subsets or splits, or standard error over
            pictures, as the metric has it. floor: the same for two halves of the real pictures. note: a warning.
    """

    value: float
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    floor: float | None = None
    note: str = ""

    def as_dict(self) -> dict[str, object]:
        return {name: value for name, value in asdict(self).items() if value is not None and value != ""}


def measure(fake_MD: Tensor, real: Reference, net: FeatureNet, protocol: Protocol | None = None) -> dict[str, Measured]:
    """What can be measured of features ``fake_MD`` against ``real``, both under ``net``.

    Published statistics give the Frechet distance alone (and the Inception score, which needs no real pictures).

    :raises UsageError: fewer than two pictures, or features of other widths
    """
    how = protocol or Protocol()
    if fake_MD.ndim != 2 or len(fake_MD) < 2:
        raise UsageError(f"features of two or more pictures are measured; got a tensor of shape {list(fake_MD.shape)}")
    found = {"frechet": _full(fake_MD, real, how)}
    if real.features is not None:
        halves = _halves(real.features, how.seed)
        found |= _projected(fake_MD, real.features, halves, how)
        found |= _kernel(fake_MD, real.features, halves, how)
        found |= _manifold(fake_MD, real.features, halves, how)
    if net.classify is not None and how.splits <= len(fake_MD):
        found["inception_score"] = _certain(fake_MD, real, net, how)
    return found


def _full(fake: Tensor, real: Reference, how: Protocol) -> Measured:
    few = min(len(fake), real.count or len(fake))
    note = "" if few > fake.shape[1] else f"{few} pictures for {fake.shape[1]} features: far too few to mean much"
    least = None if real.features is None else _between(*_halves(real.features, how.seed))
    return Measured(frechet(real.moments, moments(fake)), floor=least, note=note)


def _projected(fake: Tensor, real: Tensor, halves: tuple[Tensor, Tensor], how: Protocol) -> dict[str, Measured]:
    if min(len(fake), len(halves[0])) <= how.dimensions or how.dimensions > real.shape[1]:
        return {}
    to = project(real, how.dimensions)
    low, value, high = interval(to(real), to(fake), how.replicates, how.seed)
    return {"frechet_projected": Measured(value, low, high, floor=_between(*map(to, halves)))}


def _kernel(fake: Tensor, real: Tensor, halves: tuple[Tensor, Tensor], how: Protocol) -> dict[str, Measured]:
    if min(len(fake), len(halves[0])) < 2:
        return {}
    found = kid(real, fake, how.subsets, how.subset, how.seed)
    least = kid(*halves, how.subsets, how.subset, how.seed)
    note = "" if found.size == how.subset else f"subsets of {found.size} pictures: there are no more"
    return {"kid": Measured(found.value, spread=found.std, floor=least.value, note=note)}


def _manifold(fake: Tensor, real: Tensor, halves: tuple[Tensor, Tensor], how: Protocol) -> dict[str, Measured]:
    if min(len(fake), len(halves[0])) <= max(how.k, how.k_density):
        return {}
    found, least = (manifold(*pair, how.k, how.k_density) for pair in ((real, fake), halves))
    shares = {}
    for name in ("precision", "recall", "density", "coverage"):
        share = getattr(found, name)
        low, high = share.value - 1.96 * share.error, share.value + 1.96 * share.error
        top = math.inf if name == "density" else 1.0
        shares[name] = Measured(share.value, max(0.0, low), min(top, high), share.error, getattr(least, name).value)
    return shares


def _certain(fake: Tensor, real: Reference, net: FeatureNet, how: Protocol) -> Measured:
    assert net.classify is not None
    with torch.inference_mode():
        found = inception_score(net.classify(fake), how.splits, how.seed)
        least = None
        if real.features is not None and len(real.features) >= how.splits:
            least = inception_score(net.classify(real.features), how.splits, how.seed).value
    note = f"by {net.name}, {found.classes} classes; beside it that of the real pictures"
    return Measured(found.value, spread=found.std, floor=least, note=note)


def interval(
    real_Nd: Tensor, fake_Md: Tensor, replicates: int = 200, seed: int = 0
) -> tuple[float | None, float, float | None]:
    """Low, value and high of the Frechet distance: a 95 % bootstrap over the pictures of both sets.

    Drawn rows repeat, which raises every distance; so the quantiles of its logarithm are shifted until their median is
    the value. No interval (``None``) for fewer than 20 replicates.
    """
    real, fake = real_Nd.double(), fake_Md.double()
    value = frechet(moments(real), moments(fake))
    if replicates < 20 or value <= 0:
        return None, value, None
    generator = torch.Generator().manual_seed(seed)

    def again(rows: Tensor) -> Moments:
        drawn = torch.randint(len(rows), (len(rows),), generator=generator)
        return weighted_moments(rows, drawn.bincount(minlength=len(rows)))

    drawn = [math.log(max(frechet(again(real), again(fake)), 1e-12)) for _ in range(replicates)]
    points = torch.tensor([0.025, 0.5, 0.975], dtype=torch.float64)
    low, middle, high = torch.tensor(drawn, dtype=torch.float64).quantile(points).tolist()
    return value * math.exp(low - middle), value, value * math.exp(high - middle)


def rows_of(found: Mapping[str, Measured]) -> list[list[object]]:
    """Rows for a table of ``metric, value, 95 % interval, spread, real against real``."""
    rows: list[list[object]] = []
    for name, one in found.items():
        between = None if one.low is None or one.high is None else f"{one.low:.4g} to {one.high:.4g}"
        numbers = [None if x is None else f"{x:.4g}" for x in (one.spread, one.floor)]
        rows.append([name, f"{one.value:.4g}", between, *numbers])
    return rows


def _halves(real: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(real), generator=torch.Generator().manual_seed(seed))
    half = len(real) // 2
    return real[order[:half]], real[order[half : 2 * half]]


def _between(a: Tensor, b: Tensor) -> float | None:
    return frechet(moments(a), moments(b)) if min(len(a), len(b)) > 1 else None
