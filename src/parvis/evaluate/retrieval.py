"""Do pictures show what they were asked for? Two answers that need no net for text.

By captions: the nearest real picture, in features, has the same caption (top 1), or one of the five nearest has. By
classes: a classifier names the class that was asked for. Both know only captions and classes of the reference; neither
sees whether a new combination is right.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from parvis.errors import UsageError
from parvis.evaluate.manifold import squares


def retrieved(
    fake_MD: Tensor, asked: Sequence[str], real_ND: Tensor, captions: Sequence[str], top: int = 5, block: int = 2048
) -> tuple[Tensor, Tensor, Tensor]:
    """bool [M] each: the nearest of the real pictures has the caption asked for; one of the ``top`` nearest has; the
    caption is one of the reference's at all (the others cannot be judged).

    :raises UsageError: not one caption for each picture
    """
    if len(asked) != len(fake_MD) or len(captions) != len(real_ND) or not len(real_ND):
        raise UsageError(
            f"{len(fake_MD)} drawn pictures with {len(asked)} captions, {len(real_ND)} real ones with {len(captions)}; "
            "give one for each"
        )
    numbers = {caption: i for i, caption in enumerate(dict.fromkeys(map(plain, captions)))}
    real_N = torch.tensor([numbers[plain(caption)] for caption in captions])
    asked_M = torch.tensor([numbers.get(plain(caption), -1) for caption in asked])
    centre = real_ND.double().mean(0)
    best, among = [], []
    for rows, square in squares(fake_MD.double() - centre, real_ND.double() - centre, block):
        order = square.topk(min(top, len(real_ND)), dim=1, largest=False).indices
        same = real_N[order] == asked_M[rows, None]
        best.append(same[:, 0])
        among.append(same.any(1))
    return torch.cat(best), torch.cat(among), asked_M >= 0


def plain(caption: str) -> str:
    """Small letters, single spaces: two ways to write one caption."""
    return " ".join(caption.lower().split())
