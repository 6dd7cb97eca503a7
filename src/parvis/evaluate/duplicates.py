"""Pictures that are there twice: the sign of seeds that were given twice, or of a model that draws one thing.

Workers that all begin with one seed are a common accident; distances then say more pictures than there are. Legend: N
pictures, D features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from parvis.evaluate.features import features_of, thumbnails
from parvis.evaluate.manifold import squares
from parvis.evaluate.pictures import Pictures

NEAR = 0.01
"""Root of the mean squared difference at 16 x 16 pixels, values in 0 to 1, below which two pictures look the same."""


@dataclass(frozen=True)
class Duplicates:
    """Of ``count`` pictures.

    Attributes:
        equal: pictures that are, to the last pixel, one that comes before them. near: pictures that look like another
            one, the equal ones included. first: numbers of the first pair of equal pictures.
    """

    count: int
    equal: int
    near: int
    first: tuple[int, int] | None

    @property
    def note(self) -> str:
        """A warning, empty where no two are equal."""
        if self.first is None:
            return ""
        a, b = self.first
        return f"{self.equal} of {self.count} pictures are equal to an earlier one ({a} and {b} first): one seed twice?"


def duplicates(
    pictures: Pictures, near: float = NEAR, block: int = 2048, progress: Callable[[int], object] | None = None
) -> Duplicates:
    """Find them all: equal ones by their sums, near ones by comparing every pair of thumbnails."""
    seen: dict[bytes, int] = {}
    equal, first, rows = 0, None, []
    net, index = thumbnails(), 0
    for part in pictures.parts():
        for image in part:
            before = seen.setdefault(hashlib.sha256(np.ascontiguousarray(image).data).digest(), index)
            if before != index:
                equal, first = equal + 1, first or (before, index)
            index += 1
        rows.append(features_of(part, net))
        if progress is not None:
            progress(index)
    x_ND = torch.cat(rows).double()
    limit, found = near**2 * x_ND.shape[1], 0
    for rows_here, square in squares(x_ND, x_ND, block):
        square[torch.arange(len(square)), torch.arange(len(x_ND))[rows_here]] = torch.inf
        found += int((square.min(1).values <= limit).sum())
    return Duplicates(pictures.count, equal, found, first)
