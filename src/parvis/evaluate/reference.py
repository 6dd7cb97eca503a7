"""What samples are held against: real pictures, or statistics that others have published."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from parvis.errors import DataError, UsageError
from parvis.evaluate.adm import read_arrays
from parvis.evaluate.features import FeatureNet
from parvis.evaluate.frechet import Moments, moments
from parvis.evaluate.pictures import Pictures, described, open_pictures

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reference:
    """The real side of a measurement.

    Attributes:
        name: what it was read from. sha256: of its pixels in order, or of the file of statistics. count: how many
            pictures, 0 where statistics do not say. size: ``HxW``, empty where they do not say.
        moments: of the features. features: float32 [N, D] themselves; ``None`` of statistics, which give a Frechet
            distance and nothing else. captions: of the pictures, where they have any.
    """

    name: str
    sha256: str
    count: int
    size: str
    moments: Moments
    features: Tensor | None = None
    captions: tuple[str, ...] | None = None

    @property
    def identity(self) -> dict[str, object]:
        return {"name": self.name, "sha256": self.sha256, "count": self.count, "size": self.size}


def of_features(name: str, features_ND: Tensor, sha256: str = "", size: str = "") -> Reference:
    """A reference from features that are at hand."""
    return Reference(name, sha256, len(features_ND), size, moments(features_ND), features_ND)


def of_pictures(
    pictures: Pictures, net: FeatureNet, batch: int = 64, progress: Callable[[int], object] | None = None
) -> Reference:
    """A reference from pictures, under ``net``."""
    features, sha256 = described(pictures, net, batch, progress)
    found = of_features(pictures.name, features, sha256, f"{pictures.height}x{pictures.width}")
    return replace(found, captions=pictures.captions)


def open_reference(
    path: Path,
    net: FeatureNet,
    resolution: int | None = None,
    batch: int = 64,
    progress: Callable[[int], object] | None = None,
) -> Reference:
    """Published statistics (an ``.npz`` with ``mu`` [D] and ``sigma`` [D, D] and no pictures), or pictures.

    A file that has both, as ADM's do, is read for its pictures: they have every metric, under any net. Statistics do
    not say of which net they are; that it is ``net`` is the caller's word.

    :raises DataError: nothing that can be read. UsageError: statistics of another number of features
    """
    if path.is_file() and "arr_0" not in (arrays := read_arrays(path, ("mu", "sigma", "arr_0"))):
        if {"mu", "sigma"} - set(arrays):
            raise DataError(f"{path} has neither pictures (arr_0) nor statistics (mu and sigma)")
        return _statistics(path, np.array(arrays["mu"], np.float64), np.array(arrays["sigma"], np.float64), net)
    return of_pictures(open_pictures(path, resolution), net, batch, progress)


def _statistics(path: Path, mu: Floats, sigma: Floats, net: FeatureNet) -> Reference:
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)) or not np.isfinite(mu).all() or not np.isfinite(sigma).all():
        raise DataError(
            f"{path}: mu {list(mu.shape)} and sigma {list(sigma.shape)} are not a mean [D] and a covariance [D, D] of "
            "finite numbers"
        )
    width = len(width_of(net))
    if len(mu) != width:
        raise UsageError(
            f"{path} holds statistics of {len(mu)} features, {net.name} has {width}; they are of another net "
            "(2048: Inception)"
        )
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    found = Moments(0, torch.from_numpy(mu), torch.from_numpy(sigma))
    return Reference(path.name, sha256, 0, "", found)


def width_of(net: FeatureNet) -> Tensor:
    """The features [D] of one grey picture: how many there are is their length."""
    side = net.side or 64
    with torch.inference_mode():
        return net.extract(torch.zeros(1, 3, side, side))[0]
