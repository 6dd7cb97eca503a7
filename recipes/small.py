"""Small models of one's own pictures, a family each: sized for a CPU or one GPU, classes counted from the data.

    parvis tokenizer train small --data PICTURES -o runs/tok
    parvis encode PICTURES --tokenizer runs/tok/model --flip -o runs/codes
    parvis train lpd-small --data runs/codes -o runs/lpd
    parvis generate CLASS --model runs/lpd/model

``mar-small`` and ``xar-small`` need a cache of a ``kl-small`` tokenizer, ``var-small`` one of ``multiscale-small``. No
result is claimed for any of them: what they reach depends on the data.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from parvis.errors import UsageError
from parvis.noise import Noise
from parvis.schedule import group_sizes
from parvis.system import System
from parvis.systems import llamagen, lpd, mar, var, xar
from parvis.systems.small import GATED, small
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.folder import Known, arguments_of
from parvis.tokenizer.kl import KL
from parvis.tokenizer.multiscale import MultiScaleVQ
from parvis.train import FitConfig
from parvis.train import objectives as teach
from parvis.weights.config import FolderConfig
from recipes.common import Cut, class_names, codes_of, known_arguments, rebuilt, run

ABOUT = {
    "arpg": "ARPG: any order, queries that only read; classes from the data.",
    "lpd": "LPD: any order, groups that grow; classes from the data.",
    "mar": "MAR: masked latents with a diffusion head (needs a kl-small tokenizer); classes from the data.",
    "maskgit": "MaskGIT: masked codes, the surest kept; classes from the data.",
    "nar": "NAR: diagonal by diagonal; classes from the data.",
    "par": "PAR: one token of each of four regions; classes from the data.",
    "randar": "RandAR: any order, one after the other in training; classes from the data.",
    "raster": "LlamaGen: raster order, the baseline; classes from the data.",
    "var": "VAR: coarse to fine (needs a multiscale-small tokenizer); classes from the data.",
    "xar": "xAR: cells of latents by flow matching (needs a kl-small tokenizer); classes from the data.",
}
DROP = 0.1
"""Share of classes replaced by the null class, for guidance."""


def of_family(kind: str) -> Callable[..., None]:
    """The recipe of one family: 6 blocks of width 256, AdamW, averaged weights."""

    def recipe(
        data: Path,
        out: Path,
        *,
        tokenizer: Path | None = None,
        resolution: int | None = None,
        steps: int = 6000,
        batch: int = 16,
        lr: float = 1e-3,
        depth: int = 6,
        width: int = 256,
        device: str = "cpu",
        skip_bad: bool = False,
    ) -> None:
        cache, codec, _ = codes_of(data, tokenizer, out, Cut(resolution, skip_bad=skip_bad))
        check_kind(kind, codec)
        assert isinstance(codec, Known)
        arguments = known_arguments(
            kind=kind, resolution=cache.manifest.resolution, depth=depth, width=width, heads=max(1, width // 64),
            classes=class_names(cache), tokenizer=arguments_of(codec),
        )  # fmt: skip
        torch.manual_seed(0)
        system = rebuilt(small(**arguments), codec)
        initialise(kind, system.models["main"])
        config = FitConfig(
            steps=steps, batch=batch, lr=lr, warmup=min(200, max(1, steps // 10)), schedule="wsd", decay=0.25,
            floor=0.02, ema=0.998, out=out, checkpoint_every=500, sample_every=500, device=device,
            identity={"codes": cache.identity, "system": system.name},
        )  # fmt: skip
        run(system, FolderConfig("small", arguments), cache, objective(kind, system), config, DROP)

    recipe.__doc__ = ABOUT[kind]
    return recipe


def check_kind(kind: str, tokenizer: Tokenizer) -> None:
    """Raises UsageError where the family cannot be trained on what this tokenizer makes."""
    wanted = {"mar": (KL, "kl-small"), "xar": (KL, "kl-small"), "var": (MultiScaleVQ, "multiscale-small")}
    if kind in wanted and not isinstance(tokenizer, wanted[kind][0]):
        raise UsageError(
            f"{kind}-small cannot use a {type(tokenizer).__name__} tokenizer; make one with "
            f"`parvis tokenizer train {wanted[kind][1]} --data PICTURES` and encode with it"
        )
    if kind not in wanted and isinstance(tokenizer, KL | MultiScaleVQ):
        raise UsageError(
            f"{kind}-small needs codes of one scale, not a {type(tokenizer).__name__} tokenizer; make one with "
            "`parvis tokenizer train small --data PICTURES` and encode with it"
        )


def initialise(kind: str, model: nn.Module) -> None:
    """First values as the family's authors set them; MaskGIT's as LPD's, which has the same parts."""
    starts: dict[str, Callable[..., None]] = {"mar": mar.initialise, "xar": xar.initialise, "var": var.initialise}
    starts.get(kind, llamagen.initialise if kind in GATED else lpd.initialise)(model)


def objective(kind: str, system: System) -> teach.Objective:
    """How the family is taught."""
    grid = system.grid
    if kind in ("randar", "arpg"):
        return teach.one_by_one(grid)
    if kind == "lpd":
        steps = {min(grid.tokens, k) for k in (grid.tokens, 128, 64, 32, 24, 20, 16, 12, 10, 8)}
        return teach.in_any_order([group_sizes(grid.tokens, k) for k in sorted(steps)])
    if kind == "maskgit":
        return teach.masked_codes(grid)
    if kind == "mar":
        return teach.masked_latents(grid)
    order = system.order(grid, system.preset.steps, Noise((0,)))
    if kind == "xar":
        return teach.noisy_cells(order)
    if kind == "var":
        assert isinstance(system.tokenizer, MultiScaleVQ)
        return teach.by_scale(order, system.tokenizer, grid)
    return teach.in_order(order)


SMALL = {f"{kind}-small": of_family(kind) for kind in ABOUT}
