"""Which real picture is a generated one nearest to? A plain judge of whether a caption was obeyed.

Distance is the root of the mean squared difference at 16 x 16 pixels, values in [0, 1]. For a small set of drawings
this is close to asking "would you recognise it", and it needs no net. It cannot tell a good drawing that is new from a
wrong one, so it says little about captions for which there is no real picture.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from parvis.errors import UsageError
from parvis.evaluate.features import features_of, thumbnails

TIE = 1e-4
"""Distances this close are equal: some drawings of the set are twins to the pixel."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """Per generated picture, on the CPU.

    Attributes:
        exact: bool, the nearest real picture is the one its caption belongs to (or as near as that).
        base: bool, it is a variant of the same drawing. base_in_5: bool, one of the five nearest is.
        rmse: float32, distance to the caption's own picture. nearest: long, index of the nearest real picture.
    """

    exact: Tensor
    base: Tensor
    base_in_5: Tensor
    rmse: Tensor
    nearest: Tensor


def nearest(
    images: npt.NDArray[np.uint8],
    wanted: Sequence[int],
    real: npt.NDArray[np.uint8],
    bases: Sequence[Hashable],
    side: int = 16,
) -> Nearest:
    """Judge pictures uint8 [n, H, W, 3] against all ``real`` ones [m, H, W, 3].

    Args:
        wanted: for each of the n its caption's own picture, an index into ``real``. bases: for each of the m a mark
            that variants of one drawing share.

    :raises UsageError: counts that do not match
    """
    if len(wanted) != len(images) or len(bases) != len(real):
        raise UsageError(
            f"{len(images)} pictures need as many indices (got {len(wanted)}), {len(real)} real ones as many bases "
            f"(got {len(bases)})"
        )
    net = thumbnails(side)
    numbers = {base: i for i, base in enumerate(dict.fromkeys(bases))}
    base_m = torch.tensor([numbers[base] for base in bases])
    own_n = torch.tensor(list(wanted))
    drawn, known = features_of(images, net).double(), features_of(real, net).double()
    square_nm = drawn.square().sum(1)[:, None] + known.square().sum(1) - 2 * drawn @ known.T
    distance_nm = (square_nm.clamp_min(0) / known.shape[1]).sqrt()
    own = distance_nm.gather(1, own_n[:, None])[:, 0]
    least, which = distance_nm.min(1)
    same_nm = base_m[own_n][:, None] == base_m
    kin = distance_nm.masked_fill(~same_nm, torch.inf).min(1).values
    fifth = distance_nm.kthvalue(min(5, len(real)), dim=1).values
    return Nearest(own <= least + TIE, kin <= least + TIE, kin <= fifth + TIE, own.float(), which)
