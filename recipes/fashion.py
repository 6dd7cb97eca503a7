"""The families on equal terms: Fashion-MNIST at 32 x 32, the same size of transformer, the same number of pictures.

    parvis data fetch fashion
    parvis tokenizer train fashion-vq           (and fashion-kl, fashion-multiscale)
    parvis train fashion-lpd --tokenizer runs/fashion-vq/model          (each of RUNS, with its own tokenizer)

All see the same 22,400 pictures in the same order, each once; the same optimizer, rate and share of
dropped classes. Widths are equal; depths differ where blocks hold more (VAR's and xAR's adaptive norms), so that all
have about 2M parameters. What they reach: docs/results.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parvis.data.codes import CodeCache, is_cache
from parvis.data.encode import encode_dataset
from parvis.data.fashion import CLASSES, FashionSet, load_fashion
from parvis.grid import Grid
from parvis.model.plan import Kind, Slice
from parvis.model.visibility import slot_causal
from parvis.order import Order, regions
from parvis.schedule import group_sizes
from parvis.system import System
from parvis.systems.small import small
from parvis.tokenizer.folder import Known, arguments_of, read_tokenizer
from parvis.train import FitConfig
from parvis.train.distributed import main_first
from parvis.train.objectives import Objective, in_any_order
from parvis.weights.config import FolderConfig
from recipes import common
from recipes.common import rebuilt
from recipes.families import initialise, objective

WIDTH, HEADS = 160, 4
DROP = 0.1
"""Share of classes replaced by the null class, for guidance."""
TABLES = (64, 32, 24, 16, 12, 10, 8, 6)
"""Numbers of passes that LPD is trained for; one group table is drawn per batch (section 4.1)."""


def context_only(q: Slice, k: Slice) -> Tensor:
    """LPD without mutual visibility: a query sees all known rows of earlier groups and itself alone."""
    asks, asked = (q.kind == Kind.QUERY)[:, None], (k.kind == Kind.QUERY)[None]
    same, earlier = q.group[:, None] == k.group[None], k.group[None] < q.group[:, None]
    itself = q.slot[:, None] == k.slot[None]
    return (asks & asked & same & itself) | (~asked & earlier) | (~asks & ~asked & same)


def at_once(grid: Grid, n: int) -> Order:
    """PAR without its initial sequential tokens: the first token of every region in one pass."""
    order = regions(grid, n)
    return Order(order.positions, (n,) * (grid.tokens // n))


def adjacent(grid: Grid, n: int) -> Order:
    """PAR's group sizes over neighbours in raster order, instead of distant tokens."""
    return Order(torch.arange(grid.tokens), regions(grid, n).sizes)


@dataclass(frozen=True)
class Run:
    """One training: the recipe of its tokenizer, arguments of :func:`small`, what an ablation changes, and what the
    family is taught where that is not the usual."""

    tokenizer: str
    arguments: Mapping[str, Any]
    change: Callable[[System], System] = field(default=lambda system: system)
    taught: Callable[[System], Objective] | None = None


def _lpd_tables(system: System) -> Objective:
    return in_any_order([group_sizes(system.grid.tokens, k) for k in TABLES])


def _with_order(made: Callable[[Grid, int], Order], n: int, system: System) -> System:
    order = made(system.grid, n)
    return replace(
        system, order=lambda grid, steps, noise: order, preset=replace(system.preset, steps=len(order.sizes))
    )


def _with_rule(rule: Callable[[Slice, Slice], Tensor], system: System) -> System:
    system.models["main"].rule = rule
    return system


def _codes(kind: str, depth: int = 6, **more: Any) -> Run:
    change, taught = more.pop("change", lambda system: system), more.pop("taught", None)
    return Run("fashion-vq", {"kind": kind, "depth": depth, **more}, change, taught)


RUNS: dict[str, Run] = {
    "lpd": _codes("lpd", taught=_lpd_tables),
    "raster": _codes("raster"),
    "par-4": _codes("par", parallel_tokens=4),
    "par-16": _codes("par", parallel_tokens=16),
    "nar": _codes("nar", depth=5),
    "arpg": _codes("arpg"),
    "randar": _codes("randar"),
    "maskgit": _codes("maskgit"),
    "var": Run("fashion-multiscale", {"kind": "var", "depth": 4}),
    "mar": Run("fashion-kl", {"kind": "mar", "depth": 3}),
    "xar": Run("fashion-kl", {"kind": "xar", "depth": 2}),
    "lpd-apart": _codes("lpd", taught=_lpd_tables, change=partial(_with_rule, context_only)),
    "par-4-at-once": _codes("par", change=partial(_with_order, at_once, 4)),
    "par-4-adjacent": _codes("par", change=partial(_with_order, adjacent, 4)),
    "par-4-causal": _codes("par", change=partial(_with_rule, slot_causal)),
}
"""By what follows ``fashion-`` in the name of the recipe; NAR adds a block, MAR and xAR have two halves. The last four
are ablations: LPD's queries blind to each other; PAR without initial tokens one by one, with neighbours together, with
causal attention inside groups."""


def build(name: str, tokenizer: Known) -> System:
    """The system of a run with this tokenizer and a fresh transformer."""
    system = RUNS[name].change(rebuilt(small(**arguments(name, tokenizer)), tokenizer))
    torch.manual_seed(0)
    initialise(RUNS[name].arguments["kind"], system.models["main"])
    return system


def arguments(name: str, tokenizer: Known) -> dict[str, Any]:
    """What :func:`small` is called with."""
    size = {"width": WIDTH, "heads": HEADS, "classes": list(CLASSES), "resolution": 32}
    return {**size, **RUNS[name].arguments, "tokenizer": arguments_of(tokenizer)}


def train(name: str, out: Path, *, tokenizer: Path, steps: int = 1400, batch: int = 16, lr: float = 1.2e-3) -> None:
    """Train the run ``name`` and write ``out/model``; ``steps`` times ``batch`` pictures."""
    codec = read_tokenizer(tokenizer)
    assert isinstance(codec, Known)
    system, run = build(name, codec), RUNS[name]
    with main_first():
        cache = codes_of(codec, load_fashion("train"), out.parent / f"codes-{run.tokenizer}")
    config = FitConfig(
        steps=steps, batch=batch, lr=lr, warmup=100, schedule="wsd", decay=0.3, floor=0.02, weight_decay=0.05,
        ema=0.995, out=out, checkpoint_every=500, checkpoint_seconds=300, sample_every=1000, log_every=50,
        identity={"codes": cache.identity, "run": name},
    )  # fmt: skip
    taught = run.taught(system) if run.taught else objective(run.arguments["kind"], system)
    common.run(system, FolderConfig("small", arguments(name, codec)), cache, taught, config, DROP)


def codes_of(tokenizer: Known, data: FashionSet, path: Path) -> CodeCache:
    """Codes or latents of all pictures with their classes, made once and kept beside the runs."""
    if not is_cache(path):
        encode_dataset(data, tokenizer, path, extra={"label": data.labels()}, classes=CLASSES)
    return CodeCache.open(path, tokenizer, resolution=data.resolution)
