"""RandAR decoded and taught, slow and obviously right: every pass from the start, one row at a time.

As in ``plain``: written from the papers' text for the tests alone, float64, no cache, no plan, no batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from plain import Row, Weights, body, guided, turned

Laws = list[Row]
Cell = tuple[int, int]


def randar_laws(
    w: Weights, heads: int, condition: Row, known: Sequence[Cell], codes: Sequence[int], asked: Sequence[Cell]
) -> tuple[Laws, Laws]:
    """RandAR (sections 3.1, 3.3): class, P_1, X_1 .. P_d, X_d, P of every cell asked; plain causal. Returns the laws of
    the cells asked, and those read at P_1 .. P_d."""
    rows, cells = [condition], [None]
    for cell, code in zip(known, codes, strict=True):
        rows += [turned(w["query"], heads, cell), w["tokens.weight"][code]]
        cells += [cell, cell]
    rows += [turned(w["query"], heads, cell) for cell in asked]
    cells += asked

    def turn(index: int, row: Row) -> Row:
        cell = cells[index]
        return torch.zeros_like(row) if cell is None else turned(row, heads, cell)

    rows = body(w, rows, heads, lambda i, j: j <= i, turn)
    laws = [w.linear("head.out", w.rms_norm("head.norm", row)) for row in rows]
    return laws[1 + 2 * len(known) :], laws[1 : 1 + 2 * len(known) : 2]


def decode_randar(
    model: nn.Module, heads: int, label: int, groups: Sequence[Sequence[Cell]], scale: float
) -> tuple[list[int], Laws]:
    """Greedy codes and (guided) laws in the order of generation; guidance 1 + (scale - 1) d / N after d tokens."""
    w, cells = Weights(model), sum(map(len, groups))
    codes: list[int] = []
    laws: Laws = []
    for index, asked in enumerate(groups):
        known = [cell for group in groups[:index] for cell in group]
        real, null = (
            randar_laws(w, heads, w["condition.table.weight"][row], known, codes, asked)[0] for row in (label, -1)
        )
        strength = 1 + (scale - 1) * len(known) / cells
        laws += [guided(a, b, strength) for a, b in zip(real, null, strict=True)]
        codes += [int(law.argmax()) for law in laws[-len(asked) :]]
    return codes, laws


def teach_randar(model: nn.Module, heads: int, label: int, order: Sequence[Cell], codes: Sequence[int]) -> Laws:
    """The laws that training scores: one sequence with every token in its order."""
    w = Weights(model)
    return randar_laws(w, heads, w["condition.table.weight"][label], order, codes, [])[1]
