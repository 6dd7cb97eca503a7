"""Reads a PyTorch checkpoint in a process of its own and writes its tensors as plain safetensors files.

    python unpickle.py CHECKPOINT FOLDER BYTES        BYTES: what it may write in all

A pickle is a program. This one is run by PyTorch's restricted reader (``weights_only=True``), which builds tensors,
plain values and ``argparse.Namespace`` and refuses everything else; there is no other way to read it here. The process
has limits on address space and file size. Nothing of Parvis is imported. It leaves in FOLDER ``index.json``, a list of
the dictionaries of tensors found, or ``error.json``, one line that says what was wrong.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

NEEDS = (2, 10)  # earlier releases of PyTorch have known holes in the restricted reader
DEPTH, DICTIONARIES = 4, 256
SKIPPED = {
    "optimizer", "optimizers", "optimizer_states", "opt", "scaler", "amp_scaler", "scheduler", "lr_scheduler",
    "lr_schedulers", "callbacks", "loops", "args", "hyper_parameters", "config",
}  # fmt: skip
GIB = 1 << 30


class Refused(Exception):
    """What is wrong with the checkpoint, in one line."""


def limit(allowed: int) -> None:
    """Bound what this process may take; where the platform has no such limits the parent's deadline remains."""
    try:
        import resource
    except ImportError:
        return
    for name, value in (("RLIMIT_AS", 3 * allowed + 64 * GIB), ("RLIMIT_FSIZE", allowed), ("RLIMIT_CORE", 0)):
        resource.setrlimit(getattr(resource, name), (value, value))


def read(path: str) -> Any:
    """The object in the checkpoint, its tensors still on the disk."""
    import torch

    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < NEEDS:
        raise Refused(
            f"reading a pickle safely needs PyTorch {NEEDS[0]}.{NEEDS[1]} or newer, this is {torch.__version__}; "
            "update it, or convert on another machine"
        )
    with torch.serialization.safe_globals([argparse.Namespace]):
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except MemoryError as error:
            raise Refused("needs more memory than its size allows, so it is damaged or hostile") from error
        except Exception as error:  # whatever the reader raises, the file cannot be used
            raise Refused(why(error)) from error


def why(error: Exception) -> str:
    """One line for an error of the restricted reader."""
    text = " ".join(str(error).split())
    found = re.search(r"GLOBAL ([\w.]+)", text) or re.search(r"class ([\w.]+)", text)
    if "weights_only" in text.lower() or "Weights only" in text:
        what = f"asks for {found[1]}" if found else "asks for more than tensors and plain values"
        return f"{what}, which could run code, so it is not opened; ask its authors for safetensors"
    return f"cannot be read ({text[:160]}); it is damaged, fetch it again"


def groups(node: Mapping[Any, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every dictionary with tensors in it, outermost first, but for those of optimizers and the like."""
    import torch

    tensors = {key: value for key, value in node.items() if isinstance(key, str) and isinstance(value, torch.Tensor)}
    if tensors:
        yield path, tensors
    for key, value in node.items():
        if isinstance(key, str) and isinstance(value, Mapping) and key.lower() not in SKIPPED and len(path) < DEPTH:
            yield from groups(value, (*path, key))


def check(name: str, tensor: Any) -> None:
    """Refuse a tensor that is not dense, or larger than what the file holds of it."""
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized:
        raise Refused(f"{name!r} is a sparse or quantised tensor, which no system here has")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise Refused(f"{name!r} says it is larger than what the file holds of it; the file is damaged or hostile")


def write(content: Any, folder: Path, allowed: int) -> None:
    """One safetensors file per dictionary of tensors, and ``index.json``."""
    import safetensors.torch

    if not isinstance(content, Mapping):
        raise Refused(f"holds a {type(content).__name__}, not a dictionary of tensors")
    index: list[dict[str, object]] = []
    total = 0
    for path, tensors in groups(content):
        for name, tensor in tensors.items():
            check(name, tensor)
        usable = {name: tensor for name, tensor in tensors.items() if not tensor.dtype.is_complex}
        total += sum(tensor.numel() * tensor.element_size() for tensor in usable.values())
        if total > allowed or len(index) == DICTIONARIES:
            raise Refused(
                f"unfolds to more than twice its size or {DICTIONARIES} dictionaries, so it is damaged or hostile"
            )
        file = f"{len(index)}.safetensors"
        written = {name: tensor.detach().contiguous().clone() for name, tensor in usable.items()}
        safetensors.torch.save_file(written, folder / file)
        index.append({"path": list(path), "file": file, "complex": sorted(set(tensors) - set(usable))})
    if not index:
        raise Refused("holds no tensors")
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")


def main(checkpoint: str, folder: str, allowed: str) -> int:
    limit(int(allowed))
    try:
        write(read(checkpoint), Path(folder), int(allowed))
    except Refused as error:
        (Path(folder) / "error.json").write_text(json.dumps(str(error)), encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
