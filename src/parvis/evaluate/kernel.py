"""The kernel distance (KID) between two sets of features, and its spread.

Binkowski et al. 2018, "Demystifying MMD GANs" (arXiv 1801.01401), section 4: the squared maximum mean discrepancy under
k(x, y) = (x.y / D + 1)^3. Its estimate is unbiased: two samples of one distribution are 0 apart on average, at any N,
so single values may be below 0. Legend: N, M rows (pictures), D features. Sums are float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from parvis.errors import UsageError


@dataclass(frozen=True)
class Kid:
    """Mean and standard deviation over ``subsets`` pairs of subsets of ``size`` rows.

    Subsets overlap, so ``std`` is the spread of one subset's value, not the error of the mean.
    """

    value: float
    std: float
    subsets: int
    size: int


def mmd2(x_ND: Tensor, y_MD: Tensor) -> float:
    """The unbiased estimate of the squared MMD under the polynomial kernel (section 4, equation 4); may be negative.

    :raises UsageError: fewer than two rows, or other widths
    """
    if x_ND.ndim != 2 or y_MD.ndim != 2 or x_ND.shape[1] != y_MD.shape[1] or min(len(x_ND), len(y_MD)) < 2:
        raise UsageError(
            f"a kernel distance needs two or more rows of equally many features; got {list(x_ND.shape)} and "
            f"{list(y_MD.shape)}"
        )
    x, y = x_ND.double(), y_MD.double()
    return float(_within(x) + _within(y) - 2 * _kernel(x, y).mean())


def kid(real_ND: Tensor, fake_MD: Tensor, subsets: int = 100, size: int = 1000, seed: int = 0) -> Kid:
    """The mean of :func:`mmd2` over random subsets, as is the custom: ``subsets`` of ``size`` rows of either set, drawn
    without replacement; of all rows where a set has fewer.

    :raises UsageError: no subsets, or subsets of fewer than two rows
    """
    size = min(size, len(real_ND), len(fake_MD))
    if subsets < 1 or size < 2:
        raise UsageError(f"{subsets} subsets of {size} rows were asked for; a kernel distance needs 1 of 2 at least")
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(subsets):
        rows = [torch.randperm(len(rows), generator=generator)[:size] for rows in (real_ND, fake_MD)]
        found.append(mmd2(real_ND[rows[0]], fake_MD[rows[1]]))
    values = torch.tensor(found, dtype=torch.float64)
    return Kid(float(values.mean()), float(values.std()) if subsets > 1 else 0.0, subsets, size)


def _kernel(x_ND: Tensor, y_MD: Tensor) -> Tensor:
    return (x_ND @ y_MD.T / x_ND.shape[1] + 1) ** 3


def _within(x_ND: Tensor) -> Tensor:
    """The mean of the kernel over all pairs of different rows."""
    k_NN = _kernel(x_ND, x_ND)
    return (k_NN.sum() - k_NN.diagonal().sum()) / (len(x_ND) * (len(x_ND) - 1))
