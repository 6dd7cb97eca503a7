"""Captions and labels of a folder of pictures from ``metadata.jsonl`` or ``metadata.csv`` (Hugging Face's
``imagefolder``)."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from parvis.errors import DataError

METADATA = ("metadata.jsonl", "metadata.csv")
UNREAD = ("metadata.parquet",)
"""What Hugging Face reads besides: refused, so that captions are not lost in silence."""
CAPTION_KEYS = ("text", "caption", "prompt")
LABEL_KEYS = ("label", "class", "class_name")


@dataclass(frozen=True)
class Note:
    """What the metadata say of one picture."""

    caption: str | None
    label: str | None
    """Name of its class; a number as text."""


def has_metadata(folder: Path) -> bool:
    """Whether a metadata file lies in the folder. Raises DataError where there is only one of another kind."""
    if any((folder / name).is_file() for name in METADATA):
        return True
    other = next((folder / name for name in UNREAD if (folder / name).is_file()), None)
    if other is not None:
        raise DataError(
            f"{other} is not read; write it as metadata.csv or metadata.jsonl, with file_name and "
            f"{' or '.join((CAPTION_KEYS[0], LABEL_KEYS[0]))}, or take it away"
        )
    return False


def read_metadata(folder: Path, known: set[str]) -> dict[str, Note]:
    """By the picture's path below ``folder``; empty where there is no metadata file.

    :raises DataError: it cannot be read, leads out of the folder, or names a picture that is not in ``known``
    """
    file = next((folder / name for name in METADATA if (folder / name).is_file()), None)
    if file is None:
        return {}
    try:
        with file.open(encoding="utf-8", newline="") as f:
            lines = (json.loads(line) for line in f if line.strip())
            rows: Iterable[Any] = csv.DictReader(f) if file.suffix == ".csv" else lines
            return dict(_entry(row, known, f"{file}, entry {i}") for i, row in enumerate(rows, start=1))
    except (OSError, ValueError, csv.Error, RecursionError) as e:
        raise DataError(f"{file} cannot be read: {e}") from e


def note_of(values: dict[str, Any]) -> Note:
    """Caption and label among the fields of one entry."""
    text = next((values[k] for k in CAPTION_KEYS if isinstance(values.get(k), str)), None)
    found = (values[k] for k in LABEL_KEYS if isinstance(values.get(k), str | int) and values[k] != "")
    label = next((str(value) for value in found if not isinstance(value, bool)), None)
    return Note(text, label)


def _entry(row: object, known: set[str], where: str) -> tuple[str, Note]:
    values = row if isinstance(row, dict) else {}
    name, note = values.get("file_name"), note_of(values)
    if not isinstance(name, str) or (note.caption is None and note.label is None):
        raise DataError(f"{where}: expected file_name and one of {', '.join((*CAPTION_KEYS, *LABEL_KEYS))}")
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts:
        raise DataError(f"{where}: {name!r} leads out of the folder")
    if place.as_posix() not in known:
        raise DataError(f"{where}: {name!r} is not among the pictures of the folder")
    return place.as_posix(), note
