"""Sample batches as guided diffusion (ADM) has them: an ``.npz`` that its evaluator, and every later one, can read.

``arr_0`` is uint8 [N, H, W, 3], ``arr_1`` the class labels, int64 [N], where there are any. Both lie in the file as
they are, without compression, so N pictures are neither made nor read in memory: 50,000 of 256 pixels are 9.8 GB.
Nothing is unpickled. Equal pictures make equal files, to the byte.
"""

from __future__ import annotations

import ast
import io
import struct
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from parvis.errors import DataError, UsageError
from parvis.files import new_file

Array = npt.NDArray[np.generic]
EPOCH = (1980, 1, 1, 0, 0, 0)
LOCAL = struct.Struct("<26xHH")
"""The end of a zip entry's local header: lengths of its name and of its extra field."""


def write_batch(
    path: Path, parts: Iterable[npt.NDArray[np.uint8]], count: int, labels: Sequence[int] | None = None
) -> Path:
    """Write ``count`` pictures that come in ``parts`` uint8 [n, H, W, 3], whole or not at all.

    :raises UsageError: other arrays, or another number of pictures or labels. OutputError: it cannot be written
    """
    if labels is not None and len(labels) != count:
        raise UsageError(f"{len(labels)} labels for {count} pictures; give one for each")
    with new_file(path) as partial, zipfile.ZipFile(partial, "x", zipfile.ZIP_STORED) as archive:
        left, size = count, None
        with archive.open(zipfile.ZipInfo("arr_0.npy", EPOCH), "w", force_zip64=True) as file:
            for part in parts:
                if part.dtype != np.uint8 or part.ndim != 4 or part.shape[1:] != (size or part.shape[1:]):
                    raise UsageError(f"pictures are uint8 [n, H, W, 3] of one size; got {part.dtype} {part.shape}")
                if size is None:
                    size = part.shape[1:]
                    _header(file, "|u1", (count, *size))
                left -= len(part)
                file.write(np.ascontiguousarray(part).data)
            if left or size is None:
                raise UsageError(f"{count} pictures were announced and {count - left} came")
        if labels is not None:
            with archive.open(zipfile.ZipInfo("arr_1.npy", EPOCH), "w", force_zip64=True) as file:
                _header(file, "<i8", (count,))
                file.write(np.asarray(labels, "<i8").tobytes())
    return path


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, Array]:
    """The arrays of ``names`` that an ``.npz`` holds; those stored as they are stay on the disk, mapped into memory.

    :raises DataError: no file, not an ``.npz``, damaged, or an array of Python objects
    """
    found: dict[str, Array] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            there = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            for name in names:
                if name in there:
                    found[name] = _read(path, archive, there[name])
    except (OSError, ValueError, zipfile.BadZipFile, KeyError, SyntaxError, NotImplementedError, struct.error) as error:
        raise DataError(
            f"{path} is not an .npz file that can be read ({error}); give one of arrays, not of Python objects"
        ) from error
    return found


def read_batch(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64] | None]:
    """Pictures uint8 [N, H, W, 3], mapped where they can be, and their labels.

    :raises DataError: as :func:`read_arrays`, or no pictures in it
    """
    arrays = read_arrays(path, ("arr_0", "arr_1"))
    images = arrays.get("arr_0")
    if images is None or images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not len(images):
        what = "no arr_0" if images is None else f"arr_0 of {images.dtype} {list(images.shape)}"
        raise DataError(f"{path} has {what}; a batch of pictures is arr_0, uint8 [N, H, W, 3]")
    labels = arrays.get("arr_1")
    return images.view(np.uint8), None if labels is None else labels.astype(np.int64)


def _header(file: IO[bytes], kind: str, shape: tuple[int, ...]) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": kind, "fortran_order": False, "shape": shape})
    file.write(buffer.getvalue())


def _read(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    if info.compress_type != zipfile.ZIP_STORED:
        with archive.open(info) as packed:
            array: Array = np.lib.format.read_array(packed, allow_pickle=False)
            return array
    with path.open("rb") as file:
        file.seek(info.header_offset)
        start = info.header_offset + 30 + sum(LOCAL.unpack(file.read(30)))
        file.seek(start)
        magic = file.read(8)
        if magic[:6] != b"\x93NUMPY":
            raise ValueError(f"{info.filename} is no array")
        width = 2 if magic[6] == 1 else 4
        length = int.from_bytes(file.read(width), "little")
        if length > 1 << 16:
            raise ValueError(f"{info.filename} has a header of {length} bytes")
        said: dict[str, Any] = ast.literal_eval(file.read(length).decode("latin1"))
        kind: np.dtype[Any] = np.dtype(said["descr"])
        shape: tuple[int, ...] = tuple(said["shape"])
        offset = file.tell()
    if kind.hasobject:
        raise ValueError(f"{info.filename} holds Python objects")
    if offset - start + kind.itemsize * int(np.prod(shape, dtype=object)) != info.file_size:
        raise ValueError(f"{info.filename} is {info.file_size} bytes, not as many as {kind} {list(shape)} takes")
    if 0 in shape:
        return np.empty(shape, kind)
    mapped: Array = np.memmap(path, kind, "r", offset, shape, "F" if said["fortran_order"] else "C")
    return mapped
