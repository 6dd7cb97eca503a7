"""The Inception score's form: is every picture of a clear class, and are there many classes?

Salimans et al. 2016, "Improved Techniques for Training GANs" (arXiv 1606.03498), section 4: exp(E KL(p(y|x) || p(y))).
It is *the* Inception score only with Inception's probabilities; with another classifier it is that one's score and
compares with none published. It never sees a real picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from parvis.errors import UsageError


@dataclass(frozen=True)
class Score:
    """Mean and standard deviation over ``splits`` parts of the pictures; from 1 to the number of ``classes``."""

    value: float
    std: float
    splits: int
    classes: int


def inception_score(probabilities_NK: Tensor, splits: int = 10, seed: int = 0) -> Score:
    """Of class probabilities [N, K], rows summing to 1; the N pictures are shuffled and cut into equal ``splits``.

    Pictures often come sorted by class, and a split of one class scores 1: hence the shuffle. Fewer pictures in a split
    mean a lower score, so it compares at equal N and splits alone.

    :raises UsageError: no probabilities, or more splits than pictures
    """
    p = probabilities_NK.double()
    if p.ndim != 2 or not 1 <= splits <= len(p):
        raise UsageError(f"{splits} splits of probabilities of shape {list(p.shape)}; give [N, K] and 1 to N splits")
    if not bool((p >= 0).all()) or not torch.allclose(p.sum(1), torch.ones(len(p), dtype=p.dtype), atol=1e-3):
        raise UsageError("the rows are no probabilities: each must be of numbers of 0 or more that sum to 1")
    order = torch.randperm(len(p), generator=torch.Generator().manual_seed(seed))
    found = []
    for rows in order.tensor_split(splits):
        part = p[rows]
        mean = part.mean(0)
        divergence = (torch.xlogy(part, part) - torch.xlogy(part, mean)).sum(1).mean()
        found.append(divergence.exp())
    values = torch.stack(found)
    return Score(float(values.mean()), float(values.std()) if splits > 1 else 0.0, splits, p.shape[1])
