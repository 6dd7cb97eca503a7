"""A folder of pictures as a data set: a class per sub-folder, captions from a metadata file, decoding that trusts
nothing."""

from __future__ import annotations

import csv
import json
import struct
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from parvis.errors import DataError, UsageError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
PIXEL_LIMIT = 64_000_000
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


def read_image(path: Path, limit: int = PIXEL_LIMIT) -> Image.Image:
    """A picture as RGB: turned as its EXIF data say, transparency on white, palettes, CMYK, grey and 16 bits
    converted, the first frame of many.

    :raises DataError: it has more than ``limit`` pixels (checked before decoding), is damaged or of another format
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as picture:
                if picture.width * picture.height > limit:
                    raise DataError(
                        f"{path} has {picture.width} x {picture.height} pixels, more than the limit of {limit}"
                    )
                picture.load()
                return _rgb(ImageOps.exif_transpose(picture), path)
    except Image.DecompressionBombError as e:
        raise DataError(f"{path} claims more pixels than the limit of {limit}: {e}") from e
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, LookupError, TypeError, struct.error) as e:
        raise DataError(f"{path} is not a picture that can be read ({e}); remove or replace it") from e


def _rgb(picture: Image.Image, path: Path) -> Image.Image:
    if picture.mode.startswith("I"):  # 16 bits a pixel
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(
                f"{path} has grey values outside 16 bits ({values.min()} to {values.max()}); convert it to 8 bits"
            )
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise DataError(f"{path} holds floating-point values of unknown range; convert it to 8 bits")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        ground = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        ground.alpha_composite(picture.convert("RGBA"))
        return ground.convert("RGB")
    return picture.convert("RGB")


def centre_crop(picture: Image.Image, size: int) -> Image.Image:
    """The middle square at ``size`` x ``size``, as ADM prepares ImageNet (guided diffusion, ``center_crop_arr``):
    halve with a box filter while the short side is at least twice ``size``, scale it to ``size`` (bicubic), cut the
    middle."""
    short = min(picture.size)
    if max(picture.size) > 8 * short:  # a thin strip: what is cut anyway is not scaled up first
        picture = _middle(picture, min(picture.width, 8 * short), min(picture.height, 8 * short))
    while min(picture.size) >= 2 * size:
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    scale = size / min(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
    return _middle(picture, size, size)


def _middle(picture: Image.Image, width: int, height: int) -> Image.Image:
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))
