"""A folder of pictures as a data set: a class per sub-folder, captions from a metadata file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from parvis.data.picture import centre_crop, read_image
from parvis.errors import DataError, UsageError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
METADATA = ("metadata.jsonl", "metadata.csv")
CAPTION_KEYS = ("text", "caption", "prompt")


@dataclass(frozen=True)
class Picture:
    """One file of a folder."""

    path: Path
    label: int | None
    """Number of its first sub-folder among the sorted classes; None beside them."""
    caption: str | None


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """Pictures of a folder in a fixed order; each is decoded and cropped when it is asked for."""

    root: Path
    resolution: int
    pictures: tuple[Picture, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """uint8 [S, S, 3], centre crop. :raises DataError: the file cannot be decoded"""
        return np.asarray(centre_crop(read_image(self.pictures[index].path), self.resolution))

    def pixels(self, indices: Sequence[int]) -> Tensor:
        """float32 [n, 3, S, S] in [-1, 1]."""
        stack = torch.from_numpy(np.stack([self.image(i) for i in indices]))
        return stack.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)

    def labels(self) -> Tensor:
        """long [n]. :raises DataError: a picture lies beside the class folders, or there are none"""
        if not self.classes:
            raise DataError(
                f"{self.root} has no class sub-folders; move the pictures of each class into a folder of its own"
            )
        without = [p.path for p in self.pictures if p.label is None]
        if without:
            raise DataError(
                f"{without[0]} ({len(without)} such) belongs to no class; move it into a sub-folder of {self.root}"
            )
        return torch.tensor([p.label for p in self.pictures])


def open_folder(root: Path | str, resolution: int) -> ImageFolder:
    """Lists a folder: ``root/CLASS/any/depth/picture.png``, and captions from ``root/metadata.jsonl``
    (``{"file_name": ..., "text": ...}`` a line) or ``metadata.csv`` with the same columns. Hidden files are passed
    over. Nothing is decoded yet.

    :raises DataError: no folder, no pictures, or metadata that name a missing file
    """
    root = Path(root)
    if resolution < 1:
        raise UsageError(f"resolution {resolution} is not a number of pixels")
    if not root.is_dir():
        raise DataError(f"{root} is not a folder")
    found = (p.relative_to(root) for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
    paths = sorted(p for p in found if not any(part.startswith(".") for part in p.parts) and (root / p).is_file())
    if not paths:
        raise DataError(f"{root} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    classes = tuple(sorted({p.parts[0] for p in paths if len(p.parts) > 1}))
    number = {name: i for i, name in enumerate(classes)}
    captions = _captions(root, {p.as_posix() for p in paths})
    pictures = tuple(
        Picture(root / p, number.get(p.parts[0]) if len(p.parts) > 1 else None, captions.get(p.as_posix()))
        for p in paths
    )
    return ImageFolder(root, resolution, pictures, classes)


def _captions(root: Path, known: set[str]) -> dict[str, str]:
    file = next((root / name for name in METADATA if (root / name).is_file()), None)
    if file is None:
        return {}
    try:
        with file.open(encoding="utf-8", newline="") as f:
            lines = (json.loads(line) for line in f if line.strip())
            rows: Iterable[Any] = csv.DictReader(f) if file.suffix == ".csv" else lines
            return dict(_entry(row, known, f"{file}, entry {i}") for i, row in enumerate(rows, start=1))
    except (OSError, ValueError, csv.Error) as e:
        raise DataError(f"{file} cannot be read: {e}") from e


def _entry(row: object, known: set[str], where: str) -> tuple[str, str]:
    """(file, caption) of one line of metadata."""
    values = row if isinstance(row, dict) else {}
    name = values.get("file_name")
    text = next((values[k] for k in CAPTION_KEYS if isinstance(values.get(k), str)), None)
    if not isinstance(name, str) or text is None:
        raise DataError(f"{where}: expected file_name and one of {', '.join(CAPTION_KEYS)}")
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts:
        raise DataError(f"{where}: {name!r} leads out of the folder")
    if place.as_posix() not in known:
        raise DataError(f"{where}: {name!r} is not among the pictures of the folder")
    return place.as_posix(), text
