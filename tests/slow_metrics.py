"""The metrics written out as their papers have them, one pair of pictures at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float64]


def radius(rows: Rows, i: int, k: int) -> float:
    """How far the k-th nearest other row is from row i."""
    return sorted(float(np.sum((rows[i] - rows[j]) ** 2)) for j in range(len(rows)) if j != i)[k - 1]


def manifold(real: Rows, fake: Rows, k: int, k_density: int) -> tuple[float, float, float, float]:
    """Precision, recall, density, coverage."""
    apart = [[float(np.sum((r - f) ** 2)) for f in fake] for r in real]
    near_real = [radius(real, i, k) for i in range(len(real))]
    near_fake = [radius(fake, j, k) for j in range(len(fake))]
    wide_real = [radius(real, i, k_density) for i in range(len(real))]
    n, m = len(real), len(fake)
    precision = sum(any(apart[i][j] <= near_real[i] for i in range(n)) for j in range(m)) / m
    recall = sum(any(apart[i][j] <= near_fake[j] for j in range(m)) for i in range(n)) / n
    density = sum(apart[i][j] <= wide_real[i] for i in range(n) for j in range(m)) / (k_density * m)
    coverage = sum(any(apart[i][j] <= wide_real[i] for j in range(m)) for i in range(n)) / n
    return precision, recall, density, coverage


def mmd2(x: Rows, y: Rows) -> float:
    """The unbiased squared MMD, pair by pair."""

    def k(a: Rows, b: Rows) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def inception_score(p: Rows) -> float:
    mean = p.mean(0)
    return float(np.exp(np.mean([sum(v * np.log(v / q) for v, q in zip(row, mean, strict=True) if v) for row in p])))
