"""Fewer codes: drop those that say the same as another one.

Shapes: V codes, C code channels, B images, N cells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from parvis.tokenizer.vqgan import VQGAN


@torch.no_grad()
def usage(model: VQGAN, batches: Iterable[Tensor]) -> Tensor:
    """How often each code is used, long ``[V]``, over batches of pictures."""
    counts_V = torch.zeros(model.vocabulary, dtype=torch.long)
    for pixels in batches:
        counts_V += torch.bincount(model.encode(pixels).flatten().cpu(), minlength=model.vocabulary)
    return counts_V


@torch.no_grad()
def merged(model: VQGAN, counts_V: Tensor, distance: float) -> VQGAN:
    """A copy of ``model`` without unused codes and without near duplicates.

    Greedy cover: codes are visited from the most used to the least, and one within cosine ``distance`` of a code
    already kept is dropped. Cells that had a dropped code get the nearest of the others; tune the decoder afterwards.
    The blank code stays code 0, the others keep their order.
    """
    codes_VC, first = model.quantize.codebook().cpu(), int(model.config.blank)
    kept: list[int] = []
    for code in counts_V[first:].argsort(descending=True, stable=True).add(first).tolist():
        alone = not kept or float((codes_VC[kept] @ codes_VC[code]).max()) < 1 - distance
        if counts_V[code] > 0 and alone:
            kept.append(code)
    chosen = torch.tensor([0] * first + sorted(kept))
    smaller = VQGAN(replace(model.config, codes=len(chosen)))
    state = model.state_dict()
    state["quantize.embedding.weight"] = state["quantize.embedding.weight"][chosen.to(codes_VC.device)]
    smaller.load_state_dict(state)
    return smaller
