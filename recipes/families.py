"""What every family needs to be trained: first values, and how it is taught."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from parvis.errors import UsageError
from parvis.noise import Noise
from parvis.schedule import group_sizes, published_steps
from parvis.system import System
from parvis.systems import llamagen, lpd, mar, var, xar
from parvis.systems.small import GATED
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.kl import KL
from parvis.tokenizer.multiscale import MultiScaleVQ
from parvis.train import objectives as teach

PASSES = (128, 64, 32, 24, 20, 16, 12, 10, 8)
"""Numbers of passes that LPD is taught besides one per token, where it has no tables of its own."""


def check_kind(kind: str, tokenizer: Tokenizer) -> None:
    """Raises UsageError where the family cannot be trained on what this tokenizer makes."""
    wanted = {"mar": (KL, "kl-small"), "xar": (KL, "kl-small"), "var": (MultiScaleVQ, "multiscale-small")}
    made = type(tokenizer).__name__
    if kind in wanted and not isinstance(tokenizer, wanted[kind][0]):
        raise UsageError(
            f"{kind} cannot be trained on the codes of a {made} tokenizer; make one with "
            f"`parvis tokenizer train {wanted[kind][1]} --data PICTURES` and encode with it"
        )
    if kind not in wanted and isinstance(tokenizer, KL | MultiScaleVQ):
        raise UsageError(
            f"{kind} needs codes of one scale, not those of a {made} tokenizer; make one with "
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
        counts = published_steps(grid.tokens) or sorted({min(grid.tokens, k) for k in (grid.tokens, *PASSES)})
        return teach.in_any_order([group_sizes(grid.tokens, k) for k in counts])
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
