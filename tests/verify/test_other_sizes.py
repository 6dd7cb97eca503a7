"""Cases of other sizes, grids, groups and guidance, made by the plain decoders of the tests and kept as the authors'
are: `parvis verify` reads sizes from a case and must not know those that it was written with."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from parvis.grid import Grid
from parvis.model.context import ClassCondition, LatentNullCondition
from parvis.model.transformer import Size, Transformer
from parvis.noise import Noise
from parvis.order import Order, diagonals, random, raster, regions
from parvis.schedule import one_then_cosine, remaining_arccos, remaining_cosine
from parvis.systems import arpg, llamagen, lpd, nar, par, randar
from parvis.verify import verify
from parvis.weights import maps
from parvis.weights.keys import KeyMap
from plain import Row, decode_lpd, decode_raster
from plain_fixed import decode_par
from plain_order import decode_arpg, decode_nar, decode_randar
from toys import _randomise

SIDE, WIDTH, HEADS, DEPTH, CODES, CLASSES, SCALE, STEPS = 5, 24, 2, 4, 23, 7, 4.5, 7
LABELS = (6, 2)
GRID, TALL = Grid.square(SIDE), Grid.square(6)
Plain = tuple[list[int], list[Row]]


@dataclass(frozen=True)
class Kind:
    """A system in another size: its model, orders by mode, the plain decoder by (model, label, order line, groups)."""

    system: str
    key_map: KeyMap
    model: Callable[[], Transformer]
    modes: dict[str, Order]
    plain: Callable[[Transformer, int, list[int], Sequence[int]], Plain]
    config: dict[str, object]


def in_groups(line: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    bounds = [sum(sizes[:k]) for k in range(len(sizes) + 1)]
    return [list(line[low:high]) for low, high in itertools.pairwise(bounds)]


def in_cells(line: Sequence[int], sizes: Sequence[int]) -> list[list[tuple[int, int]]]:
    return [[divmod(position, SIDE) for position in group] for group in in_groups(line, sizes)]


def _nar(model: Transformer, label: int, line: list[int], sizes: Sequence[int]) -> Plain:
    table = model.condition.get_parameter("table.weight")
    return decode_nar(model, HEADS, [[table[label]], [table[-1]]], (SIDE, SIDE), SCALE)


def _lpd(model: Transformer, label: int, line: list[int], sizes: Sequence[int]) -> Plain:
    codes, laws = decode_lpd(model, HEADS, label, in_groups(line, sizes), SCALE, GRID.tokens)
    return [codes[position] for position in line], laws


def _par(model: Transformer, label: int, line: list[int], sizes: Sequence[int]) -> Plain:
    codes, laws = decode_par(model, HEADS, label, (6, 6), 3, SCALE)
    return [codes[divmod(position, 6)] for position in line], laws


LLAMA = llamagen.size(DEPTH, WIDTH, HEADS)
ANY = torch.stack([random(GRID, (25,), Noise((seed,))).batch(1)[0] for seed in (4, 5)])
GROUPS = (3, 1, 6, 2, 5, 8)
KINDS = {
    "llamagen": Kind(
        "LlamaGen class-conditional", maps.LLAMAGEN,
        lambda: llamagen.transformer(LLAMA, GRID, vocabulary=CODES, condition=ClassCondition(CLASSES, WIDTH)),
        {"cfg": raster(GRID)}, lambda m, label, line, sizes: decode_raster(m, HEADS, label, SIDE, SIDE, SCALE), {},
    ),
    "lpd": Kind(
        "LPD", maps.LPD,
        lambda: lpd.transformer(
            Size(DEPTH, WIDTH, HEADS, 4 * WIDTH), GRID, vocabulary=CODES, condition=LatentNullCondition(CLASSES, WIDTH)
        ),
        {"cfg_linear": Order(ANY, GROUPS)}, _lpd, {"group_sizes": GROUPS},
    ),
    "par": Kind(
        "PAR 9x", maps.PAR, lambda: par.transformer(LLAMA, TALL, 9, vocabulary=CODES, classes=CLASSES),
        {"cfg": regions(TALL, 9)}, _par, {"parallel": 9, "grid": 6},
    ),
    "nar": Kind(
        "NAR (images)", maps.NAR,
        lambda: nar.transformer(LLAMA, GRID, vocabulary=CODES, condition=ClassCondition(CLASSES, WIDTH)),
        {"cfg": diagonals(GRID)}, _nar, {},
    ),
    "arpg": Kind(
        "ARPG", maps.ARPG, lambda: arpg.transformer(LLAMA, GRID, vocabulary=CODES, classes=CLASSES),
        {"linear_arccos": Order(ANY[0], remaining_arccos(25, STEPS)),
         "linear_cosine": Order(ANY[0], remaining_cosine(25, STEPS))},
        lambda m, label, line, sizes: decode_arpg(m, HEADS, label, in_cells(line, sizes), SCALE), {"steps": STEPS},
    ),
    "randar": Kind(
        "RandAR", maps.RANDAR,
        lambda: randar.transformer(LLAMA, GRID, vocabulary=CODES, condition=ClassCondition(CLASSES, WIDTH)),
        {"cfg_linear": Order(ANY, one_then_cosine(25, STEPS))},
        lambda m, label, line, sizes: decode_randar(m, HEADS, label, in_cells(line, sizes), SCALE), {"steps": STEPS},
    ),
}  # fmt: skip


def written(kind: Kind, model: Transformer, folder: Path) -> Path:
    """The case of a model, decoded plainly."""
    state, _ = kind.key_map.invert(model.state_dict())
    order = next(iter(kind.modes.values()))
    orders = {"order": order.positions} if order.positions.ndim == 1 else {"orders": order.positions}
    if kind.system == "ARPG":
        orders = {"orders": ANY, "shared_order": ANY[0]}
    inputs = orders | {"labels": torch.tensor(LABELS), "codes": torch.zeros(2, order.tokens, dtype=torch.long)}
    outputs: dict[str, Tensor] = {}
    for mode, plan in kind.modes.items():
        lines = plan.batch(2).tolist()
        made = [kind.plain(model, label, line, plan.sizes) for label, line in zip(LABELS, lines, strict=True)]
        outputs[f"tokens_generation_order.{mode}"] = torch.tensor([codes for codes, _ in made])
        outputs[f"step_logits.{mode}"] = torch.stack([torch.stack(laws) for _, laws in made]).float()
    named = {"weights": state, "inputs": inputs, "outputs": outputs}
    tensors = {f"{part}.{name}": t.clone().contiguous() for part, held in named.items() for name, t in held.items()}
    safetensors.torch.save_file(tensors, folder / "case.safetensors")
    config = {
        "layers": DEPTH, "dim": WIDTH, "heads": HEADS, "vocab": CODES, "classes": CLASSES, "grid": SIDE, "batch": 2,
        "cfg": SCALE, **kind.config,
    }  # fmt: skip
    (folder / "case.json").write_text(json.dumps({"system": kind.system, "config": config}))
    return folder / "case.safetensors"


@torch.no_grad()
@pytest.mark.parametrize("name", KINDS)
def test_a_case_of_another_size_agrees(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    model = _randomise(kind.model(), 21)
    assert isinstance(model, Transformer)
    checks = verify(written(kind, model, tmp_path))
    assert len(checks) >= 2 * len(kind.modes) and [check for check in checks if not check.passed] == []
