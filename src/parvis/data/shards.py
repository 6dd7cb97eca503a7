"""WebDataset shards: plain ``.tar`` archives whose members ``key.jpg``, ``key.cls``, ``key.json``, ``key.txt`` are one
example.

Only the headers are read when a shard is opened, and pictures are then read by their place in the archive, so any
picture can be drawn at any time. Nothing is unpacked to the disk, nothing but pictures, numbers, JSON and text is
decoded, and links are passed over.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from parvis.data.folder import in_order
from parvis.data.images import SUFFIXES, ImageSet, Picture
from parvis.data.metadata import Note, note_of
from parvis.errors import DataError, UsageError

MEMBER_LIMIT = 1 << 28
SIDE_LIMIT = 1 << 20
CLASSES = "classes.txt"
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass
class _Example:
    """What was found under one key so far."""

    member: str = ""
    span: tuple[int, int] | None = None
    caption: str | None = None
    cls: str | None = None
    note: Note = field(default_factory=lambda: Note(None, None))


def expand(pattern: str) -> list[Path]:
    """``data-{000..012}.tar`` as its files; any other text as one path. Ends may count down.

    :raises UsageError: more than a million files
    """
    found = _BRACES.search(pattern)
    if found is None:
        return [Path(pattern)]
    low, high = int(found[1]), int(found[2])
    if abs(high - low) >= 1_000_000:
        raise UsageError(f"{pattern!r} names {abs(high - low) + 1} shards; give at most a million")
    numbers = range(low, high + 1) if low <= high else range(low, high - 1, -1)
    texts = (f"{pattern[: found.start()]}{n:0{len(found[1])}d}{pattern[found.end() :]}" for n in numbers)
    return [path for text in texts for path in expand(text)]


def open_shards(source: Path | str, resolution: int) -> ImageSet:
    """The pictures of a shard, of a brace pattern of shards, or of all ``.tar`` files of a folder, in order.

    Classes are the numbers in ``.cls`` (or ``label`` in ``.json``); their names are the lines of ``classes.txt``
    beside the shards where there is one, else the numbers themselves. Captions are ``.txt``, or ``caption``, ``text``
    or ``prompt`` in ``.json``.

    :raises DataError: a shard is missing, compressed or damaged, holds no picture, or says something unreadable
    """
    path = Path(source)
    paths = sorted(path.glob("*.tar")) if path.is_dir() else expand(str(source))
    if resolution < 1:
        raise UsageError(f"resolution {resolution} is not a number of pixels")
    missing = [p for p in paths if not p.is_file()]
    if missing or not paths:
        raise DataError(f"{missing[0] if missing else path} ({len(missing)} of {len(paths)} shards) is not there")
    found = [(shard, example) for shard in paths for example in _examples(shard)]
    if not found:
        raise DataError(f"{source} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    labels = [example.cls if example.cls is not None else example.note.label for _, example in found]
    names = _class_names(paths[0].parent / CLASSES, {label for label in labels if label is not None})
    number = {label: i for i, label in enumerate(names[0])}
    pictures = tuple(
        Picture(
            shard, None if label is None else number[label], example.caption or example.note.caption,
            example.member, example.span,
        )
        for (shard, example), label in zip(found, labels, strict=True)
    )  # fmt: skip
    return ImageSet(paths[0].parent, resolution, pictures, names[1])


def _class_names(file: Path, labels: set[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(labels as the shards have them, what they are called), both by class number."""
    if not file.is_file() or not all(label.isdecimal() for label in labels):
        return in_order(labels), in_order(labels)
    try:
        lines = tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, ValueError) as e:
        raise DataError(f"{file} cannot be read: {e}") from e
    over = sorted((label for label in labels if int(label) >= len(lines)), key=int)
    if over:
        raise DataError(f"{file} names {len(lines)} classes, but class {over[-1]} is used; add its line")
    return tuple(str(i) for i in range(len(lines))), lines


def _examples(shard: Path) -> Iterator[_Example]:
    """The examples of one shard that have a picture, in the order of their pictures."""
    found: dict[str, _Example] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                folder, _, base = member.name.rpartition("/")
                key, dot, suffix = base.partition(".")
                if not member.isfile() or not dot or not key or member.sparse is not None:
                    continue
                example = found.setdefault(f"{folder}/{key}", _Example())
                _add(example, archive, member, f".{suffix.lower()}", f"{shard}::{member.name}")
    except (tarfile.TarError, OSError, EOFError) as e:
        raise DataError(
            f"{shard} cannot be read as a tar archive ({e}); shards must be plain .tar, not compressed"
        ) from e
    for example in found.values():
        if example.span is not None:
            yield example


def _add(example: _Example, archive: tarfile.TarFile, member: tarfile.TarInfo, suffix: str, where: str) -> None:
    if suffix in SUFFIXES:
        if member.size > MEMBER_LIMIT:
            raise DataError(f"{where} has {member.size} bytes, more than the {MEMBER_LIMIT} that are read")
        example.member, example.span = member.name, (member.offset_data, member.size)
        return
    if suffix not in (".cls", ".txt", ".json"):
        return
    if member.size > SIDE_LIMIT:
        raise DataError(f"{where} has {member.size} bytes, more than the {SIDE_LIMIT} that are read")
    stream = archive.extractfile(member)
    assert stream is not None
    try:
        text = stream.read().decode("utf-8").strip()
        if suffix == ".txt":
            example.caption = text or None
        elif suffix == ".cls":
            example.cls = str(int(text))
        else:
            content = json.loads(text)
            example.note = note_of(content) if isinstance(content, dict) else example.note
    except (ValueError, RecursionError) as e:
        raise DataError(f"{where} cannot be read ({e})") from e
