"""Sets of pictures wherever they lie: an ADM batch, a folder of files, the shards of ``parvis sample``.

All are uint8 [N, H, W, 3] that are read a part at a time. ``digest`` names a set by its pixels alone, so that the same
pictures are the same reference in whatever they are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from parvis.data.folder import open_folder
from parvis.data.picture import read_image
from parvis.errors import DataError, UsageError
from parvis.evaluate.adm import read_batch
from parvis.evaluate.features import FeatureNet, features_of

Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Pictures:
    """``count`` pictures of ``height`` x ``width``; ``read(low, high)`` gives uint8 [n, H, W, 3].

    ``labels`` long [N] where they have classes, ``captions`` where they have any.
    """

    name: str
    count: int
    height: int
    width: int
    read: Callable[[int, int], Array]
    labels: npt.NDArray[np.int64] | None = None
    captions: tuple[str, ...] | None = None

    def parts(self, size: int = 256) -> Iterator[Array]:
        """All of them in order, ``size`` at a time."""
        for low in range(0, self.count, size):
            yield self.read(low, min(low + size, self.count))

    def some(self, count: int, seed: int = 0) -> Array:
        """``count`` of them drawn without replacement, in their order; all where there are no more."""
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(seed))[:count].sort().values
        return np.concatenate([self.read(i, i + 1) for i in order.tolist()])


def open_pictures(path: Path, resolution: int | None = None) -> Pictures:
    """What lies at ``path``: a file ``.npz`` (``arr_0``), or a folder of picture files, sub-folders being classes.

    Args:
        resolution: of the files of a folder the middle square is cut out and scaled to this; without it they must all
            have one size already. A batch has its own and must have this one.

    :raises DataError: nothing there that is pictures, or of several sizes
    """
    if path.is_file():
        images, labels = read_batch(path)
        if resolution is not None and images.shape[1:3] != (resolution, resolution):
            raise DataError(
                f"{path} has pictures of {images.shape[2]} x {images.shape[1]}, not {resolution} x {resolution}; a "
                "batch is measured as it is, because scaling changes every distance"
            )
        return of_array(path.name, images, labels)
    folder = open_folder(path, resolution or 1)
    files = [picture.path for picture in folder.pictures]
    width, height = (resolution, resolution) if resolution else read_image(files[0]).size

    def one(index: int) -> Array:
        if resolution:
            return folder.image(index)
        image = np.asarray(read_image(files[index]))
        if image.shape != (height, width, 3):
            raise DataError(
                f"{files[index]} has {image.shape[1]} x {image.shape[0]} pixels, {files[0]} {width} x {height}; give "
                "--resolution to cut and scale them alike"
            )
        return image

    labels = None
    if folder.classes and all(picture.label is not None for picture in folder.pictures):
        labels = folder.labels().numpy()
    captions = tuple(picture.caption or "" for picture in folder.pictures)
    return Pictures(
        path.name, len(files), height, width, lambda low, high: np.stack([one(i) for i in range(low, high)]), labels,
        captions if any(captions) else None,
    )  # fmt: skip


def of_array(name: str, images: Array, labels: npt.NDArray[np.int64] | None = None) -> Pictures:
    """Pictures uint8 [N, H, W, 3] that are in memory, or mapped into it."""
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[3] != 3 or not len(images):
        raise UsageError(f"pictures are uint8 [N, H, W, 3]; got {images.dtype} {list(images.shape)}")
    if labels is not None and len(labels) != len(images):
        raise DataError(f"{name}: {len(labels)} labels for {len(images)} pictures")
    count, height, width, _ = images.shape
    return Pictures(name, count, height, width, lambda low, high: np.asarray(images[low:high]), labels)


class Digest:
    """SHA-256 over height, width and the pixels of pictures, in their order."""

    def __init__(self, height: int, width: int) -> None:
        self._hash = hashlib.sha256(f"{height} {width}\n".encode())

    def add(self, images: Array) -> None:
        self._hash.update(np.ascontiguousarray(images).data)

    def hex(self) -> str:
        return self._hash.hexdigest()


def digest(pictures: Pictures) -> str:
    """The :class:`Digest` of all of them."""
    found = Digest(pictures.height, pictures.width)
    for part in pictures.parts():
        found.add(part)
    return found.hex()


def described(
    pictures: Pictures, net: FeatureNet, batch: int = 64, progress: Callable[[int], object] | None = None
) -> tuple[Tensor, str]:
    """Features float32 [N, D] and the :func:`digest`, in one reading."""
    rows, found = [], Digest(pictures.height, pictures.width)
    for part in pictures.parts(batch):
        found.add(part)
        rows.append(features_of(part, net, batch))
        if progress is not None:
            progress(sum(map(len, rows)))
    return torch.cat(rows), found.hex()
