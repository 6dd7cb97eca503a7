"""Checkpoints of other code, opened without trusting them: their dictionaries of tensors, by name and shape.

Safetensors files are read as they are. ``.pt``, ``.pth`` and ``.ckpt`` files are pickles; a process of its own turns
them into safetensors first (``weights/unpickle.py``), bounded in time and size, and only what it wrote is read here.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import safetensors
from torch import Size, Tensor

from parvis.errors import WeightsError
from parvis.files import failing_as_output_error
from parvis.weights import unpickle
from parvis.weights.config import parse_json

SECONDS, BYTES_PER_SECOND = 120, 10 << 20
"""A pickle may take SECONDS, and one more for each BYTES_PER_SECOND of its size: slow disks are allowed for."""
EMA = re.compile(r"(^|_)ema(_|$)|^module_ema$|averaged", re.IGNORECASE)
SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}


@dataclass(frozen=True)
class Group:
    """One dictionary of tensors of a checkpoint.

    Attributes:
        path: the keys that lead to it, e.g. ``("trainer", "var_wo_ddp")``; empty for the file itself.
        file: the safetensors file that holds it now. names: the name as wrappers left it -> the name in the file.
        shapes: by the name as wrappers left it.
    """

    path: tuple[str, ...]
    file: Path
    names: dict[str, str]
    shapes: dict[str, Size]

    @property
    def title(self) -> str:
        return "/".join(self.path) or "the file itself"

    @property
    def ema(self) -> bool:
        """Whether its name says that it is an average over training."""
        return any(EMA.search(part) for part in self.path)

    def load(self, names: set[str]) -> dict[str, Tensor]:
        """The tensors of ``names``."""
        with safetensors.safe_open(self.file, framework="pt", device="cpu") as content:
            return {name: content.get_tensor(stored) for name, stored in self.names.items() if name in names}


def bare(name: str) -> str:
    """A parameter's name without what DDP, FSDP, ``torch.compile`` and activation checkpointing put in front."""
    parts = [part for part in name.split(".") if part not in WRAPPERS]
    while len(parts) > 1 and parts[0] == "module":
        del parts[0]
    return ".".join(parts)


@contextlib.contextmanager
def open_checkpoint(path: str | Path, scratch: Path) -> Iterator[list[Group]]:
    """The dictionaries of tensors in a checkpoint, valid within the block.

    Args:
        scratch: a folder with room for the tensors; a temporary folder is made in it and removed.

    Raises:
        WeightsError: it is missing, no checkpoint, damaged, or asks for code to be run. OutputError: no room.
    """
    place = Path(path)
    if sniff(place) == "safetensors":
        yield [_group((), place, place)]
        return
    with failing_as_output_error(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".parvis-", dir=scratch)
    with folder as name:
        yield _unpickled(place, Path(name))


def sniff(place: Path) -> str:
    """``"safetensors"`` or ``"pickle"``, by content and not by name. Raises WeightsError for anything else."""
    if place.is_dir():
        hint = "it is a Parvis model folder already" if (place / "config.json").is_file() else "give the file in it"
        raise WeightsError(f"{place}: is a folder, not a checkpoint file; {hint}")
    try:
        with open(place, "rb") as file:
            start = file.read(16)
    except OSError as error:
        raise WeightsError(f"{place}: cannot be opened ({error.strerror}); give a checkpoint file") from error
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 30:
        return "safetensors"
    if start.startswith(b"PK\x03\x04"):
        if place.suffix == ".safetensors":
            raise WeightsError(
                f"{place}: a pickle under the name of a safetensors file, so it is not opened; ask where it comes from"
            )
        _check_archive(place)
        return "pickle"
    if start[:1] == b"\x80":
        raise WeightsError(
            f"{place}: a bare pickle, or written by PyTorch before 1.6, which is not read; load it where you trust it "
            "and save it again"
        )
    raise WeightsError(
        f"{place}: no checkpoint (it starts with {start[:8]!r}); expected a safetensors file or a PyTorch .pt, .pth or "
        ".ckpt; was the download a web page?"
    )


def _check_archive(place: Path) -> None:
    """A PyTorch archive holds uncompressed records and one ``data.pkl``."""
    try:
        with zipfile.ZipFile(place) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise WeightsError(f"{place}: truncated or damaged ({error}); fetch it again") from error
    names = [entry.filename.split("/", 1)[-1] for entry in entries]
    if "data.pkl" not in names or any(name.startswith("code/") for name in names):
        raise WeightsError(
            f"{place}: an archive, but no PyTorch checkpoint of tensors; expected one made by torch.save"
        )
    total = sum(entry.file_size for entry in entries)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or total > place.stat().st_size:
        raise WeightsError(
            f"{place}: its records are compressed or overlap, which torch.save never does; it is not opened"
        )


def _unpickled(place: Path, folder: Path) -> list[Group]:
    size = place.stat().st_size
    command = [sys.executable, "-P", unpickle.__file__, str(place.resolve()), str(folder), str(2 * size + (64 << 20))]
    environment = {k: v for k, v in os.environ.items() if k != "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"}
    environment |= {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "OMP_NUM_THREADS": "1"}
    seconds = SECONDS + size / BYTES_PER_SECOND
    try:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise WeightsError(
            f"{place}: not read within {seconds:.0f} s; it is damaged, or the disk is very slow"
        ) from error
    if (said := folder / "error.json").is_file():
        raise WeightsError(f"{place}: {parse_json(said.read_bytes(), str(said))}")
    if done.returncode or not (folder / "index.json").is_file():
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        raise WeightsError(
            f"{place}: reading it failed ({last[:160]}, exit code {done.returncode}); is it damaged, or the disk full?"
        )
    index = parse_json((folder / "index.json").read_bytes(), str(folder))
    return [_group(tuple(entry["path"]), folder / entry["file"], place, entry["complex"]) for entry in index]


def _group(path: tuple[str, ...], file: Path, source: Path, unread: list[str] | None = None) -> Group:
    try:
        with safetensors.safe_open(file, framework="pt", device="cpu") as content:
            stored = {name: Size(content.get_slice(name).get_shape()) for name in content.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{source}: not a whole safetensors file ({str(error)[:120]}); fetch it again") from error
    stored |= {name: Size((-1,)) for name in unread or ()}
    names = {bare(name): name for name in stored}
    if len(names) != len(stored):
        twice = next(name for name in stored if names[bare(name)] != name)
        raise WeightsError(
            f"{source}: two tensors of {'/'.join(path) or 'the file'} are {bare(twice)!r}; keep one of them"
        )
    return Group(path, file, names, {name: stored[original] for name, original in names.items()})
