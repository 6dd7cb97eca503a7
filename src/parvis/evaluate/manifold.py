"""Quality and variety apart: precision and recall, density and coverage.

Balls around the pictures of a set, each as far as its k-th nearest neighbour in the set, are taken for what the set
covers. Kynkaanniemi et al. 2019 (arXiv 1904.06991), section 2: *precision*, the share of generated pictures inside the
real balls, and *recall*, of real ones inside the generated balls; k = 3. Naeem et al. 2020 (arXiv 2002.09797), section
3: *density*, how many real balls a generated picture lies in, over k, and *coverage*, the share of real balls with a
generated picture inside; k = 5. Balls are closed, as in the papers.

Legend: N real and M generated rows (pictures), D features. Distances are float64, made ``block`` rows at a time, so
memory is block x max(N, M) whatever the sets' sizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from parvis.errors import UsageError

EDGE = 1e-9
"""Squared radii are wider by this share (of themselves, and a thousandth of it of the features' spread): the same
distance taken in two blocks may differ in its last digits, and a copy of a picture must lie in its ball."""


@dataclass(frozen=True)
class Share:
    """A mean over pictures and its standard error, the balls taken as given."""

    value: float
    error: float


@dataclass(frozen=True)
class Manifold:
    """All four, with the k of each pair. Precision, recall and coverage are in 0 to 1; density may exceed 1."""

    precision: Share
    recall: Share
    density: Share
    coverage: Share
    k: int
    k_density: int


def manifold(real_ND: Tensor, fake_MD: Tensor, k: int = 3, k_density: int = 5, block: int = 2048) -> Manifold:
    """Of two sets of features. They depend on N and M: compare at equal numbers, N near M.

    :raises UsageError: other widths, or a set with no more rows than k
    """
    most = max(k, k_density)
    if real_ND.ndim != 2 or fake_MD.ndim != 2 or real_ND.shape[1] != fake_MD.shape[1]:
        raise UsageError(f"features are [N, D] of one D; got {list(real_ND.shape)} and {list(fake_MD.shape)}")
    if min(k, k_density) < 1 or min(len(real_ND), len(fake_MD)) <= most:
        raise UsageError(
            f"{len(real_ND)} real and {len(fake_MD)} generated pictures have no {most}-th neighbours; give more than "
            f"{most} of each, or a smaller k of 1 or more"
        )
    centre = real_ND.double().mean(0)  # near the origin squares lose fewer digits
    real, fake = real_ND.double() - centre, fake_MD.double() - centre
    real_k, real_d = (radii(real, (k, k_density), block)[:, i] for i in range(2))
    fake_k = radii(fake, (k,), block)[:, 0]
    inside = torch.zeros(len(fake), dtype=torch.bool)
    counts = torch.zeros(len(fake), dtype=torch.float64)
    recalled, covered = [], []
    for rows, square in squares(real, fake, block):
        inside |= (square <= real_k[rows, None]).any(0)
        counts += (square <= real_d[rows, None]).sum(0)
        recalled.append((square <= fake_k).any(1))
        covered.append(square.min(1).values <= real_d[rows])
    density, coverage = _share(counts / k_density), _share(torch.cat(covered))
    return Manifold(_share(inside), _share(torch.cat(recalled)), density, coverage, k, k_density)


def radii(x_ND: Tensor, ks: tuple[int, ...], block: int = 2048) -> Tensor:
    """Squared distances [N, len(ks)] of every row from its k-th nearest other row, a trifle wide (:data:`EDGE`)."""
    found = []
    for rows, square in squares(x_ND, x_ND, block):
        square[torch.arange(len(square)), torch.arange(len(x_ND))[rows]] = 0  # itself, without rounding
        nearest = square.topk(max(ks) + 1, dim=1, largest=False).values.sort(dim=1).values
        found.append(nearest[:, list(ks)])
    return torch.cat(found) * (1 + EDGE) + 1e-3 * EDGE * x_ND.square().sum(1).mean()


def squares(x_ND: Tensor, y_MD: Tensor, block: int) -> Iterator[tuple[slice, Tensor]]:
    """Squared distances [b, M] of ``block`` rows of x from all of y, with the rows they are of."""
    norms = y_MD.square().sum(1)
    for low in range(0, len(x_ND), block):
        part = x_ND[low : low + block]
        square = part.square().sum(1)[:, None] + norms - 2 * part @ y_MD.T
        yield slice(low, low + len(part)), square.clamp_min_(0)


def _share(values: Tensor) -> Share:
    values = values.double()
    return Share(float(values.mean()), float(values.std() / len(values) ** 0.5))
