"""Captions that came with pictures, ready to train on: the words of all of them, and the ids of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from parvis.data.captions import Words, words_of
from parvis.data.codes import CodeCache
from parvis.errors import DataError


@dataclass(frozen=True, eq=False)
class Texts:
    """The captions of a code cache, ready to train on."""

    words: Words
    ids: Tensor
    """Of every picture's caption, long [n, slots]; the null caption where a picture has none."""
    captions: tuple[str | None, ...]

    @classmethod
    def of(cls, captions: Sequence[str | None], place: Path | str) -> Texts:
        """:raises DataError: no picture has a caption"""
        given = [caption for caption in captions if caption]
        if not given:
            raise DataError(
                f"{place} holds no captions; write metadata.jsonl into the folder of the pictures, a line each "
                '({"file_name": "a.png", "text": "two red apples"}), and encode again'
            )
        words = Words.learned(given)
        ids, _ = words.table([[words_of(caption or "")] for caption in captions])
        missing = torch.tensor([not caption for caption in captions])
        return cls(words, ids[:, 0].masked_fill(missing[:, None], words.size), tuple(captions))

    def told(self) -> str:
        """One line about them, with what will not be learned."""
        lengths = [sum(word in self.words for word in words_of(caption)) for caption in self.captions if caption]
        parts = [f"{len(lengths)} captions of {len(self.words.vocabulary)} words, at most {self.words.slots} each"]
        cut, bare = sum(n > self.words.slots for n in lengths), len(self.captions) - len(lengths)
        parts += [f"{cut} are longer and lose their last words"] if cut else []
        parts += [f"{bare} pictures have none and teach the model without a caption"] if bare else []
        return "; ".join(parts)


def texts_of(cache: CodeCache) -> Texts:
    """The captions that the cache keeps. Raises DataError where it has none."""
    return Texts.of([caption for _, caption in cache.pictures] or [None] * len(cache), cache.path)
