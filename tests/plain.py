"""LPD and LlamaGen decoded greedily, slow and obviously right: one row at a time, no cache, no plan, no batch.

Written from the papers' text for the tests alone; it shares nothing with the library but the weights' names. float64.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Row = Tensor
Sees = Callable[[int, int], bool]


class Weights:
    """The state dict in float64 by name."""

    def __init__(self, model: nn.Module) -> None:
        self.state = {name: value.double() for name, value in model.state_dict().items()}
        self.depth = 1 + max(int(name.split(".")[1]) for name in self.state if name.startswith("blocks."))

    def __getitem__(self, name: str) -> Tensor:
        return self.state[name]

    def linear(self, name: str, row: Row) -> Row:
        out = self[f"{name}.weight"] @ row
        return out + self[f"{name}.bias"] if f"{name}.bias" in self.state else out

    def layer_norm(self, name: str, row: Row) -> Row:
        centred = row - row.sum() / len(row)
        spread = math.sqrt(float((centred * centred).sum()) / len(row) + 1e-6)
        return centred / spread * self[f"{name}.weight"] + self[f"{name}.bias"]

    def rms_norm(self, name: str, row: Row) -> Row:
        return row / math.sqrt(float((row * row).sum()) / len(row) + 1e-5) * self[f"{name}.weight"]


def attend(queries: list[Row], keys: list[Row], values: list[Row], heads: int, sees: Sees) -> list[Row]:
    """Softmax attention, row by row, head by head, key by key."""
    width = len(queries[0]) // heads
    out = []
    for i, query in enumerate(queries):
        pieces = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            visible = [j for j in range(len(keys)) if sees(i, j)]
            scores = torch.stack([query[part] @ keys[j][part] for j in visible]) / math.sqrt(width)
            shares = torch.exp(scores - scores.max())
            shares = shares / shares.sum()
            pieces.append(sum(share * values[j][part] for share, j in zip(shares, visible, strict=True)))
        out.append(torch.cat(pieces))  # type: ignore[arg-type]
    return out


def body(
    w: Weights,
    rows: list[Row],
    heads: int,
    sees: Sees,
    turn: Callable[[int, Row], Row] | None,
    depth: int | None = None,
) -> list[Row]:
    """The (first ``depth``) blocks: LPD's where ``turn`` is None, else LlamaGen's, queries and keys turned by
    ``turn(index, row)``."""
    lpd = turn is None
    for i in range(w.depth if depth is None else depth):
        name = f"blocks.{i}"
        norm = w.layer_norm if lpd else w.rms_norm
        mixed = [w.linear(f"{name}.attention.qkv", norm(f"{name}.norm1", row)).chunk(3) for row in rows]
        q, k, v = ([row[part] for row in mixed] for part in range(3))
        if turn is not None:
            q, k = ([turn(j, row) for j, row in enumerate(part)] for part in (q, k))
        read = attend(q, k, v, heads, sees)
        rows = [row + w.linear(f"{name}.attention.proj", more) for row, more in zip(rows, read, strict=True)]
        inner = [norm(f"{name}.norm2", row) for row in rows]
        rows = [row + (gelu_mlp if lpd else swiglu)(w, f"{name}.mlp", x) for row, x in zip(rows, inner, strict=True)]
    return rows


def gelu_mlp(w: Weights, name: str, row: Row) -> Row:
    hidden = w.linear(f"{name}.fc1", row)
    return w.linear(f"{name}.fc2", hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2))))


def swiglu(w: Weights, name: str, row: Row) -> Row:
    gate = w.linear(f"{name}.w1", row)
    return w.linear(f"{name}.w2", gate / (1 + torch.exp(-gate)) * w.linear(f"{name}.w3", row))


def lpd_logits(
    w: Weights, heads: int, condition: Row, known: Sequence[Sequence[int]], codes: dict[int, int], asked: Sequence[int]
) -> list[Row]:
    """LPD (section 3.1): the laws of the cells ``asked``, after the groups of cells ``known``.

    A known group sees itself, the groups before it and the condition; a query sees all that is known and the queries.
    """
    rows, group = [condition + w["positions.table"][0]], [0]
    for number, cells in enumerate(known, start=1):
        for cell in cells:
            rows.append(w["tokens.weight"][codes[cell]] + w["positions.table"][1 + cell])
            group.append(number)
    for cell in asked:
        rows.append(w["query"] + w["positions.table"][1 + cell])
        group.append(len(known) + 1)
    rows = [w.layer_norm("norm_in", row) for row in rows]
    rows = body(w, rows, heads, lambda i, j: group[j] <= group[i], None)
    return [w.linear("head.out", w.layer_norm("head.norm", row)) for row in rows[-len(asked) :]]


def raster_logits(w: Weights, heads: int, width: int, condition: Row, codes: Sequence[int]) -> Row:
    """LlamaGen: the law of the next cell after ``codes``, plain causal; the class row has no query and no key."""
    rows = [condition] + [w["tokens.weight"][code] for code in codes]

    def turn(index: int, row: Row) -> Row:
        return torch.zeros_like(row) if index == 0 else turned(row, heads, divmod(index - 1, width))

    rows = body(w, rows, heads, lambda i, j: j <= i, turn)
    return w.linear("head.out", w.rms_norm("head.norm", rows[-1]))


def turned(row: Row, heads: int, coordinates: Sequence[float], theta: float = 10000.0) -> Row:
    """n-D rotary positions: neighbouring channels are complex numbers; each axis turns its share of every head."""
    width = len(row) // heads
    share = width // 2 // len(coordinates)
    out = []
    for head in range(heads):
        for pair in range(width // 2):
            axis, k = divmod(pair, share)
            at = head * width + 2 * pair
            number = complex(float(row[at]), float(row[at + 1]))
            number *= cmath.exp(1j * coordinates[axis] * theta ** (-k / share))
            out += [number.real, number.imag]
    return torch.tensor(out, dtype=torch.float64)


def guided(real: Row, null: Row, scale: float) -> Row:
    return null + scale * (real - null)


def decode_lpd(
    model: nn.Module, heads: int, label: int, groups: Sequence[Sequence[int]], scale: float, cells: int
) -> tuple[list[int], list[Row]]:
    """Greedy codes by cell and the (guided) logits by rank; guidance 1 + (scale - 1) r / N at rank r."""
    w = Weights(model)
    conditions = (w["condition.table.weight"][label], w["condition.absent"][0])
    codes: dict[int, int] = {}
    logits: list[Row] = []
    for index, asked in enumerate(groups):
        real, null = (lpd_logits(w, heads, c, groups[:index], codes, asked) for c in conditions)
        for offset in range(len(asked)):
            strength = 1 + (scale - 1) * len(logits) / cells
            logits.append(guided(real[offset], null[offset], strength))
        for cell, row in zip(asked, logits[-len(asked) :], strict=True):
            codes[cell] = int(row.argmax())
    return [codes[cell] for cell in range(cells)], logits


def decode_raster(
    model: nn.Module, heads: int, label: int, height: int, width: int, scale: float
) -> tuple[list[int], list[Row]]:
    """Greedy codes and (guided) logits by cell; the last row of the class table is the null class."""
    w = Weights(model)
    conditions = (w["condition.table.weight"][label], w["condition.table.weight"][-1])
    codes: list[int] = []
    logits: list[Row] = []
    for _ in range(height * width):
        real, null = (raster_logits(w, heads, width, c, codes) for c in conditions)
        logits.append(guided(real, null, scale))
        codes.append(int(logits[-1].argmax()))
    return codes, logits
