"""RandAR, ARPG and NAR decoded and taught, slow and obviously right: every pass from the start, one row at a time.

As in ``plain``: written from the papers' text for the tests alone, float64, no cache, no plan, no batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from plain import Row, Weights, attend, body, guided, swiglu, turned

Laws = list[Row]
Cell = tuple[int, int]


def randar_laws(
    w: Weights, heads: int, condition: Row, known: Sequence[Cell], codes: Sequence[int], asked: Sequence[Cell]
) -> tuple[Laws, Laws]:
    """RandAR: class, P_1, X_1 .. P_d, X_d, P of every cell asked; plain causal. Returns the laws of
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


def arpg_laws(
    w: Weights,
    heads: int,
    condition: Row,
    groups: Sequence[Sequence[Cell]],
    codes: Sequence[int],
    asked: Sequence[tuple[Cell, int]],
) -> Laws:
    """ARPG: the laws of the cells ``asked``; each reads the class and the first so many groups of tokens.

    The tokens of a group see it whole, the groups before it and the class.
    """
    rows = [condition] + [w["tokens.weight"][code] for code in codes]
    cells = [None] + [cell for group in groups for cell in group]
    number = [0] + [index for index, group in enumerate(groups, start=1) for _ in group]

    def turn(index: int, row: Row) -> Row:
        cell = cells[index]
        return torch.zeros_like(row) if cell is None else turned(row, heads, cell)

    for i in range(w.depth):
        name = f"blocks.{i}"
        inner = [w.rms_norm(f"{name}.norm1", row) for row in rows]
        q, k, v = ([w.linear(f"{name}.attention.qkv.{part}", row) for row in inner] for part in "qkv")
        q, k = ([turn(j, row) for j, row in enumerate(part)] for part in (q, k))
        read = attend(q, k, v, heads, lambda i, j: number[j] <= number[i])
        rows = [row + w.linear(f"{name}.attention.proj", more) for row, more in zip(rows, read, strict=True)]
        rows = [row + swiglu(w, f"{name}.mlp", w.rms_norm(f"{name}.norm2", row)) for row in rows]
    inner = [w.rms_norm("body.norm", row) for row in rows]
    keys = [turn(j, w.linear("body.k", row)) for j, row in enumerate(inner)]
    values = [w.linear("body.v", row) for row in inner]
    laws = []
    for cell, known in asked:
        row = w["tokens.weight"][w["head.out.weight"].shape[0]]  # the mask token, behind the codes
        for i in range(1 + max(int(name.split(".")[2]) for name in w.state if name.startswith("body.blocks."))):
            name = f"body.blocks.{i}"
            q = turned(w.linear(f"{name}.q", w.rms_norm(f"{name}.norm1", row)), heads, cell)
            (read,) = attend([q], keys, values, heads, lambda _, j, known=known: number[j] <= known)
            row = row + w.linear(f"{name}.proj", read)
            row = row + swiglu(w, f"{name}.mlp", w.rms_norm(f"{name}.norm2", row))
        laws.append(w.linear("head.out", w.rms_norm("head.norm", row)))
    return laws


def arpg_classes(w: Weights, label: int) -> tuple[Row, Row]:
    """The class row and the null row: behind codes and mask lie the classes, the null class and a spare row."""
    table = w["tokens.weight"]
    return table[w["head.out.weight"].shape[0] + 1 + label], table[len(table) - 2]


def decode_arpg(
    model: nn.Module, heads: int, label: int, groups: Sequence[Sequence[Cell]], scale: float
) -> tuple[list[int], Laws]:
    """Greedy codes and (guided) laws in the order of generation; guidance 1 + (scale - 1) d / N, d decoded after."""
    w, cells = Weights(model), sum(map(len, groups))
    codes: list[int] = []
    laws: Laws = []
    for index, asked in enumerate(groups):
        questions = [(cell, index) for cell in asked]
        real, null = (arpg_laws(w, heads, c, groups[:index], codes, questions) for c in arpg_classes(w, label))
        strength = 1 + (scale - 1) * (len(codes) + len(asked)) / cells
        laws += [guided(a, b, strength) for a, b in zip(real, null, strict=True)]
        codes += [int(law.argmax()) for law in laws[-len(asked) :]]
    return codes, laws


def teach_arpg(model: nn.Module, heads: int, label: int, order: Sequence[Cell], codes: Sequence[int]) -> Laws:
    """The laws that training scores: the shuffled tokens but the last, causal; query i reads class and i tokens."""
    w = Weights(model)
    questions = [(cell, rank) for rank, cell in enumerate(order)]
    return arpg_laws(w, heads, arpg_classes(w, label)[0], [[cell] for cell in order[:-1]], codes[:-1], questions)


def nar_laws(w: Weights, heads: int, conditions: Sequence[Row], codes: dict[Cell, int], asked: Sequence[Cell]) -> Laws:
    """NAR: the laws of the cells ``asked``, after the cells of ``codes``. The next to last block answers to the right,
    the last one below; a cell with both neighbours gets the mean of both answers, the first cell that of both heads."""
    prefix, cells = len(conditions), list(codes)
    rows = list(conditions) + [w["tokens.weight"][codes[cell]] for cell in cells]

    def turn(index: int, row: Row) -> Row:
        return torch.zeros_like(row) if index < prefix else turned(row, heads, cells[index - prefix])

    def sees(i: int, j: int) -> bool:
        if i < prefix or j < prefix:
            return j <= i
        return sum(cells[j - prefix]) <= sum(cells[i - prefix])

    depths = [body(w, rows, heads, sees, turn, depth) for depth in (w.depth - 1, w.depth)]

    def law(head: int, index: int) -> Row:
        out = ("head.out", "head.more.0")[head]
        return w.linear(out, w.rms_norm(f"body.norms.{head}", depths[head][index]))

    laws = []
    for y, x in asked:
        neighbours = [(0, (y, x - 1)), (1, (y - 1, x))]
        said = [law(head, prefix + cells.index(cell)) for head, cell in neighbours if cell in codes]
        said = said or [law(0, prefix - 1), law(1, prefix - 1)]
        laws.append(sum(said) / len(said))
    return laws


def decode_nar(
    model: nn.Module, heads: int, conditions: Sequence[Sequence[Row]], shape: tuple[int, int], scale: float
) -> tuple[list[int], Laws]:
    """Greedy codes and (guided) laws, diagonal by diagonal. ``conditions``: the prefix rows, real and null."""
    w = Weights(model)
    height, width = shape
    codes: dict[Cell, int] = {}
    laws: Laws = []
    for diagonal in range(height + width - 1):
        asked = [(y, diagonal - y) for y in range(height) if 0 <= diagonal - y < width]
        real, null = (nar_laws(w, heads, [row.double() for row in rows], codes, asked) for rows in conditions)
        laws += [guided(a, b, scale) for a, b in zip(real, null, strict=True)]
        codes |= {cell: int(law.argmax()) for cell, law in zip(asked, laws[-len(asked) :], strict=True)}
    return list(codes.values()), laws
