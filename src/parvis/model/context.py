"""What a model knows about a request apart from the canvas: the condition, ready to use in every pass.

Legend: B images, T prefix rows, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvis.errors import UsageError


@dataclass(frozen=True, eq=False)
class Context:
    """A condition turned into rows.

    Attributes:
        rows: prefix rows [B, T, D].
        visible: bool [B, T], False for padding; ``None`` where nothing is padded.
        vector: one vector per image [B, D] for adaptive norms; ``None`` without them.
        modulation: what the adaptive norms made of the vector, once per request, [B, n, 1, D] each.
        copies: how many stacked copies of the batch these are: 1, or 2 with the null condition behind the real one
            (guidance).
    """

    rows: Tensor
    visible: Tensor | None = None
    vector: Tensor | None = None
    modulation: tuple[Tensor, ...] = ()
    copies: int = 1

    def stack(self, null: Context) -> Context:
        """The batch twice: first under this condition, then under ``null``."""
        visible = vector = None
        if self.visible is not None or null.visible is not None:
            visible = torch.cat([_shown(self), _shown(null)])
        if self.vector is not None and null.vector is not None:
            vector = torch.cat([self.vector, null.vector])
        return Context(torch.cat([self.rows, null.rows]), visible, vector, copies=2)

    def drop(self, dropped_B: Tensor, null: Context) -> Context:
        """Images where ``dropped_B`` is True get the null condition (training for guidance)."""
        rows = torch.where(dropped_B[:, None, None], null.rows, self.rows)
        vector = self.vector
        if self.vector is not None and null.vector is not None:
            vector = torch.where(dropped_B[:, None], null.vector, self.vector)
        return replace(self, rows=rows, vector=vector)


def _shown(context: Context) -> Tensor:
    """Which prefix rows are words, bool [B, T]: all of them where nothing says otherwise."""
    if context.visible is not None:
        return context.visible
    return torch.ones(context.rows.shape[:2], dtype=torch.bool, device=context.rows.device)


@dataclass(frozen=True, eq=False)
class Features:
    """Text features [B, T, F] of a foreign encoder and which of them are words, bool [B, T] (False: padding)."""

    values: Tensor
    visible: Tensor

    def __getitem__(self, part: slice | Tensor) -> Features:
        """Some of the batch."""
        return Features(self.values[part], self.visible[part])

    def to(self, device: torch.device) -> Features:
        return Features(self.values.to(device), self.visible.to(device))


Given = Tensor | Features
"""What conditions a batch: classes long [B], words long [B, T], or :class:`Features`."""


class Condition(nn.Module, ABC):
    """Base of the condition encoders: classes, words or features in, a :class:`Context` out."""

    prefix: int
    """Number of prefix rows T."""

    def __call__(self, given: Any) -> Context:
        context: Context = super().__call__(given)
        return context

    @abstractmethod
    def forward(self, given: Any) -> Context: ...

    @abstractmethod
    def null(self, given: Any) -> Context:
        """The context of the null condition for a batch like ``given``."""

    @abstractmethod
    def check(self, given: Any) -> None:
        """Raises UsageError where ``given`` is not what this condition takes. Reads values: not for use in a loop."""


def _check_ids(what: str, given: Any, shape: tuple[int, ...], count: int) -> None:
    """Whole numbers [B, *shape] in 0..count-1."""
    if not isinstance(given, Tensor) or given.dtype not in (torch.long, torch.int) or given.shape[1:] != shape:
        got = f"{given.dtype} {list(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
        raise UsageError(f"{what} are a tensor of whole numbers {['B', *shape]}; got {got}".replace("'", ""))
    low, high = (int(given.min()), int(given.max())) if given.numel() else (0, 0)
    if low < 0 or high >= count:
        raise UsageError(f"{what} are numbers from 0 to {count - 1}; got {low} to {high}")


class ClassCondition(Condition):
    """A class label as one prefix row: an embedding table whose last row is the null class.

    Args:
        classes: number of classes; labels are long [B] in 0..classes-1.
        width: D.
        start: VAR's ``pos_start``: adds a learned start vector to the row and gives the bare embedding as ``vector``.
    """

    prefix = 1

    def __init__(self, classes: int, width: int, start: bool = False) -> None:
        super().__init__()
        self.classes = classes
        self.table = nn.Embedding(classes + 1, width)
        self.start = nn.Parameter(torch.zeros(1, 1, width)) if start else None

    def forward(self, given: Tensor) -> Context:
        vector = self.table(given)
        if self.start is None:
            return Context(vector[:, None])
        return Context(vector[:, None] + self.start, vector=vector)

    def null(self, given: Tensor) -> Context:
        return self(torch.full_like(given, self.classes))

    def check(self, given: Any) -> None:
        _check_ids("classes", given, (), self.classes)


class LatentNullCondition(Condition):
    """A class label as prefix rows, all alike, with a separate learned null vector (LPD's ``fake_latent``).

    Args:
        classes: number of classes. width: D. rows: number of prefix rows (MAR's buffer: 64).
    """

    def __init__(self, classes: int, width: int, rows: int = 1) -> None:
        super().__init__()
        self.classes, self.prefix = classes, rows
        self.table = nn.Embedding(classes, width)
        self.absent = nn.Parameter(torch.zeros(1, width))

    def forward(self, given: Tensor) -> Context:
        return Context(self.table(given)[:, None].expand(-1, self.prefix, -1))

    def null(self, given: Tensor) -> Context:
        return Context(self.absent[:, None].expand(given.shape[0], self.prefix, -1))

    def check(self, given: Any) -> None:
        _check_ids("classes", given, (), self.classes)


class TableCondition(Condition):
    """A class label as one prefix row, read from the table of the codes (ARPG): class c is row ``first`` + c, the null
    class the row behind the last class.

    Args:
        table: owned by the transformer, under whose name its weights are saved. first: row of class 0. classes: number
            of classes; labels are long [B] in 0..classes-1.
    """

    prefix = 1

    def __init__(self, table: nn.Embedding, first: int, classes: int) -> None:
        super().__init__()
        assert table.num_embeddings > first + classes, "the table has no row for the null class"
        self.shared = (table,)  # in a tuple, so that it is no part of this module
        self.first, self.classes = first, classes

    def forward(self, given: Tensor) -> Context:
        return Context(self.shared[0](given + self.first)[:, None])

    def null(self, given: Tensor) -> Context:
        return self(torch.full_like(given, self.classes))

    def check(self, given: Any) -> None:
        _check_ids("classes", given, (), self.classes)


class ClassVector(Condition):
    """A class label as a vector for adaptive norms alone, without a row; the last of the table is the null class (xAR).

    Args:
        classes: number of classes. width: D.
    """

    prefix = 0

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        self.table = nn.Embedding(classes + 1, width)

    def forward(self, given: Tensor) -> Context:
        vector = self.table(given)
        return Context(vector[:, None][:, :0], vector=vector)

    def null(self, given: Tensor) -> Context:
        return self(torch.full_like(given, self.classes))

    def check(self, given: Any) -> None:
        _check_ids("classes", given, (), self.classes)


class WordsCondition(Condition):
    """A caption as T prefix rows: learned word vectors plus learned slot vectors; the transformer's own layers read
    them.

    Args:
        words: size of the word list; ids are long [B, T] in 0..words-1, id 0 is padding (it stays visible).
        slots: T, words per caption.
        width: D.
    """

    def __init__(self, words: int, slots: int, width: int) -> None:
        super().__init__()
        self.prefix, self.words = slots, words
        self.table = nn.Embedding(words + 1, width)  # the last row is the null word
        self.slot = nn.Parameter(torch.zeros(slots, width))

    def forward(self, given: Tensor) -> Context:
        return Context(self.table(given) + self.slot)

    def null(self, given: Tensor) -> Context:
        return self(torch.full_like(given, self.words))

    def check(self, given: Any) -> None:
        _check_ids("words", given, (self.prefix,), self.words)


class FeaturesCondition(Condition):
    """Text features as T prefix rows through fc1, GELU (tanh), fc2 without biases (LlamaGen text-conditional).

    The null condition is a learned table of T feature vectors; the prompt's padding applies to it as well.

    Args:
        features: width F of the text encoder (Flan-T5-XL: 2048). slots: T (120). width: D.
    """

    absent: Tensor

    def __init__(self, features: int, slots: int, width: int) -> None:
        super().__init__()
        self.prefix = slots
        self.fc1, self.fc2 = nn.Linear(features, width, bias=False), nn.Linear(width, width, bias=False)
        self.register_buffer("absent", torch.zeros(slots, features))

    def _rows(self, values: Tensor) -> Tensor:
        rows: Tensor = self.fc2(F.gelu(self.fc1(values.to(self.absent.dtype)), approximate="tanh"))
        return rows

    def forward(self, given: Features) -> Context:
        return Context(self._rows(given.values), given.visible)

    def null(self, given: Features) -> Context:
        return Context(self._rows(self.absent.expand_as(given.values)), given.visible)

    def check(self, given: Any) -> None:
        want = (self.prefix, self.absent.shape[1])
        if not isinstance(given, Features) or given.values.shape[1:] != want:
            got = list(given.values.shape) if isinstance(given, Features) else type(given).__name__
            raise UsageError(f"text features are Features with values [B, {want[0]}, {want[1]}]; got {got}")
        if given.visible.dtype != torch.bool or given.visible.shape != given.values.shape[:2]:
            raise UsageError(
                f"visible says for every text feature whether it is a word: bool {list(given.values.shape[:2])}; "
                f"got {given.visible.dtype} {list(given.visible.shape)}"
            )
