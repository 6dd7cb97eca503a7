"""How each family's authors keep weights: names, place in the file, what they store besides. One entry per family.

A family is a key of :data:`parvis.systems.SYSTEMS`. A new one needs its :class:`KeyMap` in ``weights/maps.py`` and a
line in :data:`LAYOUTS`; conversion, export and their tests run over these tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from parvis.assemble import published
from parvis.errors import WeightsError
from parvis.grid import Grid
from parvis.system import System
from parvis.systems import lpd
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.multiscale import MultiScaleVQ
from parvis.tokenizer.vqgan import CONFIGS, VQGAN
from parvis.weights import maps
from parvis.weights.keys import KeyMap

Derived = Callable[[Any], Mapping[str, Tensor]]
"""System or tokenizer -> tensors that the authors' code stores and Parvis computes."""


@dataclass(frozen=True)
class Layout:
    """Where and how a family's public code keeps a state dict.

    Attributes:
        keys: the names. nesting: keys that lead to it in the file, e.g. ``("model",)``; empty: the file itself.
        ema: whether the authors sample with the averaged weights where a file has both.
        derived: what their code expects in the state dict besides.
        stretch: our name of the table of positions and how to interpolate it to another grid, if the family does that.
    """

    keys: KeyMap
    nesting: tuple[str, ...] = ("model",)
    ema: bool = False
    derived: Derived = lambda part: {}
    stretch: tuple[str, Callable[[Tensor, Grid, Grid], Tensor]] | None = None


def var_buffers(system: System) -> dict[str, Tensor]:
    """VAR's stored buffers: the scale of every position, the mask between scales, a zero bias of keys."""
    state = system.models["main"].state_dict()
    sizes = torch.tensor([h * w for _, h, w in system.grid.scales])
    level_L = torch.arange(len(sizes)).repeat_interleave(sizes)
    mask_LL = torch.zeros(len(level_L), len(level_L)).masked_fill(level_L[:, None] < level_L, -torch.inf)
    depth, width = sum(name.endswith("attention.log_scale") for name in state), state["view.weight"].shape[0]
    zeros = {f"blocks.{i}.attn.zero_k_bias": torch.zeros(width) for i in range(depth)}
    return {"lvl_1L": level_L[None], "attn_bias_for_masking": mask_LL[None, None], **zeros}


def vq_usage(tokenizer: VQGAN) -> dict[str, Tensor]:
    """LlamaGen's counter of used codes, empty: it serves training only."""
    return {"quantize.codebook_used": torch.zeros(65536)}


def var_usage(tokenizer: MultiScaleVQ) -> dict[str, Tensor]:
    """VAR's average of code usage per scale, empty: it serves training only."""
    return {"quantize.ema_vocab_hit_SV": torch.zeros(len(tokenizer.config.sides), tokenizer.vocabulary)}


LAYOUTS: dict[str, Layout] = {
    "arpg": Layout(maps.ARPG),
    "llamagen": Layout(maps.LLAMAGEN),
    "llamagen-t2i": Layout(maps.LLAMAGEN),
    "lpd": Layout(maps.LPD, stretch=("positions.table", lpd.stretched)),
    "nar": Layout(maps.NAR),
    "par": Layout(maps.PAR),
    "randar": Layout(maps.RANDAR, nesting=()),
    "var": Layout(maps.VAR, nesting=(), derived=var_buffers),
}
"""Family -> where its transformer is kept."""

TOKENIZER_LAYOUTS: dict[type[Tokenizer], Layout] = {
    VQGAN: Layout(maps.VQ16, derived=vq_usage),
    MultiScaleVQ: Layout(maps.VAR_VQ, nesting=(), derived=var_usage),
}
"""Kind of tokenizer -> where its weights are kept."""

TOKENIZERS: dict[str, Callable[[], VQGAN]] = {name: partial(VQGAN, config) for name, config in CONFIGS.items()}
"""Tokenizers that can be converted alone, by name."""


def family(name: str) -> str:
    """The key of SYSTEMS that a published system belongs to."""
    return published(name).system


def layout_of(tokenizer: nn.Module) -> Layout:
    """The layout of a tokenizer's kind."""
    found = next((layout for kind, layout in TOKENIZER_LAYOUTS.items() if isinstance(tokenizer, kind)), None)
    if found is None:
        raise WeightsError(f"no public weights are known for a tokenizer of kind {type(tokenizer).__name__}")
    return found
