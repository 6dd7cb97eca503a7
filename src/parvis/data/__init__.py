"""Data sets, captions and code caches."""

from parvis.data.captions import TONES, Encoded, Words, phrase, words_of
from parvis.data.emoji import EmojiSet, Record, fetch_emoji, load_emoji
from parvis.data.fashion import FashionSet, fetch_fashion, load_fashion
from parvis.data.split import base_weights, twin_groups

__all__ = [
    "TONES",
    "EmojiSet",
    "Encoded",
    "FashionSet",
    "Record",
    "Words",
    "base_weights",
    "fetch_emoji",
    "fetch_fashion",
    "load_emoji",
    "load_fashion",
    "phrase",
    "twin_groups",
    "words_of",
]
