"""PAR, and LlamaGen from text, decoded greedily, slow and obviously right; as tests/plain.py, whose parts it uses."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from plain import Row, Weights, body, guided, turned

Place = tuple[int, int] | None
"""(row, column) of a token; None for rows that rotary positions make vanish."""


def answers(
    w: Weights, heads: int, rows: list[Row], places: list[Place], sees: list[list[bool]], last: int
) -> list[Row]:
    """LlamaGen's laws at the ``last`` rows; ``sees[i][j]``: row i sees row j."""

    def turn(index: int, row: Row) -> Row:
        place = places[index]
        return torch.zeros_like(row) if place is None else turned(row, heads, place)

    rows = body(w, rows, heads, lambda i, j: sees[i][j], turn)
    return [w.linear("head.out", w.rms_norm("head.norm", row)) for row in rows[-last:]]


def region_groups(height: int, width: int, side: int) -> list[list[tuple[int, int]]]:
    """PAR (section 3.2): the first cell of every region, one a group; then the same cell of every region together."""
    tall, wide = height // side, width // side
    groups = [
        [(y + tall * i, x + wide * j) for i in range(side) for j in range(side)]
        for y in range(tall)
        for x in range(wide)
    ]
    return [[cell] for cell in groups[0]] + groups[1:]


def decode_par(
    model: nn.Module, heads: int, label: int, size: tuple[int, int], side: int, scale: float
) -> tuple[dict[tuple[int, int], int], list[Row]]:
    """Greedy codes by cell and (guided) logits by rank.

    The row before a token says the token, one by one for the first n = side^2. The n-th token and n - 1 transition rows
    then say the first whole group, and each group the next; a group sees itself and everything before it.
    """
    w, n = Weights(model), side * side
    codes: dict[tuple[int, int], int] = {}
    logits: list[Row] = []
    groups = region_groups(*size, side)
    done: list[tuple[int, int]] = []
    for group in groups:
        both = []
        for condition in (w["condition.table.weight"][label], w["condition.table.weight"][-1]):
            rows, places = [condition], list[Place]([None])
            for rank, cell in enumerate(done, start=1):
                rows.append(w["tokens.weight"][codes[cell]])
                places.append(cell)
                if rank == n > 1:
                    rows += list(w["fillers"])
                    places += [None] * (n - 1)
            # rows 0 .. n - 1 one by one, then blocks of n
            block = [min(i, n) if i < n else n + (i - n) // n for i in range(len(rows))]
            sees = [[b <= a for b in block] for a in block]
            both.append(answers(w, heads, rows, places, sees, len(group)))
        for cell, real, null in zip(group, *both, strict=True):
            logits.append(guided(real, null, scale))
            codes[cell] = int(logits[-1].argmax())
        done += group
    return codes, logits


def decode_text(
    model: nn.Module, heads: int, features: Tensor, shown: Tensor, size: tuple[int, int], scale: float
) -> tuple[list[int], list[Row]]:
    """LlamaGen from a prompt's ``features`` [T, F] of which ``shown`` [T] are words: greedy codes and logits by cell.

    Nobody sees padding but itself, without the prompt (the learned null features) as well.
    """
    w = Weights(model)
    slots = len(shown)
    codes: list[int] = []
    logits: list[Row] = []
    for _ in range(size[0] * size[1]):
        both = []
        for prompt in (features.double(), w["condition.absent"]):
            rows = [projected(w, row) for row in prompt] + [w["tokens.weight"][code] for code in codes]
            places: list[Place] = [None] * slots + [divmod(cell, size[1]) for cell in range(len(codes))]
            sees = [
                [j == i or (j < i and (j >= slots or bool(shown[j]))) for j in range(len(rows))]
                for i in range(len(rows))
            ]
            both += answers(w, heads, rows, places, sees, 1)
        logits.append(guided(both[0], both[1], scale))
        codes.append(int(logits[-1].argmax()))
    return codes, logits


def projected(w: Weights, row: Row) -> Row:
    """Features to a row of the transformer: two maps, GELU (its tanh form) in between."""
    hidden = w.linear("condition.fc1", row)
    bent = 0.5 * hidden * (1 + torch.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3)))
    return w.linear("condition.fc2", bent)
