"""Model folders: ``config.json``, safetensors files, JSON documents (``words.json``).

A folder appears whole or not at all. Reading checks, in this order and before a tensor is allocated: the bounds of
``config.json``, the size of the file, the names, shapes and dtypes in its header, its SHA-256.
Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import safetensors
import safetensors.torch
from torch import Tensor, nn

from parvis.errors import OutputError, WeightsError
from parvis.files import new_folder
from parvis.weights.config import MAX_CONFIG_BYTES, FileRecord, FolderConfig, parse_config, parse_json
from parvis.weights.int8 import SCALE, from_int8, without_scales
from parvis.weights.shards import MAX_SHARD_BYTES, parts, split

MODEL_FILE = "model.safetensors"
MAX_DOCUMENT_BYTES = 1 << 26

Expected: TypeAlias = Mapping[str, tuple[tuple[int, ...], str]]
"""Of every tensor its shape and the kind of its dtype: ``"float"``, ``"integer"`` or ``"bool"``."""


def expectation(module: nn.Module) -> dict[str, tuple[tuple[int, ...], str]]:
    """What ``load_tensors`` must find to fill ``module``; build it on the meta device so that nothing is allocated."""
    return {name: (tuple(tensor.shape), _kind(tensor)) for name, tensor in module.state_dict().items()}


def save_folder(
    path: str | Path,
    config: FolderConfig,
    tensors_by_file: Mapping[str, Mapping[str, Tensor]],
    documents: Mapping[str, object] | None = None,
    *,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> FolderConfig:
    """Write a model folder in one piece and return its config with sizes, sums and parameter count filled in.

    ``tensors_by_file`` maps file names (``"model.safetensors"``) to state dicts, ``documents`` maps names
    (``"words.json"``) to what JSON can hold. What exceeds ``max_shard_bytes`` is divided among several files
    (``weights/shards.py``). A model folder that is already there is replaced; any other folder with
    something in it is not touched.

    Raises :class:`OutputError` if it cannot be written, :class:`WeightsError` if its config would be
    refused on reading.
    """
    target = Path(path)
    check_replaceable(target)
    shards = {
        part: held
        for name in tensors_by_file
        for part, held in split(name, tensors_by_file[name], max_shard_bytes).items()
    }
    with new_folder(target) as folder:
        for name, held in shards.items():
            plain = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in held.items()}
            try:
                safetensors.torch.save_file(plain, folder / name, metadata={"format": "pt"})
                (folder / name).chmod(0o644)  # the library writes files only their owner can read
            except safetensors.SafetensorError as error:
                raise OutputError(f"cannot write {name!r} of {str(target)!r}: {error}; is the disk full?") from error
        for name, document in (documents or {}).items():
            (folder / name).write_text(json.dumps(document, ensure_ascii=False, allow_nan=False), encoding="utf-8")
        names = [*shards, *(documents or {})]
        full = replace(
            config,
            parameters=sum(t.numel() for tensors in tensors_by_file.values() for t in without_scales(tensors).values()),
            files={name: FileRecord((folder / name).stat().st_size, _sha256(folder / name)) for name in names},
        )
        text = full.to_json()
        parse_config(text, f"config.json for {target}")
        (folder / "config.json").write_text(text, encoding="utf-8")
    return full


def load_config(path: str | Path) -> FolderConfig:
    """Read and check the ``config.json`` of a model folder. Raises :class:`WeightsError`."""
    folder = Path(path)
    file = folder / "config.json"
    if not file.is_file():
        what = "has no config.json" if folder.is_dir() else "is not a folder"
        raise WeightsError(f"{folder}: {what}, so it is no model folder; `parvis list` names the models that are here")
    return parse_config(_read(file, MAX_CONFIG_BYTES), str(file))


def load_tensors(
    path: str | Path, expected: Expected, *, file: str = MODEL_FILE, config: FolderConfig | None = None
) -> dict[str, Tensor]:
    """The tensors of one file of a model folder, or of its shards, on the CPU: exactly those ``expected``, see
    :func:`expectation`. Those stored in 8 bits (``weights/int8.py``) become float32.

    Raises :class:`WeightsError` if the file is missing, truncated, damaged or no safetensors file, or if a name, shape
    or dtype differs; before that nothing was allocated.
    """
    config = config or load_config(path)
    where, found = Path(path) / file, dict[str, tuple[tuple[int, ...], str]]()
    places = [_checked_place(Path(path), name, config) for name in parts(file, config.files)]
    for place in places:
        for name, seen in _header(place).items():
            if name in found:
                raise _differs(place, f"{name!r} is in another file as well")
            found[name] = seen
    if missing := sorted(set(expected) - set(found)):
        raise _differs(where, f"{_some(missing)} missing")
    if unexpected := sorted(set(found) - set(expected)):
        raise _differs(where, f"{_some(unexpected)} not expected")
    for name, (shape, kind) in expected.items():
        is_shape, is_kind = found[name]
        if is_shape != tuple(shape):
            raise _differs(where, f"{name!r} has shape {list(is_shape)}, expected {list(shape)}")
        if is_kind != kind:
            raise _differs(where, f"{name!r} is {is_kind}, expected {kind}")
    for place in places:
        _check_sum(place, config)
    return {name: t for place in places for name, t in from_int8(safetensors.torch.load_file(place)).items()}


def in_8_bits(path: str | Path, *, file: str = MODEL_FILE, config: FolderConfig | None = None) -> set[str]:
    """The names of the tensors of one file, or of its shards, that are stored in 8 bits. Raises as above."""
    config = config or load_config(path)
    slices = [_slices(_checked_place(Path(path), name, config)) for name in parts(file, config.files)]
    return {name.removesuffix(SCALE) for found in slices for name in found.keys() - without_scales(found).keys()}


def load_document(path: str | Path, name: str, *, config: FolderConfig | None = None) -> Any:
    """A JSON document of a model folder (``words.json``), checked against its sum. Raises :class:`WeightsError`."""
    config = config or load_config(path)
    place = _checked_place(Path(path), name, config)
    _check_sum(place, config)
    return parse_json(_read(place, MAX_DOCUMENT_BYTES), str(place))


def verify_folder(path: str | Path) -> FolderConfig:
    """Check every file of a model folder against its config; returns the config. Raises :class:`WeightsError`."""
    config = load_config(path)
    parameters = 0
    for name in config.files:
        place = _checked_place(Path(path), name, config)
        _check_sum(place, config)
        if name.endswith(".json"):
            parse_json(_read(place, MAX_DOCUMENT_BYTES), str(place))
            continue
        parameters += sum(math.prod(shape) for shape, _ in _header(place).values())
    if parameters != config.parameters:
        raise _differs(Path(path), f"holds {parameters} parameters, config.json says {config.parameters}")
    return config


def check_replaceable(target: Path) -> None:
    """Raises :class:`OutputError` if ``target`` is there and holds anything but a model folder."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    try:
        load_config(target)
    except WeightsError as error:
        raise OutputError(
            f"{str(target)!r} is there and is no Parvis model folder, so it is not replaced; choose another name"
        ) from error


def _checked_place(folder: Path, name: str, config: FolderConfig) -> Path:
    place = folder / name
    record = config.files.get(name)
    if record is None:
        raise WeightsError(f"{folder}: config.json lists no file {name!r}, only {', '.join(sorted(config.files))}")
    if not place.is_file():
        raise WeightsError(f"{place}: config.json lists this file but it is not there; fetch or copy the folder again")
    if (size := place.stat().st_size) != record.bytes:
        raise WeightsError(
            f"{place}: {size} bytes, config.json says {record.bytes}; the copy is not whole, fetch or copy it again"
        )
    return place


def _check_sum(place: Path, config: FolderConfig) -> None:
    if _sha256(place) != config.files[place.name].sha256:
        raise WeightsError(f"{place}: its SHA-256 is not the one in config.json; it is damaged, fetch or copy it again")


def _slices(place: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Of every stored tensor of a file its shape and its dtype, in the words of safetensors."""
    try:
        with safetensors.safe_open(place, framework="pt", device="cpu") as content:
            slices = {name: content.get_slice(name) for name in content.keys()}  # noqa: SIM118 (not a mapping)
            return {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(
            f"{place}: not a safetensors file ({str(error)[:120]}), and no other kind is read; fetch or export it again"
        ) from error


def _header(place: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Of every tensor its shape and the kind of its dtype once read: a matrix in 8 bits with its scales is floats."""
    found, header = _slices(place), {}
    for name, (shape, dtype) in without_scales(found).items():
        packed = dtype == "I8" and len(shape) == 2 and found.get(name + SCALE) == (shape[:1], "F32")
        header[name] = shape, "float" if packed else _kind_of_name(dtype)
    return header


def _read(place: Path, limit: int) -> bytes:
    if (size := place.stat().st_size) > limit:
        raise WeightsError(f"{place}: {size} bytes, at most {limit} are read; it is no file that Parvis wrote")
    return place.read_bytes()


def _sha256(place: Path) -> str:
    with open(place, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kind(tensor: Tensor) -> str:
    if tensor.dtype.is_floating_point:
        return "float"
    return "bool" if str(tensor.dtype) == "torch.bool" else "integer"


def _kind_of_name(dtype: str) -> str:
    return "bool" if dtype == "BOOL" else "integer" if dtype[0] in "IU" else "float"


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return f"{shown} (and {len(names) - 3} more)" if len(names) > 3 else shown


def _differs(place: Path, problem: str) -> WeightsError:
    return WeightsError(
        f"{place}: {problem}; the weights are not of the system that config.json names, export them again"
    )
