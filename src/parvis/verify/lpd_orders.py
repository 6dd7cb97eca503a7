"""LPD's orders: the authors' random numbers replayed, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parvis.errors import WeightsError
from parvis.grid import Grid
from parvis.locality import Rule, walk
from parvis.verify.case import Case
from parvis.verify.compare import Check, tokens


def check(case: Case) -> Iterator[Check]:
    for kind in case.config["sets"]:
        theirs = case.tensors[f"outputs.orders.{kind['name']}"]
        made = [_replayed(case, kind, run) for run in range(kind["count"])]
        yield tokens(f"orders, {kind['name']}", torch.tensor(made), theirs.long())


def _replayed(case: Case, kind: Mapping[str, Any], run: int) -> list[int]:
    sizes, grid, name = kind["group_sizes"], Grid.square(kind["grid"]), kind["name"]
    ties = np.zeros((len(sizes), grid.tokens), np.int64)
    free: Tensor
    for step, free in enumerate(case.tensors[f"outputs.tie_order.{name}"][run], 1):
        cells = free[free >= 0].long().numpy()
        ties[step, cells] = np.arange(len(cells))
    picks = {step: (index, among) for step, index, among in kind["random_fps_picks"][run]}
    picks[0] = int(case.tensors[f"outputs.first_cell.{name}"][run]), grid.tokens
    return walk(grid, sizes, Rule(kind["tau"], kind["rho"]), ties, partial(_recorded, picks))


def _recorded(picks: Mapping[int, tuple[int, int]], step: int, among: int) -> int:
    """What the authors' generator gave, if it was asked to choose among as many."""
    index, theirs = picks.get(step, (0, -1))
    if theirs != among:
        raise WeightsError(f"step {step} chooses among {among} cells, the recorded one among {theirs}")
    return index
