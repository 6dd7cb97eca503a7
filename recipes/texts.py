"""Small models of one's own pictures and captions: the words of the captions are the vocabulary.

    parvis tokenizer train small --data PICTURES -o runs/tok
    parvis encode PICTURES --tokenizer runs/tok/model -o runs/codes
    parvis train lpd-small-text --data runs/codes -o runs/lpd
    parvis generate "two red apples" --model runs/lpd/model

Captions are the ``text`` of ``metadata.jsonl`` or ``metadata.csv`` beside the pictures, or the ``.txt`` of WebDataset
shards. No result is claimed: it depends on the data. What captions of a few words reach, on drawings: the bundled
emoji models.
"""

from __future__ import annotations

from collections.abc import Callable

from parvis.data.codes import CodeCache
from parvis.systems.captioned import KINDS, captioned
from recipes.captions import texts_of
from recipes.small import Lesson, recipe_of

ABOUT = {
    "lpd": "LPD from captions: any order, groups that grow; words from the data.",
    "raster": "LlamaGen from captions: raster order, the baseline; words from the data.",
}


def of_kind(kind: str) -> Callable[..., None]:
    """The recipe of one family that learns captions, which speak of left and right: nothing is mirrored."""
    return recipe_of("captioned", captioned, kind, ABOUT[kind], learn, flip=False)


def learn(cache: CodeCache) -> Lesson:
    """The captions of the cache and their words."""
    texts = texts_of(cache)
    return Lesson({"words": texts.words.size, "slots": texts.words.slots}, texts.told(), texts)


TEXTS = {f"{kind}-small-text": of_kind(kind) for kind in KINDS}
