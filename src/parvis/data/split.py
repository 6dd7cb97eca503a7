"""Twins and splits: which pictures must stay together, which are held out, how often each is drawn.

A random split of drawings leaks: the mirrored copy of a held-out picture, or the same person in another tone, lies in
the training set. So pictures that agree (also mirrored) are grouped first, and groups go to one side whole.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

K = TypeVar("K", bound=Hashable)
TRAIN, COMBINATION, BASE = "train", "combination", "base"
SPLITS = (TRAIN, COMBINATION, BASE)


@dataclass(frozen=True)
class Item:
    """What the split needs to know of one picture."""

    base: str
    """The drawing without its skin tones."""
    role: str
    """What man, woman and person of one profession or activity have in common; empty where there is none."""
    tones: tuple[str, ...]
    words: tuple[str, ...]
    """The words of its name, tones left out."""


def twin_groups(images: npt.NDArray[np.uint8], threshold: float = 0.05, chunk: int = 512) -> list[int]:
    """Group number (the smallest index in it) of each of ``images`` [n, S, S, 3]: joined, transitively, where the
    root of the mean squared difference of two pictures, or of one and the mirrored other, is below ``threshold``
    (pixels in [0, 1])."""
    n = len(images)
    flat = torch.from_numpy(images.reshape(n, -1)).float() / 255
    mirrored = torch.from_numpy(np.ascontiguousarray(images[:, :, ::-1]).reshape(n, -1)).float() / 255
    square = (flat * flat).sum(1)
    join, find = _union(n)
    for other in (flat, mirrored):
        for start in range(0, n, chunk):
            block = flat[start : start + chunk]
            distance = square[start : start + chunk, None] + square[None] - 2 * block @ other.T
            for i, j in (distance < threshold**2 * flat.shape[1]).nonzero().tolist():
                if start + i < j:
                    join(start + i, j)
    return [find(i) for i in range(n)]


def split(
    items: Sequence[Item], groups: Sequence[int], seed: int = 0, bases: float = 0.05, singles: int = 64, pairs: int = 16
) -> list[str]:
    """``"train"``, ``"base"`` or ``"combination"`` for each item.

    * *base*: about ``bases`` of all bases, with all their variants and twins; two in three of them have only words
      that training captions use too, so that their caption is a new combination of known words.
    * *combination*: about ``singles`` pictures of a role in one skin tone (man, woman and person alike, so that the
      role is never seen in that tone) and ``pairs`` pictures of two people of two tones; every base of theirs stays
      in training in at least three other tones.
    """
    rng = random.Random(seed)
    by_group = _index(groups)
    by_base = _index([item.base for item in items])
    side = [TRAIN] * len(items)
    for base in _held_bases(items, groups, by_base, rng, bases):
        for i in by_base[base]:
            side[i] = BASE

    def hold(wanted: Iterable[int]) -> int:
        chosen = {i for w in wanted for i in by_group[groups[w]]}
        tones = {items[i].tones for i in chosen}
        if not chosen or len(tones) != 1 or any(side[i] != TRAIN for i in chosen):
            return 0
        for base in {items[i].base for i in chosen}:
            left = {items[i].tones for i in by_base[base] if side[i] == TRAIN and i not in chosen and items[i].tones}
            if len(left) < 3:
                return 0
        for i in chosen:
            side[i] = COMBINATION
        return len(chosen)

    by_role = _index([item.role for item in items])
    roles = sorted(role for role in by_role if role)
    rng.shuffle(roles)
    tones = sorted({item.tones[0] for item in items if len(item.tones) == 1})
    held = 0
    for k, role in enumerate(roles):
        if held >= singles:
            break
        for shift in range(len(tones)):
            tone = tones[(k + shift) % len(tones)]
            got = hold([i for i in by_role[role] if items[i].tones == (tone,)])
            held += got
            if got:
                break
    double = [i for i, item in enumerate(items) if len(set(item.tones)) == 2]
    rng.shuffle(double)
    held, used = 0, Counter[str]()
    for i in double:
        if held < pairs and used[items[i].base] < 2 and (got := hold([i])):
            held += got
            used[items[i].base] += got
    return side


def _held_bases(
    items: Sequence[Item], groups: Sequence[int], by_base: dict[str, list[int]], rng: random.Random, share: float
) -> list[str]:
    names = sorted(by_base)
    number = {name: i for i, name in enumerate(names)}
    join, find = _union(len(names))
    first: dict[int, int] = {}
    for item, group in zip(items, groups, strict=True):
        join(first.setdefault(group, number[item.base]), number[item.base])
    families = list(_index([find(i) for i in range(len(names))]).values())
    rng.shuffle(families)
    uses = Counter(w for name in names for w in {w for i in by_base[name] for w in items[i].words})
    held: list[str] = []
    for only_known, until in ((True, share * 2 / 3), (False, share)):
        for family in families:
            if len(held) >= round(until * len(names)):
                break
            bases = [names[i] for i in family]
            own = Counter(w for name in bases for w in {w for i in by_base[name] for w in items[i].words})
            if bases[0] in held or len(bases) > 4 or (only_known and any(uses[w] - c < 1 for w, c in own.items())):
                continue
            held += bases
            uses -= own
    return held


def base_weights(bases: Sequence[str]) -> Tensor:
    """Probability of each picture, float64 summing to 1, when a base is drawn first and then one of its variants:
    without this the drawings
    with many variants starve all others."""
    count = Counter(bases)
    weights = torch.tensor([1 / count[b] for b in bases], dtype=torch.float64)
    return weights / weights.sum()


def _union(n: int) -> tuple[Callable[[int, int], None], Callable[[int], int]]:
    parent = list(range(n))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(i: int, j: int) -> None:
        low, high = sorted((find(i), find(j)))
        parent[high] = low

    return join, find


def _index(keys: Sequence[K]) -> dict[K, list[int]]:
    out: dict[K, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        out[key].append(i)
    return dict(out)
