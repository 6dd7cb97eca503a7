"""What may be wrong with pictures, found before a long run: damage, duplicates, empty pictures, small classes."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from parvis.data.images import ImageSet
from parvis.data.picture import centre_crop
from parvis.errors import DataError

FLAT = 2.0
"""A picture whose values (0 to 255) deviate less than this is nearly one colour."""
FEW = 10
"""A class of fewer pictures than this is worth a note."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: Literal["fine", "note", "fault"]
    """A fault will spoil a training; a note may be meant so."""
    what: str
    text: str
    examples: tuple[str, ...] = ()
    """Some of the pictures it is about."""


def look(images: ImageSet, most: int = 2000) -> list[Finding]:
    """Decodes up to ``most`` pictures, evenly chosen, and says what was found."""
    index = evenly(len(images), most)
    sizes: Counter[tuple[int, int]] = Counter()
    seen: dict[bytes, list[str]] = {}
    bad: list[str] = []
    flat: list[str] = []
    small: list[str] = []
    names = images.names
    for i in index:
        try:
            picture = images.original(i)
        except DataError:
            bad.append(names[i])
            continue
        sizes[picture.size] += 1
        if min(picture.size) < images.resolution:
            small.append(names[i])
        tile = np.asarray(centre_crop(picture, 32).resize((32, 32), Image.Resampling.BOX)).astype(np.float32)
        if float(tile.std(axis=(0, 1)).max()) < FLAT:
            flat.append(names[i])
        seen.setdefault(hashlib.sha256(picture.tobytes() + repr(picture.size).encode()).digest(), []).append(names[i])
    twins = [same for same in seen.values() if len(same) > 1]
    looked = f"{len(index)} of {len(images)} pictures looked at"
    return [
        Finding("fine", "pictures", looked),
        _about("fault", "damaged", bad, "cannot be decoded; repair them or use --skip-bad", "all can be decoded"),
        _sizes(sizes),
        _about("note", "small", small, f"are below {images.resolution} pixels and are scaled up", "none scaled up"),
        _about("note", "flat", flat, "are nearly of one colour", "none of one colour"),
        _about(
            "note", "duplicates", [name for same in twins for name in same[1:]], "are copies of another one",
            "no picture twice",
        ),
        _classes(images),
        *_captions(images),
    ]  # fmt: skip


def evenly(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` numbers, evenly spread, the first among them."""
    return sorted({i * count // min(count, most) for i in range(min(count, most))})


def _about(level: Literal["note", "fault"], what: str, found: list[str], text: str, fine: str) -> Finding:
    if not found:
        return Finding("fine", what, fine)
    return Finding(level, what, f"{len(found)} {text}", tuple(found[:5]))


def _sizes(sizes: Counter[tuple[int, int]]) -> Finding:
    if not sizes:
        return Finding("fault", "sizes", "no picture can be decoded")
    short = sorted(min(size) for size in sizes.elements())
    common, times = sizes.most_common(1)[0]
    text = f"short sides {short[0]} to {short[-1]}, median {short[len(short) // 2]}"
    return Finding("fine", "sizes", f"{text}; {times} have {common[0]} x {common[1]}")


def _classes(images: ImageSet) -> Finding:
    if not images.classes:
        return Finding("fine", "classes", "none: all pictures are one class")
    counts = Counter(picture.label for picture in images.pictures)
    without = counts.pop(None, 0)
    if without:
        return Finding("fault", "classes", f"{without} pictures have no class, the others have {len(images.classes)}")
    each = [counts[i] for i in range(len(images.classes))]
    text = f"{len(each)}, of {min(each)} to {max(each)} pictures"
    few = tuple(name for name, count in zip(images.classes, each, strict=True) if count < FEW)
    return (
        Finding("note", "classes", f"{text}; {len(few)} have fewer than {FEW}", few[:5])
        if few
        else Finding("fine", "classes", text)
    )


def _captions(images: ImageSet) -> list[Finding]:
    """Nothing where no picture has one."""
    bare = tuple(name for name, caption in zip(images.names, images.captions(), strict=True) if not caption)
    if len(bare) == len(images):
        return []
    text = f"{len(images) - len(bare)} of {len(images)} pictures have one"
    return [Finding("note", "captions", text, bare[:5]) if bare else Finding("fine", "captions", text)]
