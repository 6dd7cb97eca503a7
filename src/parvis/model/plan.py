"""Row plans: which rows a transformer sees, pass by pass, as pure data.

A *row* is one input vector of the transformer. A :class:`RowPlan` lists every row of a whole generation; it depends on
the group sizes and the framing alone (never on positions or values), so images of one batch may have different orders
under one plan. Decoding takes the rows of one pass, training takes all of them: masks exist once and the two cannot
disagree.

Legend: R rows, K visible keys, T prefix rows (the condition).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

import torch
from torch import Tensor


class Kind(IntEnum):
    """What a row stands for."""

    COND = 0  # the condition: class, words, text features
    VALUE = 1  # a token whose value is known
    QUERY = 2  # a position that is asked about
    EXTRA = 3  # a learned filler (PAR's transition tokens)


NOWHERE = -1
"""The slot of a row that nothing can see (ARPG's queries)."""

NOBODY = -1
"""In place of a row that answers: this head has no say in that answer (NAR's at the image's border)."""


@dataclass(frozen=True)
class Row:
    """One row: its kind, the rank in the order it stands for, its visibility group, its cache slot (``NOWHERE``: it
    reads but has no key), whether its key stays."""

    kind: Kind
    rank: int
    group: int
    slot: int
    keep: bool = True


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows fed together, on one device, ready for a model: no shape here depends on data. Rows without a key come last.

    Attributes:
        count: R.
        ranks: for every kind present, the ranks of its rows, long [R_kind].
        arrange: permutation that brings the pieces (kind after kind) into row order, long [R]; ``None`` if already
            there.
        slots: cache slot of every row that has a key, long [keyed]; ``span`` is (low, high) where the slots are
            contiguous, else ``None``.
        length: number of cache slots visible to these rows.
        answers: the rows that answer, long [n], ordered by rank; ``tail`` is True where they are simply the last n
            rows. With several heads [heads, n], one line for each.
        share: with several heads, what each has to say in every answer, float32 [heads, n]: 1 / (how many have a say),
            or 0; else ``None``.
        asked: ranks answered, (start, stop).
        queried: ranks of the QUERY rows, (start, stop), empty where there are none; contiguous by construction.
        mask: bool [R, K], True where the row (first axis) sees the key; ``None`` where all is visible.
        cached: whether keys are the cache's slots (decoding) or these very rows (training).
    """

    count: int
    ranks: dict[Kind, Tensor]
    arrange: Tensor | None
    slots: Tensor
    span: tuple[int, int] | None
    length: int
    answers: Tensor
    tail: bool
    share: Tensor | None
    asked: tuple[int, int]
    queried: tuple[int, int]
    mask: Tensor | None
    cached: bool

    @property
    def keyed(self) -> int:
        """How many rows, the first ones, have keys."""
        return int(self.slots.shape[0])

    def answering(self, hidden_BRD: Tensor) -> Tensor:
        """The rows of ``hidden_BRD`` that answer, [B, n, D], ordered by rank."""
        if self.tail:
            return hidden_BRD[:, -self.answers.shape[-1] :]
        return hidden_BRD[:, self.answers]


@dataclass(frozen=True, eq=False)
class Slice:
    """Rows as four columns, long [R] each (``keep`` bool): all that a visibility rule may look at."""

    kind: Tensor
    group: Tensor
    slot: Tensor
    keep: Tensor

    @staticmethod
    def of(rows: Sequence[Row]) -> Slice:
        columns = torch.tensor([(row.kind, row.group, row.slot, row.keep) for row in rows], dtype=torch.long)
        kind, group, slot, keep = columns.reshape(-1, 4).unbind(1)
        return Slice(kind, group, slot, keep.bool())


Rule = Callable[[Slice, Slice], Tensor]
"""Visibility: (asking rows, key rows) -> bool [Rq, Rk], a function of kind, group, slot and keep alone."""


@dataclass(frozen=True, eq=False)
class RowPlan:
    """All rows of a generation, pass by pass.

    Args:
        sizes: group sizes of the order; pass k answers group k.
        prefix: number of condition rows T.
        passes: the rows that each pass feeds.
        answers: for each pass the indices (into the pass) of the rows that answer, ordered by rank; where there are
            several ``heads``, first those of the first, then those of the next; ``NOBODY`` where a head has no say.
    """

    sizes: tuple[int, ...]
    prefix: int
    passes: tuple[tuple[Row, ...], ...]
    answers: tuple[tuple[int, ...], ...]
    heads: int = 1
    _made: dict[tuple[object, ...], Rows] = field(default_factory=dict, repr=False)

    @cached_property
    def slots(self) -> int:
        """Length of the cache that a whole generation needs."""
        return 1 + max(row.slot for rows in self.passes for row in rows)

    def step(self, index: int, rule: Rule, device: torch.device) -> Rows:
        """Rows of pass ``index``: what decoding feeds when the cache holds all passes before."""
        return self._rows((index, index, index), True, rule, device)

    def again(self, index: int, rule: Rule, device: torch.device) -> Rows:
        """Pass ``index`` asked once more (another draft): its rows that answer or whose keys do not stay; the keys of
        the others are in the cache."""
        key = (index, rule, str(device))
        if key not in self._made:
            some = [i for i, row in enumerate(self.passes[index]) if i in self.answers[index] or not row.keep]
            lines = _lines(self.answers[index], self.heads)
            rows = [self.passes[index][i] for i in some]
            answers = [[NOBODY if i == NOBODY else some.index(i) for i in line] for line in lines]
            self._made[key] = self._packed(rows, answers, (index, index), index + 1, rule, device)
        return self._made[key]

    def catch_up(self, first: int, last: int, rule: Rule, device: torch.device) -> Rows:
        """Rows of pass ``last`` for a cache that has seen only the passes before ``first``; pass ``last`` answers.

        So known tokens enter (editing: what is known are the first groups), and a model that is handed a canvas half
        way.
        """
        return self._rows((first, last, last), True, rule, device)

    def window(self, first: int, start: int, last: int, rule: Rule, device: torch.device) -> Rows:
        """Passes ``first`` to ``last`` in one, against a cache that has seen those before ``first``; every one from
        ``start`` on answers (guessed values: Jacobi)."""
        return self._rows((first, start, last), True, rule, device)

    def whole(self, rule: Rule, device: torch.device) -> Rows:
        """All rows of all passes at once, without a cache: teacher forcing."""
        return self._rows((0, 0, len(self.passes) - 1), False, rule, device)

    def _rows(self, passes: tuple[int, int, int], cached: bool, rule: Rule, device: torch.device) -> Rows:
        key = (passes, cached, rule, str(device))
        if key not in self._made:
            self._made[key] = self._make(*passes, cached, rule, device)
        return self._made[key]

    def _make(self, first: int, start: int, last: int, cached: bool, rule: Rule, device: torch.device) -> Rows:
        rows: list[Row] = []
        answers: list[list[int]] = [[] for _ in range(self.heads)]
        for index in range(first, last + 1):
            if index >= start:
                for head, line in enumerate(_lines(self.answers[index], self.heads)):
                    answers[head] += [NOBODY if i == NOBODY else len(rows) + i for i in line]
                rows += self.passes[index]
            else:
                rows += [row for row in self.passes[index] if row.keep]
        return self._packed(rows, answers, (start, last), first if cached else None, rule, device)

    def _packed(
        self,
        rows: Sequence[Row],
        answers: Sequence[Sequence[int]],
        groups: tuple[int, int],
        seen: int | None,
        rule: Rule,
        device: torch.device,
    ) -> Rows:
        """``rows``, of which ``answers`` answer the ``groups`` from .. to, against a cache that has seen the first
        ``seen`` passes, or without one (``None``). Rows without a key come last."""
        by_key = sorted(range(len(rows)), key=lambda i: rows[i].slot == NOWHERE)
        place = {old: new for new, old in enumerate(by_key)} | {NOBODY: NOBODY}
        rows, answers = [rows[i] for i in by_key], [[place[i] for i in line] for line in answers]
        keyed = [row for row in rows if row.slot != NOWHERE]
        keys = keyed if seen is None else self._occupants(seen, keyed)
        asked = sum(self.sizes[: groups[0]]), sum(self.sizes[: groups[1] + 1])
        return _pack(rows, answers, asked, rule(Slice.of(rows), Slice.of(keys)), seen is not None, device)

    def _occupants(self, first: int, rows: Sequence[Row]) -> list[Row]:
        """The row that lies in each visible cache slot once ``rows`` are written behind the passes before ``first``."""
        slots = {row.slot: row for earlier in self.passes[:first] for row in earlier if row.keep}
        slots.update({row.slot: row for row in rows})
        assert len({row.slot for row in rows}) == len(rows), "rows of one pass share a cache slot"
        return [slots[slot] for slot in range(1 + max(slots))]


def _lines(answers: tuple[int, ...], heads: int) -> list[tuple[int, ...]]:
    """The answers of one pass, head by head."""
    count = len(answers) // heads
    return [answers[head * count : (head + 1) * count] for head in range(heads)]


def _pack(
    rows: Sequence[Row],
    answers: Sequence[Sequence[int]],
    asked: tuple[int, int],
    visible: Tensor,
    cached: bool,
    device: torch.device,
) -> Rows:
    def long(values: Iterable[int]) -> Tensor:
        return torch.tensor(list(values), dtype=torch.long, device=device)

    which = torch.tensor(answers)
    picked, has_say = which.clamp_min(0).to(device), (which != NOBODY).float()
    by_kind = sorted(range(len(rows)), key=lambda i: rows[i].kind)
    place = [0] * len(rows)
    for new, old in enumerate(by_kind):
        place[old] = new
    slots = [row.slot for row in rows if row.slot != NOWHERE]
    queries = [row.rank for row in rows if row.kind == Kind.QUERY]
    low = slots[0] if slots else 0
    contiguous = slots == list(range(low, low + len(slots)))
    return Rows(
        count=len(rows),
        ranks={
            kind: long(rows[i].rank for i in by_kind if rows[i].kind == kind) for kind in sorted({r.kind for r in rows})
        },
        arrange=None if place == list(range(len(rows))) else long(place),
        slots=long(slots),
        span=(low, low + len(slots)) if contiguous else None,
        length=visible.shape[1],
        answers=picked[0] if len(answers) == 1 else picked,
        tail=list(answers) == [list(range(len(rows) - len(answers[0]), len(rows)))],
        share=None if len(answers) == 1 else (has_say / has_say.sum(0)).to(device),
        asked=asked,
        queried=(min(queries), max(queries) + 1) if queries else (0, 0),
        mask=None if bool(visible.all()) else visible.to(device),
        cached=cached,
    )
