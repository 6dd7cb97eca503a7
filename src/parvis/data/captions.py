"""Captions: text to an ordered list of words, words to a fixed row of ids.

A caption is a tuple of lower-case words. Five words are made of several: the skin tones, so that a tone is one stable
word wherever it stands ("medium light skin tone", "medium-light-skinned" and "medium light skin" are all
``medium-light-skin``).
"""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from parvis.errors import UsageError

TONES = ("light-skin", "medium-light-skin", "medium-skin", "medium-dark-skin", "dark-skin")
_SMALL = "a an the of and with in for to at by is are its his her their some this that very"
_ABOUT = "emoji icon picture photo image drawing"
IGNORED = frozenset((_SMALL + " " + _ABOUT).split())
_TONE = re.compile(
    r"\b(medium light|medium dark|light|medium|dark)(?: skin(?:ned)? tones?| skin(?:ned)?| complexion)\b"
)
_SPOKEN = {"*": " asterisk ", "#": " hash ", "&": " ", "+1": " plus one ", "-1": " minus one "}


def words_of(text: str) -> tuple[str, ...]:
    """Lower-case words of ``text`` in order, of any script that puts spaces between them: accents, case, punctuation
    and small English words dropped, skin tones folded into one word each."""
    if text in _SPOKEN:
        text = _SPOKEN[text]
    for sign in "*#&":
        text = text.replace(sign, _SPOKEN[sign])
    text = re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFKD", text.lower()))  # accents
    text = re.sub(r"(?<=\w)['\u2018\u2019\u02bc.](?=\w)", "", text)  # o'clock, u.s.
    text = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in unicodedata.normalize("NFC", text))
    text = _TONE.sub(lambda m: m[1].replace(" ", "_") + "_skin", text)
    return tuple(w.replace("_", "-") for w in text.split() if w not in IGNORED)


def phrase(caption: Iterable[str]) -> str:
    """The words as a person would write them: ``("medium-light-skin", "astronaut")`` is "medium light skin
    astronaut"."""
    return " ".join(w.replace("-", " ") if w in TONES else w for w in caption)


@dataclass(frozen=True)
class Encoded:
    """What :meth:`Words.encode` understood of a text."""

    ids: tuple[int, ...]
    """``slots`` ids, padded with ``Words.pad``."""
    used: tuple[str, ...]
    unknown: tuple[str, ...]
    """Words of the text that the vocabulary lacks, in order."""
    nearest: tuple[tuple[str, ...], ...]
    """For each unknown word up to three words of the vocabulary that are spelt alike."""
    cut: tuple[str, ...]
    """Known words that found no slot."""

    @property
    def warning(self) -> str | None:
        """One line for the user, or None when everything was understood."""
        parts = []
        for word, near in zip(self.unknown, self.nearest, strict=True):
            parts.append(f"{word!r} is not a word the model knows" + (f" (near: {', '.join(near)})" if near else ""))
        if self.cut:
            parts.append(f"no room for {' '.join(self.cut)!r}")
        return "; ".join(parts) or None


@dataclass(frozen=True)
class Words:
    """A fixed vocabulary of words. Id 0 is the pad; word ``i`` of ``vocabulary`` has id ``i + 1``. A null caption is
    the model's own affair."""

    vocabulary: tuple[str, ...]
    slots: int = 12
    pad: int = field(default=0, init=False)
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(set(self.vocabulary)) != len(self.vocabulary) or not self.vocabulary or self.slots < 1:
            raise UsageError(
                f"a vocabulary needs distinct words and at least one slot; got {len(self.vocabulary)} words"
            )
        object.__setattr__(self, "_ids", {w: i + 1 for i, w in enumerate(self.vocabulary)})

    @classmethod
    def of(cls, captions: Iterable[Iterable[str]], slots: int = 12) -> Words:
        """The sorted vocabulary of all ``captions``; the five skin tones always belong to it."""
        return cls(tuple(sorted({w for caption in captions for w in caption} | set(TONES))), slots)

    @classmethod
    def learned(cls, texts: Iterable[str], most: int = 8000, longest: int = 32) -> Words:
        """The vocabulary of captions to train on: the ``most`` words that occur in the most captions, and slots for 99
        of 100 captions whole, ``longest`` of them at most.

        :raises UsageError: the captions have no words
        """
        captions = [words_of(text) for text in texts]
        uses = Counter(word for caption in captions for word in dict.fromkeys(caption))
        if not uses:
            raise UsageError(
                f"none of the {len(captions)} captions holds a word; captions are texts such as 'two red apples'"
            )
        kept = {word for word, _ in sorted(uses.items(), key=lambda item: (-item[1], item[0]))[:most]}
        lengths = sorted(sum(word in kept for word in caption) for caption in captions)
        return cls(tuple(sorted(kept)), max(1, min(longest, lengths[math.ceil(0.99 * len(lengths)) - 1])))

    @property
    def size(self) -> int:
        """Number of ids, pad included: the rows of an embedding table."""
        return len(self.vocabulary) + 1

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    def encode(self, text: str | Sequence[str]) -> Encoded:
        """Ids of a text, or of words already split.

        A word that is not known is tried without its plural ending and is else reported in ``unknown``, for the
        caller to warn of.

        :raises UsageError: no word of the text is known (an empty text included)
        """
        words = words_of(text) if isinstance(text, str) else tuple(text)
        used, unknown = [], []
        for word in words:
            form = next((f for f in _forms(word) if f in self._ids), None)
            (unknown.append(word) if form is None else used.append(form))
        nearest = tuple(tuple(difflib.get_close_matches(w, self.vocabulary, n=3, cutoff=0.7)) for w in unknown)
        if not used:
            given = text if isinstance(text, str) else " ".join(text)
            hint = "; ".join(
                f"for {w!r} try {', '.join(near)}" for w, near in zip(unknown, nearest, strict=True) if near
            )
            raise UsageError(
                f"the model knows none of the words of {given!r}; "
                + (hint or f"some that it knows: {', '.join(self._some())}")
            )
        ids = [self._ids[w] for w in used[: self.slots]]
        padded = tuple(ids + [self.pad] * (self.slots - len(ids)))
        return Encoded(padded, tuple(used[: self.slots]), tuple(unknown), nearest, tuple(used[self.slots :]))

    def _some(self, count: int = 6) -> tuple[str, ...]:
        """A few words from all over the vocabulary, those of letters first."""
        plain = [word for word in self.vocabulary if word.isalpha() and len(word) > 2] or list(self.vocabulary)
        return tuple(plain[:: -(-len(plain) // count)])

    def decode(self, ids: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.vocabulary[i - 1] for i in ids if i != self.pad)

    def table(self, captions: Sequence[Sequence[Sequence[str]]]) -> tuple[Tensor, Tensor]:
        """Several captions of each of n images as ``(ids [n, A, slots], count [n])``, both long; words outside the
        vocabulary are left out.

        Rows beyond an image's own count repeat its first caption, so that any index below A is safe.
        """
        most = max(len(c) for c in captions)
        ids = torch.zeros(len(captions), most, self.slots, dtype=torch.long)
        for i, each in enumerate(captions):
            for a in range(most):
                words = [self._ids[w] for w in each[a if a < len(each) else 0] if w in self._ids][: self.slots]
                ids[i, a, : len(words)] = torch.tensor(words, dtype=torch.long)
        return ids, torch.tensor([len(c) for c in captions])


def _forms(word: str) -> list[str]:
    forms = [word]
    if len(word) > 3 and word.endswith("s"):
        forms.append(word[:-1])
    if len(word) > 4 and word.endswith("es"):
        forms.append(word[:-2])
    if len(word) > 4 and word.endswith("ies"):
        forms.append(word[:-3] + "y")
    return [*forms, word + "s"]
