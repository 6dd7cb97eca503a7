"""Picture files with their classes and captions, wherever they lie: each is all of a file, or a part of an archive.

Folders (``folder.py``) and tar shards (``shards.py``) both become an :class:`ImageSet`; ``source.py`` tells them
apart.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from parvis.data.crops import CROPS, anywhere, views
from parvis.data.picture import read_image
from parvis.errors import DataError, UnknownName

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


@dataclass(frozen=True)
class Picture:
    """One picture file."""

    path: Path
    label: int | None = None
    """Number of its class; None where nothing says."""
    caption: str | None = None
    member: str = ""
    """Its name inside the archive ``path``; empty for a file of its own."""
    span: tuple[int, int] | None = None
    """First byte and number of bytes inside the archive; None for a file of its own."""

    @property
    def name(self) -> str:
        """What a message calls it."""
        return f"{self.path}::{self.member}" if self.member else str(self.path)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Pictures in a fixed order; each is decoded and cut when it is asked for."""

    root: Path
    resolution: int
    pictures: tuple[Picture, ...]
    classes: tuple[str, ...]
    """Names of the classes, by number; empty where there are none."""
    crop: str = "centre"
    """How they are cut (``crops.py``)."""

    def __len__(self) -> int:
        return len(self.pictures)

    def cut(self, crop: str) -> ImageSet:
        """The same pictures, cut otherwise. Raises UnknownName."""
        if crop not in CROPS:
            raise UnknownName("crop", crop, CROPS)
        return replace(self, crop=crop)

    def select(self, indices: Sequence[int]) -> ImageSet:
        """Some of the pictures, in this order; the classes stay."""
        return replace(self, pictures=tuple(self.pictures[i] for i in indices))

    def original(self, index: int) -> Image.Image:
        """The picture as RGB, not cut. :raises DataError: it cannot be decoded"""
        picture = self.pictures[index]
        if picture.span is None:
            return read_image(picture.path)
        first, size = picture.span
        try:
            with picture.path.open("rb") as file:
                file.seek(first)
                content = file.read(size)
        except OSError as e:
            raise DataError(f"{picture.path} cannot be read ({e.strerror or e})") from e
        return read_image(io.BytesIO(content), name=picture.name)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """The first view, uint8 [S, S, 3]. :raises DataError: the file cannot be decoded"""
        return np.asarray(views(self.original(index), self.resolution, self.crop)[0])

    def pixels(self, indices: Sequence[int]) -> Tensor:
        """The first views, float32 [n, 3, S, S] in [-1, 1]."""
        return as_pixels(np.stack([self.image(i) for i in indices]))

    def views(self, indices: Sequence[int]) -> Tensor:
        """All views, float32 [n, V, 3, S, S] in [-1, 1]."""
        cut = [views(self.original(i), self.resolution, self.crop) for i in indices]
        return torch.stack([as_pixels(np.stack([np.asarray(view) for view in of_one])) for of_one in cut])

    def cut_anywhere(self, index: int, across: float, down: float) -> npt.NDArray[np.uint8]:
        """One view, uint8 [S, S, 3], cut where the numbers in [0, 1) say, whatever ``crop`` is."""
        return np.asarray(anywhere(self.original(index), self.resolution, across, down))

    @property
    def names(self) -> tuple[str, ...]:
        """Of every picture, relative to the root where it lies below it."""
        root = f"{self.root}/"
        return tuple(picture.name.removeprefix(root) for picture in self.pictures)

    def captions(self) -> tuple[str | None, ...]:
        return tuple(picture.caption for picture in self.pictures)

    def labels(self) -> Tensor:
        """long [n]. :raises DataError: a picture lies beside the class folders, or there are none"""
        if not self.classes:
            raise DataError(
                f"{self.root} has no class sub-folders; move the pictures of each class into a folder of its own"
            )
        without = [p.name for p in self.pictures if p.label is None]
        if without:
            raise DataError(
                f"{without[0]} ({len(without)} such) belongs to no class; give it one: a sub-folder of {self.root}, "
                "a .cls file in a shard, or a label in the metadata"
            )
        return torch.tensor([p.label for p in self.pictures])


def as_pixels(images: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 [n, H, W, 3] to float32 [n, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


@dataclass(frozen=True, eq=False)
class Decoded:
    """Pictures in memory, uint8 [n, S, S, 3]."""

    images: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def resolution(self) -> int:
        return int(self.images.shape[1])

    def pixels(self, indices: Sequence[int]) -> Tensor:
        """float32 [n, 3, S, S] in [-1, 1]."""
        return as_pixels(self.images[list(indices)])


def usable(images: ImageSet, skip_bad: bool = False, limit: int = 1 << 30) -> tuple[ImageSet | Decoded, int]:
    """The pictures that can be decoded, all tried once, and how many are left out. Where their first views take at most
    ``limit`` bytes they are kept in memory.

    :raises DataError: one cannot be decoded (none can, with ``skip_bad``)
    """
    good: list[int] = []
    kept: list[npt.NDArray[np.uint8]] | None = [] if 3 * images.resolution**2 * len(images) <= limit else None
    for i in range(len(images)):
        try:
            found = images.image(i)
        except DataError:
            if not skip_bad:
                raise
            continue
        good.append(i)
        if kept is not None:
            kept.append(found)
    if not good:
        raise DataError(f"none of the {len(images)} pictures of {images.root} can be decoded")
    return (images.select(good) if kept is None else Decoded(np.stack(kept))), len(images) - len(good)
