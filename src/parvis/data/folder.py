"""A folder of pictures as a data set: a class per sub-folder, captions and labels from a metadata file, splits."""

from __future__ import annotations

from pathlib import Path

from parvis.data.images import SUFFIXES, ImageSet, Picture
from parvis.data.metadata import Note, has_metadata, read_metadata
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
    go before sub-folders. A metadata file may also lie in a sub-folder, or above the splits; it names files relative to
    where it lies. Hidden files are passed over. Nothing is decoded yet.

    Where all sub-folders are splits (``train``, ``test``, ``validation``, ...) and one is ``train``, one ``split`` is
    listed.

    :raises DataError: no folder, no such split, no pictures, or metadata that name a missing file
    """
    root = Path(root)
    if resolution < 1:
        raise UsageError(f"resolution {resolution} is not a number of pixels")
    if not root.is_dir():
        raise DataError(f"{root} is not a folder")
    top, root = root, _split(root, split)
    paths = _pictures(root)
    if not paths:
        raise DataError(f"{root} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    notes = _notes(top, root, paths)
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


def _pictures(root: Path) -> list[Path]:
    """Paths of the picture files below ``root``, relative to it, in order."""
    found = (p.relative_to(root) for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
    return sorted(p for p in found if not any(part.startswith(".") for part in p.parts) and (root / p).is_file())


def _notes(top: Path, root: Path, paths: list[Path]) -> dict[str, Note]:
    """What the metadata files of the pictures' folders, and of the folder ``top`` above the splits, say of each path;
    of two files that speak of one picture the nearer is right."""
    places = {root, *(parent for p in paths for parent in (root / p).parents if parent.is_relative_to(root))}
    notes: dict[str, Note] = {}
    for place in sorted({top, *places}, key=lambda place: len(place.parts)):
        if not has_metadata(place):
            continue
        below = paths if place == root else _pictures(place)
        for name, note in read_metadata(place, {p.as_posix() for p in below}).items():
            if (place / name).is_relative_to(root):
                notes[(place / name).relative_to(root).as_posix()] = note
    return notes


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
