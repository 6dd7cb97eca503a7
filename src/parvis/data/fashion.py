"""Fashion-MNIST (Xiao et al., arXiv 1708.07747, MIT licence): 60,000 + 10,000 grey pictures of clothes in 10 classes.

28 x 28 pixels, framed in black to 32 x 32 and repeated over three channels. From the Debian package
``dataset-fashion-mnist``; nothing of it is executed.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from parvis.data.fetch import FASHION, Progress, cache_root, deb_member, obtain
from parvis.errors import DataError
from parvis.files import write_bytes

CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
Split = Literal["train", "test"]
SIDE, BORDER = 28, 2
_PREFIX = {"train": "train", "test": "t10k"}
_COUNT = {"train": 60_000, "test": 10_000}


@dataclass(frozen=True, eq=False)
class FashionSet:
    """One split: grey pictures uint8 [N, 28, 28] and their classes, long [N]."""

    grey: npt.NDArray[np.uint8]
    label: Tensor
    classes: tuple[str, ...] = CLASSES
    resolution: int = SIDE + 2 * BORDER

    def __len__(self) -> int:
        return len(self.grey)

    def images(self, indices: Sequence[int] | None = None) -> npt.NDArray[np.uint8]:
        """uint8 [n, 32, 32, 3]; all of them without ``indices``."""
        chosen = self.grey if indices is None else self.grey[np.asarray(indices)]
        framed = np.pad(chosen, ((0, 0), (BORDER, BORDER), (BORDER, BORDER)))
        return np.repeat(framed[..., None], 3, axis=-1)

    def pixels(self, indices: Sequence[int]) -> Tensor:
        """float32 [n, 3, 32, 32] in [-1, 1]."""
        grey = torch.from_numpy(self.grey[np.asarray(indices)]).float().div_(127.5).sub_(1)
        return F.pad(grey, (BORDER,) * 4, value=-1.0)[:, None].expand(-1, 3, -1, -1)

    def labels(self) -> Tensor:
        """long [N]."""
        return self.label


def load_fashion(split: Split = "train", root: Path | str | None = None) -> FashionSet:
    """The prepared split.

    :raises DataError: it was not fetched, or is damaged
    """
    path = cache_root(root) / "fashion" / f"{split}.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            grey, label = arrays["images"], arrays["labels"]
    except FileNotFoundError as error:
        raise DataError(f"Fashion-MNIST is not in {path.parent}; run `parvis data fetch fashion`") from error
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged ({error}); delete it and run `parvis data fetch fashion`") from error
    return FashionSet(grey, torch.from_numpy(label.astype(np.int64)))


def fetch_fashion(root: Path | str | None = None, progress: Progress = print, given: Path | str | None = None) -> Path:
    """Downloads the package (apt-get, 31 MB), checks it and writes both splits; returns their folder. ``given`` is a
    folder that already holds the package. What is already prepared is left as it is.

    :raises DataError: the client is missing, the download fails or is not the recorded file
    """
    folder = cache_root(root) / "fashion"
    if all((folder / f"{split}.npz").is_file() for split in _PREFIX):
        progress(f"Fashion-MNIST is already in {folder}")
        return folder
    package = obtain(FASHION, folder / "downloads", progress, None if given is None else Path(given).expanduser())
    for split, prefix in _PREFIX.items():
        images, labels = (_idx(package, f"{prefix}-{name}", _COUNT[split]) for name in ("images-idx3", "labels-idx1"))
        blob = io.BytesIO()
        np.savez_compressed(blob, images=images, labels=labels)
        write_bytes(folder / f"{split}.npz", blob.getvalue())
    return folder


def _idx(package: Path, name: str, count: int) -> npt.NDArray[np.uint8]:
    """One gzipped IDX file of the package: a magic number whose last byte counts dimensions, their sizes, bytes."""
    member = f"./usr/share/datasets/fashion-mnist/{name}-ubyte.gz"
    try:
        blob = gzip.decompress(deb_member(package, member, 1 << 26))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{member} of {package} is damaged ({error})") from error
    shape = (count, SIDE, SIDE) if "idx3" in name else (count,)
    header = np.frombuffer(blob[: 4 + 4 * len(shape)], ">i4")
    body = np.frombuffer(blob[4 + 4 * len(shape) :], np.uint8)
    if tuple(header[1:]) != shape or len(body) != np.prod(shape):
        raise DataError(f"{member} holds {tuple(header[1:])}, not {shape}")
    return body.reshape(shape)
