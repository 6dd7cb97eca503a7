"""Files and folders that are whole or absent: a temporary name beside the target, fsync, rename.

Knows nothing about what is written. Every failure is an :class:`~parvis.errors.OutputError` and leaves the target as
it was.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from parvis.errors import OutputError


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write ``data`` to ``path`` in one piece, making missing folders; an existing file is replaced.

    Raises :class:`OutputError` if that cannot be done: then ``path`` is as it was before.
    """
    target = Path(path)
    with failing_as_output_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = _beside(target, "partial")
        try:
            with open(partial, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)
    return target


def make_folder(path: str | Path) -> Path:
    """Make ``path`` a folder, with its parents, unless it is one. Raises :class:`OutputError`."""
    target = Path(path)
    with failing_as_output_error(target):
        target.mkdir(parents=True, exist_ok=True)
    return target


def check_writable(path: str | Path, *, folder: bool = False) -> Path:
    """Whether ``path`` could be written as a file, or as a ``folder`` of files: before long work. Leaves nothing.

    Raises:
        OutputError: something else of that name is there, or no file can be made in the nearest folder above.
    """
    target = Path(path)
    if target.exists() and target.is_dir() != folder:
        raise _unwritable(target, "it is a file" if folder else "it is a folder")
    place = target if folder else target.parent
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise _unwritable(target, f"{str(place)!r} is a file")
    try:
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise _unwritable(target, f"no file can be made in {str(place)!r} ({error.strerror})") from error
    return target


def _unwritable(target: Path, why: str) -> OutputError:
    return OutputError(f"cannot write {str(target)!r}: {why}; choose another place")


@contextlib.contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Yield a name beside ``path``; what the block writes there takes the place of ``path`` when it ends without error.

    Raises :class:`OutputError` if something cannot be written: then ``path`` is as it was before.
    """
    target = Path(path)
    with failing_as_output_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = _beside(target, "partial")
        try:
            yield partial
            _sync_file(partial)
            os.replace(partial, target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)


@contextlib.contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``path`` when the block ends without an error.

    A folder that is already there is moved aside first and removed last, so at every moment one whole version is
    on the disk.
    Raises :class:`OutputError` if something cannot be written: then ``path`` is as it was before.
    """
    target = Path(os.path.realpath(path))
    with failing_as_output_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = _beside(target, "partial")
        partial.mkdir()
        try:
            yield partial
            for file in partial.iterdir():
                _sync_file(file)
            sync_folder(partial)
            _swap(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        sync_folder(target.parent)


@contextlib.contextmanager
def failing_as_output_error(target: Path) -> Iterator[None]:
    """Turn an OSError into an OutputError that names the target."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {str(target)!r}: {error.strerror or error}; nothing half written was left, "
            "choose a writable place with enough space and try again"
        ) from error


def _swap(new: Path, target: Path) -> None:
    if not target.exists():
        os.rename(new, target)
        return
    old = _beside(target, "old")
    os.rename(target, old)
    try:
        os.rename(new, target)
    except BaseException:
        os.rename(old, target)
        raise
    shutil.rmtree(old)


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.{suffix}")


def _sync_file(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make a rename durable; where folders cannot be opened (Windows) the file system does it in its own time."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
