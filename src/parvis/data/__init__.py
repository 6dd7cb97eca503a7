"""Data sets, captions and code caches."""

from parvis.data.captions import TONES, Encoded, Words, phrase, words_of
from parvis.data.emoji import EmojiSet, Record, fetch_emoji, load_emoji
from parvis.data.split import base_weights, twin_groups

__all__ = [
    "TONES",
    "EmojiSet",
    "Encoded",
    "Record",
    "Words",
    "base_weights",
    "fetch_emoji",
    "load_emoji",
    "phrase",
    "twin_groups",
    "words_of",
]
