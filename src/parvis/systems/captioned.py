"""Small text-conditional systems for any data: LPD, or a raster baseline of the same size, whose condition is the words
of a caption. What ``parvis train lpd-small-text`` and its like write; the bundled emoji models are of the same kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parvis import guidance
from parvis.decode.parallel import parallel
from parvis.errors import UnknownName
from parvis.model.context import WordsCondition
from parvis.model.transformer import Size
from parvis.order import raster
from parvis.sampling import Sampling
from parvis.system import Preset, System
from parvis.systems import llamagen, lpd
from parvis.tokenizer.vqgan import VQGAN, VQConfig

KINDS = {"lpd": lpd.CITE, "raster": llamagen.CITE}


def captioned(
    kind: str = "lpd",
    resolution: int = 64,
    *,
    depth: int = 6,
    width: int = 256,
    heads: int = 4,
    words: int = 2048,
    slots: int = 12,
    steps: int | None = None,
    scale: float = 2.0,
    temperature: float = 1.0,
    top_p: float = 1.0,
    tokenizer: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> System:
    """A small text-conditional system: an ordinary LPD (or LlamaGen) transformer behind the rows of a caption.

    Args:
        kind: ``lpd`` or ``raster``. resolution: pixels per side, a multiple of the tokenizer's factor.
        depth, width, heads: of the transformer. words: size of the word list, padding included. slots: words a caption.
        steps, scale, temperature, top_p: the preset. Without ``steps`` 10 passes for 64 tokens, 20 for more (raster
            needs as many as tokens, whatever ``steps`` says).
        tokenizer: arguments of :class:`VQConfig`. name: ``lpd-small-text-64`` and its like unless given.
    """
    if kind not in KINDS:
        raise UnknownName("family of small text-conditional models", kind, KINDS)
    codes = VQGAN(VQConfig(**(tokenizer or {})))
    grid = codes.grid(resolution, resolution)
    condition = WordsCondition(words, slots, width)
    if kind == "lpd":
        model = lpd.transformer(
            Size(depth, width, heads, 4 * width), grid, vocabulary=codes.vocabulary, condition=condition, prefix=0
        )
    else:
        model = llamagen.transformer(
            llamagen.size(depth, width, heads), grid, vocabulary=codes.vocabulary, condition=condition, vanish=False
        )
    if kind == "raster":
        steps = grid.tokens
    elif steps is None:
        steps = min(grid.tokens, 10 if grid.tokens <= 64 else 20)
    return System(
        name=name or f"{kind}-small-text-{resolution}",
        cite=KINDS[kind],
        grid=grid,
        tokenizer=codes,
        models={"main": model},
        order=lpd.locality() if kind == "lpd" else lambda grid, steps, noise: raster(grid),
        around=lpd.around() if kind == "lpd" else None,
        decoder=parallel,
        guidance=guidance.constant,
        preset=Preset(steps, scale, Sampling(temperature=temperature, top_p=top_p)),
        edits="any" if kind == "lpd" else "prefix",
        takes="words",
    )
