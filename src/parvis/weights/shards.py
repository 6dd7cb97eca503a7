"""Weights in several files: ``model-00001-of-00003.safetensors`` and so on in place of one ``model.safetensors``.

``config.json`` lists every file with its sum, so no index is needed; every tensor lies whole in one of the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from parvis.errors import UsageError, WeightsError
from parvis.weights.int8 import SCALE

MAX_SHARD_BYTES = 5 * 10**9
_SUFFIX = ".safetensors"
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def parse_size(size: int | str) -> int:
    """Bytes of ``5_000_000`` or ``"5GB"`` (KB, MB, GB: powers of 1000; KiB, MiB, GiB: of 1024).

    Raises:
        UsageError: it is no size of at least one byte.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)", str(size))
    unit = _UNITS.get(match[2].upper()) if match else None
    found = int(float(match[1]) * unit) if match and unit else 0
    if found < 1:
        raise UsageError(f"{size!r} is no file size; give bytes as a number, or a text such as '5GB' or '500MB'")
    return found


def split(name: str, tensors: Mapping[str, Tensor], limit: int) -> dict[str, dict[str, Tensor]]:
    """File name -> tensors: one file ``name`` if ``tensors`` fit into ``limit`` bytes, else as many as it takes, filled
    one after the other. A tensor larger than ``limit`` gets a file of its own; scales stay with their matrix
    (``weights/int8.py``)."""
    groups: list[dict[str, Tensor]] = [{}]
    filled = 0
    for key, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        beside = key.endswith(SCALE) and key.removesuffix(SCALE) in groups[-1]
        if groups[-1] and filled + size > limit and not beside:
            groups.append({})
            filled = 0
        groups[-1][key] = tensor
        filled += size
    if len(groups) == 1:
        return {name: groups[0]}
    stem, count = name.removesuffix(_SUFFIX), len(groups)
    return {f"{stem}-{i:05d}-of-{count:05d}{_SUFFIX}": group for i, group in enumerate(groups, 1)}


def parts(name: str, files: Iterable[str]) -> list[str]:
    """The names among ``files`` that hold the tensors of ``name``: itself, or its shards in their order.

    Raises:
        WeightsError: some shards are missing from the list, or shards of several divisions are in it.
    """
    found = set(files)
    if name in found:
        return [name]
    stem = re.escape(name.removesuffix(_SUFFIX))
    shards = sorted(file for file in found if re.fullmatch(rf"{stem}-[0-9]{{5}}-of-[0-9]{{5}}{_SUFFIX}", file))
    if not shards:
        return [name]  # whoever opens it says that it is not there
    count = int(shards[0][-5 - len(_SUFFIX) : -len(_SUFFIX)])
    whole = [f"{name.removesuffix(_SUFFIX)}-{i:05d}-of-{count:05d}{_SUFFIX}" for i in range(1, count + 1)]
    if shards != whole:
        raise WeightsError(
            f"config.json lists {len(shards)} of {count} shards of {name} ({', '.join(shards[:3])} ..); the folder is "
            "not whole, fetch or export it again"
        )
    return whole
