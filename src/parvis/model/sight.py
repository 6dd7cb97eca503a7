"""What the rows that go through a model's layers see: one batch under one plan, or many requests side by side.

Layers treat every row alike; only attention, and the choice of rows that answer, must know whose rows they are. A
:class:`Sight` is that knowledge. :class:`Alone` is one batch [B, R, D] under one plan. :class:`Together` is several
of them, each at its own pass of its own plan, laid end to end as [1, M, D]: linear layers then see one long batch, and
attention takes the requests one by one, each at its own exact lengths. So nothing that a request computes has a shape
that depends on its neighbours, but for the number of rows of the linear layers.

Legend: B images of one batch (condition and null rows stacked), R rows, M rows of all parts, n asked, K keys, D width,
H heads, d head width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from parvis.cache.store import Cache
from parvis.model.plan import Rows

Keys: TypeAlias = Sequence[tuple[Tensor, Tensor]]
"""Keys and values of every part, [B, H, K, d] each."""

Padded: TypeAlias = Callable[[int], int]
"""How many rows to run where so many are needed: see ``engine/steady.py``."""


class Sight(ABC):
    """What rows see, and which of them answer."""

    @abstractmethod
    def extend(self, layer: int, key_BHRd: Tensor, value_BHRd: Tensor) -> Keys:
        """All keys and values that the rows may see, their own among them."""

    @abstractmethod
    def attend(self, query_BHRd: Tensor, keys: Keys, scale: float | None = None, dropout: float = 0.0) -> Tensor:
        """Softmax attention, [B, H, R, d]; ``scale`` in place of 1 / sqrt(d); a share ``dropout`` of its weights is
        dropped."""

    @abstractmethod
    def answering(self, hidden_BRD: Tensor) -> Tensor:
        """The rows that answer, [B, n, D] by rank."""

    @property
    @abstractmethod
    def heads(self) -> int:
        """How many heads of prediction the plan has."""

    @abstractmethod
    def heard(self, hidden_BRD: Tensor, head: int) -> tuple[Tensor, Tensor]:
        """With several heads of prediction: the rows that ``head`` reads, [B, n, D], and its share in each answer,
        float32 [B or 1, n, 1]."""

    @abstractmethod
    def halves(self) -> tuple[Sight, Sight]:
        """Of the rows that have keys, and of those that have none (which see the keys of the former)."""

    @abstractmethod
    def divide(self, x_BRD: Tensor) -> tuple[Tensor, Tensor]:
        """The rows that have keys, and those that have none."""

    @abstractmethod
    def laid(self, parts: Sequence[Tensor]) -> Tensor:
        """Rows of every part, [B, R, D] each, as one tensor for the layers."""

    @abstractmethod
    def parts(self, x_BRD: Tensor) -> list[Tensor]:
        """The inverse of :meth:`laid`."""

    @abstractmethod
    def answers(self, y_BnD: Tensor) -> list[Tensor]:
        """Of what was made of the answering rows, the share of every part, [B, n, D] each."""


@dataclass(frozen=True, eq=False)
class Alone(Sight):
    """One batch under one plan.

    Args:
        rows: which. mask: bool [R, K] or [B, 1, R, K]; ``None``: all is visible. cache: ``None``: rows see one another.
    """

    rows: Rows
    mask: Tensor | None = None
    cache: Cache | None = None

    def extend(self, layer: int, key_BHRd: Tensor, value_BHRd: Tensor) -> Keys:
        if self.cache is None:
            return ((key_BHRd, value_BHRd),)
        return (self.cache.extend(layer, self.rows, key_BHRd, value_BHRd),)

    def attend(self, query_BHRd: Tensor, keys: Keys, scale: float | None = None, dropout: float = 0.0) -> Tensor:
        ((key, value),) = keys
        return F.scaled_dot_product_attention(query_BHRd, key, value, self.mask, dropout, scale=scale)

    def answering(self, hidden_BRD: Tensor) -> Tensor:
        return self.rows.answering(hidden_BRD)

    @property
    def heads(self) -> int:
        return 1 if self.rows.share is None else len(self.rows.share)

    def heard(self, hidden_BRD: Tensor, head: int) -> tuple[Tensor, Tensor]:
        assert self.rows.share is not None
        return hidden_BRD[:, self.rows.answers[head]], self.rows.share[head, None, :, None]

    def halves(self) -> tuple[Alone, Alone]:
        keyed, mask = self.rows.keyed, self.mask
        assert self.rows.tail, "the rows without keys are those that answer"
        if mask is None:
            return self, Alone(self.rows)
        return Alone(self.rows, mask[..., :keyed, :], self.cache), Alone(self.rows, mask[..., keyed:, :])

    def divide(self, x_BRD: Tensor) -> tuple[Tensor, Tensor]:
        return x_BRD[:, : self.rows.keyed], x_BRD[:, self.rows.keyed :]

    def laid(self, parts: Sequence[Tensor]) -> Tensor:
        (x,) = parts
        return x

    def parts(self, x_BRD: Tensor) -> list[Tensor]:
        return [x_BRD]

    def answers(self, y_BnD: Tensor) -> list[Tensor]:
        return [y_BnD]


class Together(Sight):
    """Several sights, their rows end to end.

    Args:
        members: what each sees. shapes: (B, R) of each. padded: how many rows to run; those too many are zeros, which
            nobody sees.
    """

    def __init__(self, members: Sequence[Alone], shapes: Sequence[tuple[int, int]], padded: Padded) -> None:
        self.members, self.shapes, self.padded = members, shapes, padded
        self.sizes = [images * rows for images, rows in shapes]
        self.surplus = padded(sum(self.sizes)) - sum(self.sizes)

    def extend(self, layer: int, key_BHRd: Tensor, value_BHRd: Tensor) -> Keys:
        pairs = zip(self.members, self._by_heads(key_BHRd), self._by_heads(value_BHRd), strict=True)
        return [member.extend(layer, key, value)[0] for member, key, value in pairs]

    def attend(self, query_BHRd: Tensor, keys: Keys, scale: float | None = None, dropout: float = 0.0) -> Tensor:
        queries = zip(self.members, self._by_heads(query_BHRd), keys, strict=True)
        read = [member.attend(query, (pair,), scale, dropout).transpose(1, 2) for member, query, pair in queries]
        return end_to_end(read, self.surplus).transpose(1, 2)

    def _by_heads(self, x_1HMd: Tensor) -> Iterable[Tensor]:
        """Of every part its own, [B, H, R, d]."""
        for part, (images, rows) in zip(self._cut(x_1HMd.transpose(1, 2)), self.shapes, strict=True):
            yield part.view(images, rows, *part.shape[1:]).transpose(1, 2)

    def answering(self, hidden_BRD: Tensor) -> Tensor:
        pairs = zip(self.members, self.parts(hidden_BRD), strict=True)
        return end_to_end([member.answering(part) for member, part in pairs])

    @property
    def heads(self) -> int:
        (heads,) = {member.heads for member in self.members}
        return heads

    def heard(self, hidden_BRD: Tensor, head: int) -> tuple[Tensor, Tensor]:
        each = [m.heard(part, head) for m, part in zip(self.members, self.parts(hidden_BRD), strict=True)]
        shares = [share.expand(len(rows), -1, -1) for rows, share in each]
        return end_to_end([rows for rows, _ in each]), end_to_end(shares)

    def halves(self) -> tuple[Sight, Sight]:
        each = [member.halves() for member in self.members]
        known = [(images, m.rows.keyed) for (images, _), m in zip(self.shapes, self.members, strict=True)]
        asked = [(images, rows - keyed) for (images, rows), (_, keyed) in zip(self.shapes, known, strict=True)]
        return (
            Together([one for one, _ in each], known, self.padded),
            Together([other for _, other in each], asked, self.padded),
        )

    def divide(self, x_BRD: Tensor) -> tuple[Tensor, Tensor]:
        each = [member.divide(part) for member, part in zip(self.members, self.parts(x_BRD), strict=True)]
        known, asked = self.halves()
        return known.laid([one for one, _ in each]), asked.laid([other for _, other in each])

    def laid(self, parts: Sequence[Tensor]) -> Tensor:
        return end_to_end(parts, self.surplus)

    def parts(self, x_BRD: Tensor) -> list[Tensor]:
        cut = zip(self._cut(x_BRD), self.shapes, strict=True)
        return [part.view(*shape, *part.shape[1:]) for part, shape in cut]

    def answers(self, y_BnD: Tensor) -> list[Tensor]:
        counts = [member.rows.answers.shape[-1] for member in self.members]
        sizes = [images * count for (images, _), count in zip(self.shapes, counts, strict=True)]
        cut = zip(y_BnD[0].split_with_sizes(sizes), counts, strict=True)
        return [part.view(-1, count, *part.shape[1:]) for part, count in cut]

    def _cut(self, x_1M: Tensor) -> Sequence[Tensor]:
        """[1, M, ...] -> [B R, ...] of every part."""
        sizes = [*self.sizes, self.surplus] if self.surplus else self.sizes
        return x_1M[0].split_with_sizes(sizes)[: len(self.sizes)]


def end_to_end(parts: Sequence[Tensor], surplus: int = 0) -> Tensor:
    """[B, R, ...] each -> [1, M, ...], with zeros behind."""
    flat = [part.flatten(0, 1) for part in parts]
    if surplus:
        flat.append(flat[0].new_zeros(surplus, *flat[0].shape[1:]))
    return torch.cat(flat)[None]
