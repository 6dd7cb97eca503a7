"""Batches from a code cache: which pictures a step sees, in which view, with which fresh latents. All of it follows
from (seed, step).

Shapes: B images, N positions, C latent channels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from parvis.data.codes import CodeCache
from parvis.train.data import Batches, Picker, shuffled
from parvis.train.seeds import generator


def cached(
    cache: CodeCache,
    batch: int,
    seed: int = 0,
    pick: Picker | None = None,
    beside: Mapping[str, Tensor] | None = None,
) -> Batches:
    """Batches ``{"values": long [B, N] or float [B, N, C], "label": long [B]}``, and what lies ``beside`` the pictures:
    tensors of one row each, such as the words of their captions.

    Every picture once an epoch unless ``pick`` says otherwise; any of its views alike. Latents are drawn anew each time
    (MAR and xAR train so). Without classes all labels are 0.
    """
    pick = pick or shuffled(len(cache), batch, seed)
    labels = cache.extra.get("label", torch.zeros(len(cache), dtype=torch.long)).long()

    def batches(step: int) -> dict[str, Tensor]:
        index = pick(step)
        view = torch.randint(cache.manifest.views, (len(index),), generator=generator(seed, "view", step))
        more = {name: rows[index] for name, rows in (beside or {}).items()}
        return {"values": _values(cache, index, view, seed, step), "label": labels[index], **more}

    return batches


def _values(cache: CodeCache, index: Tensor, view: Tensor, seed: int, step: int) -> Tensor:
    if not cache.latents:
        return cache.rows("codes", index, view).long()
    mean_BNC, deviation_BNC = (cache.rows(name, index, view) for name in ("mean", "deviation"))
    normal_BNC = torch.randn(mean_BNC.shape, generator=generator(seed, "latent", step))
    return mean_BNC + deviation_BNC * normal_BNC
