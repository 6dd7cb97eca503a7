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
from parvis.model.denoising import DenoisingTransformer
from parvis.noise import Noise
from parvis.system import System
from parvis.systems import lpd
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.kl import KL, KLConfig
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
        also: keys under which their code expects the same state dict once more (weights and their average).
        ema: whether the authors sample with the averaged weights where a file has both.
        derived: what their code expects in the state dict besides.
        stretch: our name of the table of positions and how to interpolate it to another grid, if the family does that.
    """

    keys: KeyMap
    nesting: tuple[str, ...] = ("model",)
    also: tuple[str, ...] = ()
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


def xar_buffers(system: System) -> dict[str, Tensor]:
    """xAR's stored buffers: the mask between cells, and in every block the rotary tables, in the order of the cells."""
    model = system.models["main"]
    assert isinstance(model, DenoisingTransformer)
    state = model.state_dict()
    order = system.order(system.grid, system.preset.steps, Noise((0,)))
    group_N = torch.arange(len(order.sizes)).repeat_interleave(torch.tensor(order.sizes))
    mask_NN = torch.zeros(order.tokens, order.tokens).masked_fill(group_N[:, None] < group_N, -torch.inf)
    share = state["encoder.0.attention.qkv.weight"].shape[1] // model.heads // 4
    frequencies = 1 / 10000.0 ** (torch.arange(share, dtype=torch.float32) / share)
    angles_NE = (system.grid.coords()[order.positions, 2:].float()[:, :, None] * frequencies).flatten(1)
    tables = {"freqs": frequencies} | {
        f"freqs_{name}": turn(angles_NE).repeat_interleave(2, -1)
        for name, turn in (("cos", torch.cos), ("sin", torch.sin))
    }
    blocks = [key.split(".attention.")[0] for key in state if key.endswith("attention.qkv.weight")]
    stored = (block.replace(".", "_blocks.") for block in blocks)
    return {"mask": mask_NN[None, None]} | {
        f"{block}.attn.rope.{name}": table.clone() for block in stored for name, table in tables.items()
    }


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
    "mar": Layout(maps.MAR, nesting=("model_ema",), also=("model",), ema=True),
    "nar": Layout(maps.NAR),
    "nar-t2i": Layout(maps.NAR),
    "par": Layout(maps.PAR),
    "randar": Layout(maps.RANDAR, nesting=()),
    "var": Layout(maps.VAR, nesting=(), derived=var_buffers),
    "xar": Layout(maps.XAR, nesting=("model_ema",), also=("model",), ema=True, derived=xar_buffers),
}
"""Family -> where its transformer is kept."""

TOKENIZER_LAYOUTS: dict[type[Tokenizer], Layout] = {
    KL: Layout(maps.KL16),
    VQGAN: Layout(maps.VQ16, derived=vq_usage),
    MultiScaleVQ: Layout(maps.VAR_VQ, nesting=(), derived=var_usage),
}
"""Kind of tokenizer -> where its weights are kept."""

TOKENIZERS: dict[str, Callable[[], VQGAN | KL]] = {
    **{name: partial(VQGAN, config) for name, config in CONFIGS.items()},
    "kl16": partial(KL, KLConfig()),
}
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
