"""A folder of pictures as a data set: a class per sub-folder, captions and labels from a metadata file, splits."""

from __future__ import annotations

from pathlib import Path

from parvis.data.images import SUFFIXES, ImageSet, Picture
from parvis.data.metadata import read_metadata
from parvis.errors import DataError, UsageError

SPLITS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("validation", "valid", "val", "dev"),
}
"""A split and what its sub-folder may be called."""


def open_folder(root: Path | str, resolution: int, split: str = "train") -> ImageSet:
    """Lists a folder: ``root/CLASS/any/depth/picture.png``, and captions or labels from ``root/metadata.jsonl``
    (``{"file_name": ..., "text": ..., "label": ...}`` a line) or ``metadata.csv`` with the same columns. Labels there
    go before sub-folders. Hidden files are passed over. Nothing is decoded yet.

    Where all sub-folders are splits (``train``, ``test``, ``validation``, ...) and one is ``train``, one ``split`` is
    listed.

    :raises DataError: no folder, no such split, no pictures, or metadata that name a missing file
    """
    root = Path(root)
    if resolution < 1:
        raise UsageError(f"resolution {resolution} is not a number of pixels")
    if not root.is_dir():
        raise DataError(f"{root} is not a folder")
    root = _split(root, split)
    found = (p.relative_to(root) for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
    paths = sorted(p for p in found if not any(part.startswith(".") for part in p.parts) and (root / p).is_file())
    if not paths:
        raise DataError(f"{root} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    notes = read_metadata(root, {p.as_posix() for p in paths})
    if any(note.label is not None for note in notes.values()):
        names = {p: note.label for p in paths if (note := notes.get(p.as_posix())) is not None}
    else:
        names = {p: p.parts[0] if len(p.parts) > 1 else None for p in paths}
    classes = in_order({name for name in names.values() if name is not None})
    number = {name: i for i, name in enumerate(classes)}
    pictures = []
    for p in paths:
        name, note = names.get(p), notes.get(p.as_posix())
        pictures.append(Picture(root / p, None if name is None else number[name], note.caption if note else None))
    return ImageSet(root, resolution, tuple(pictures), classes)


def in_order(names: set[str]) -> tuple[str, ...]:
    """Class names in their order: by number where all are numbers, else by spelling."""
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def _split(root: Path, split: str) -> Path:
    folders = {p.name: p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")}
    known = {name: key for key, called in SPLITS.items() for name in called}
    if not folders or any(name not in known for name in folders) or "train" not in map(known.get, folders):
        return root
    if any(p.suffix.lower() in SUFFIXES for p in root.iterdir()):
        return root
    chosen = next((folders[name] for name in SPLITS.get(split, (split,)) if name in folders), None)
    if chosen is None:
        raise DataError(f"{root} has no split {split!r}; it has {', '.join(sorted(folders))}")
    return chosen
