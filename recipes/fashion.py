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
from torch import Tensor, nn

from parvis.data.codes import CodeCache, tokenizer_hash
from parvis.data.encode import encode_dataset
from parvis.data.fashion import CLASSES, FashionSet, load_fashion
from parvis.generate import generate, pixels
from parvis.grid import Grid
from parvis.model.base import Model
from parvis.model.plan import Kind, Slice
from parvis.model.visibility import slot_causal
from parvis.noise import Noise
from parvis.order import Order, cells, regions, scales
from parvis.output import save_png, sheet, to_images
from parvis.request import Request
from parvis.schedule import group_sizes
from parvis.system import System
from parvis.systems import llamagen, lpd, mar, var, xar
from parvis.systems.small import small
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.folder import Known, arguments_of, read_tokenizer
from parvis.tokenizer.multiscale import MultiScaleVQ
from parvis.train import FitConfig, fit, shuffled
from parvis.train.distributed import main_first, main_process
from parvis.train.objectives import (
    Objective,
    by_scale,
    in_any_order,
    in_order,
    masked_codes,
    masked_latents,
    noisy_cells,
    one_by_one,
)
from parvis.weights.config import FolderConfig
from parvis.weights.folder import save_folder

WIDTH, HEADS, DEPTH = 160, 4, 6
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
    """One training: the tokenizer's recipe, arguments of :func:`small`, what the family is taught, and what an ablation
    changes."""

    tokenizer: str
    arguments: Mapping[str, Any]
    objective: Callable[[System], Objective]
    change: Callable[[System], System] = field(default=lambda system: system)


def _lpd_tables(system: System) -> Objective:
    return in_any_order([group_sizes(system.grid.tokens, k) for k in TABLES])


def _own_order(system: System) -> Objective:
    """For families that have one order only."""
    return in_order(system.order(system.grid, system.preset.steps, Noise([0])))


def _by_scale(system: System) -> Objective:
    assert isinstance(system.tokenizer, MultiScaleVQ)
    return by_scale(scales(system.grid), system.tokenizer, system.grid)


def _with_order(made: Callable[[Grid, int], Order], n: int, system: System) -> System:
    order = made(system.grid, n)
    return replace(
        system, order=lambda grid, steps, noise: order, preset=replace(system.preset, steps=len(order.sizes))
    )


def _with_rule(rule: Callable[[Slice, Slice], Tensor], system: System) -> System:
    system.models["main"].rule = rule
    return system


def _codes(family: str, objective: Callable[[System], Objective], **more: Any) -> Run:
    change = more.pop("change", lambda system: system)
    return Run("fashion-vq", {"kind": family, "depth": DEPTH} | more, objective, change)


RUNS: dict[str, Run] = {
    "lpd": _codes("lpd", _lpd_tables),
    "raster": _codes("raster", _own_order),
    "par-4": _codes("par", _own_order, parallel_tokens=4),
    "par-16": _codes("par", _own_order, parallel_tokens=16),
    "nar": _codes("nar", _own_order, depth=DEPTH - 1),
    "arpg": _codes("arpg", lambda system: one_by_one(system.grid)),
    "randar": _codes("randar", lambda system: one_by_one(system.grid)),
    "maskgit": _codes("maskgit", lambda system: masked_codes(system.grid)),
    "var": Run("fashion-multiscale", {"kind": "var", "depth": 4}, _by_scale),
    "mar": Run("fashion-kl", {"kind": "mar", "depth": DEPTH // 2}, lambda system: masked_latents(system.grid)),
    "xar": Run("fashion-kl", {"kind": "xar", "depth": 2}, lambda system: noisy_cells(cells(system.grid, 4))),
    "lpd-apart": _codes("lpd", _lpd_tables, change=partial(_with_rule, context_only)),
    "par-4-at-once": _codes("par", _own_order, change=partial(_with_order, at_once, 4)),
    "par-4-adjacent": _codes("par", _own_order, change=partial(_with_order, adjacent, 4)),
    "par-4-causal": _codes("par", _own_order, change=partial(_with_rule, slot_causal)),
}
"""By what follows ``fashion-`` in the name of the recipe. The last four are ablations: LPD's queries blind to each
other; PAR without initial tokens one by one, with neighbours together, with causal attention inside groups."""
_INITIALISE: dict[str, Callable[[Any], None]] = {
    "raster": llamagen.initialise, "par": llamagen.initialise, "nar": llamagen.initialise, "arpg": llamagen.initialise,
    "randar": llamagen.initialise, "lpd": lpd.initialise, "maskgit": lpd.initialise, "mar": mar.initialise,
    "xar": xar.initialise, "var": var.initialise,
}  # fmt: skip


def build(name: str, tokenizer: Known) -> System:
    """The system of a run with this tokenizer and a fresh transformer."""
    run = RUNS[name]
    system = run.change(small(**arguments(name, tokenizer)))
    system.tokenizer.load_state_dict(tokenizer.state_dict())
    system.tokenizer.eval().requires_grad_(False)
    torch.manual_seed(0)
    _INITIALISE[run.arguments["kind"]](system.models["main"])
    return system


def arguments(name: str, tokenizer: Known) -> dict[str, Any]:
    """What :func:`small` is called with."""
    size = {"width": WIDTH, "heads": HEADS, "classes": list(CLASSES), "resolution": 32}
    return {**size, **RUNS[name].arguments, "tokenizer": arguments_of(tokenizer)}


def train(name: str, out: Path, *, tokenizer: Path, steps: int = 1400, batch: int = 16, lr: float = 1.2e-3) -> None:
    """Train the run ``name`` and write ``out/model``; ``steps`` times ``batch`` pictures."""
    data = load_fashion("train")
    codec = read_tokenizer(tokenizer)
    assert isinstance(codec, Known)
    system = build(name, codec)
    objective = RUNS[name].objective(system)
    with main_first():
        values = values_of(codec, data, out.parent / f"values-{RUNS[name].tokenizer}")
    pick, labels = shuffled(len(data), batch, seed=0), data.labels()

    def batches(step: int) -> dict[str, Tensor]:
        index = pick(step)
        return {"class": labels[index]} | {key: tensor[index] for key, tensor in values.items()}

    def loss(module: nn.Module, examples: dict[str, Tensor], noise: torch.Generator) -> Tensor:
        assert isinstance(module, Model)
        dropped = torch.rand(len(examples["class"]), generator=noise) < DROP
        return objective(module, drawn(examples, noise), examples["class"], noise, dropped)

    def show(module: nn.Module, step: int) -> None:
        with torch.inference_mode():
            canvas, _ = generate(system, Request(torch.arange(10).repeat(4), tuple(range(40))))
        save_png(out / "sheets" / f"{step:05d}.png", sheet(to_images(pixels(system, canvas)), [""] * 40))

    config = FitConfig(
        steps=steps, batch=batch, lr=lr, warmup=100, schedule="wsd", decay=0.3, floor=0.02, weight_decay=0.05,
        ema=0.995, out=out, checkpoint_every=500, checkpoint_seconds=300, sample_every=1000, log_every=50,
        identity={"values": tokenizer_hash(codec), "system": system.name},
    )  # fmt: skip
    fitted = fit(config, system.models["main"], loss, batches, on_sample=show)
    assert fitted.ema is not None
    if not main_process():
        return
    system.models["main"].load_state_dict(fitted.ema.tensors)
    tensors = {"model.safetensors": system.models["main"].state_dict(), "tokenizer.safetensors": codec.state_dict()}
    about = {"data": "Fashion-MNIST", "pictures": str(fitted.step * batch), "run": name}
    save_folder(out / "model", FolderConfig("small", arguments(name, codec), about=about), tensors)


def values_of(tokenizer: Tokenizer, data: FashionSet, path: Path) -> dict[str, Tensor]:
    """Codes of all pictures, or the mean and deviation of their latents; made once and kept beside the runs."""
    if not (path / "manifest.json").exists():
        encode_dataset(data, tokenizer, path)
    cache = CodeCache.open(path, tokenizer, resolution=data.resolution)
    if cache.latents:
        return {name: cache.column(name)[:, 0] for name in ("mean", "deviation")}
    return {"codes": cache.codes[:, 0]}


def drawn(examples: dict[str, Tensor], noise: torch.Generator) -> Tensor:
    """The values of a batch: codes, or latents drawn afresh (MAR and xAR train on draws)."""
    if "codes" in examples:
        return examples["codes"].long()
    mean, deviation = examples["mean"], examples["deviation"]
    return mean + deviation * torch.randn(mean.shape, generator=noise, device=noise.device)
