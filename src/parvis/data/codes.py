"""Code caches: a data set encoded once by a tokenizer, with a manifest that says by which and how.

    manifest.json            what the codes were made with; sizes and checksums of the shards
    codes-00000.safetensors  "codes" [n, V, N] (V = 2: as is and mirrored), and what else belongs to each picture

Codes of another tokenizer or crop are the commonest cause of training that fails quietly, so opening a cache compares
the manifest with what the caller is about to use and says what differs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from parvis.errors import DataError, UsageError
from parvis.files import new_folder
from parvis.grid import Grid
from parvis.tokenizer.base import Tokenizer

FORMAT = 1
MANIFEST = "manifest.json"
_CODES = "codes"


class Pictures(Protocol):
    """What can be encoded: :class:`~parvis.data.emoji.EmojiSet`, :class:`~parvis.data.folder.ImageFolder`, ..."""

    def __len__(self) -> int: ...

    @property
    def resolution(self) -> int: ...

    def pixels(self, indices: Sequence[int], /) -> Tensor: ...


@dataclass(frozen=True)
class Manifest:
    """What a cache was made with."""

    tokenizer: str
    """:func:`tokenizer_hash`."""
    vocabulary: int
    resolution: int
    crop: str
    flip: bool
    count: int
    scales: tuple[tuple[int, int, int], ...]
    """Of the grid."""
    shards: tuple[tuple[str, int, str], ...]
    """File, pictures, SHA-256."""
    format: int = FORMAT


@dataclass(frozen=True, eq=False)
class CodeCache:
    """An opened cache, in memory."""

    path: Path
    manifest: Manifest
    codes: Tensor
    """[n, V, N], int16 or int32: convert a batch with ``.long()``."""
    extra: dict[str, Tensor]
    """What was stored beside the codes, [n, ...] each."""

    def __len__(self) -> int:
        return self.manifest.count

    @property
    def grid(self) -> Grid:
        return Grid(self.manifest.scales)

    @property
    def identity(self) -> str:
        """Short hash of everything in the cache: for ``FitConfig.identity``."""
        return hashlib.sha256(_json(self.manifest).encode()).hexdigest()[:16]

    @classmethod
    def open(cls, path: Path | str, tokenizer: Tokenizer | None = None, **expected: Any) -> CodeCache:
        """Reads and verifies a cache.

        ``tokenizer`` must be the one that made it; ``expected`` names further manifest fields (``resolution=64,
        crop="none", flip=False``).

        :raises DataError: it is missing, damaged or made with something else; the message names each field that differs
        """
        path = Path(path)
        manifest = _read_manifest(path)
        names = {f.name for f in fields(Manifest)} - {"shards", "format", "scales"}
        if unknown := set(expected) - names:
            raise UsageError(f"a code cache has no {', '.join(sorted(unknown))}; it has {', '.join(sorted(names))}")
        if tokenizer is not None:
            expected |= {"tokenizer": tokenizer_hash(tokenizer), "vocabulary": tokenizer.vocabulary}
        found = {k: getattr(manifest, k) for k in expected}
        differ = [f"{k}: cache {found[k]!r}, wanted {v!r}" for k, v in sorted(expected.items()) if found[k] != v]
        if differ:
            raise DataError(
                f"the codes in {path} were made with something else ({'; '.join(differ)}); encode the data again"
            )
        parts = [_read_shard(path, *shard) for shard in manifest.shards]
        if any(p.keys() != parts[0].keys() for p in parts):
            raise DataError(f"the shards of {path} hold different tensors; encode the data again")
        whole = {name: torch.cat([p[name] for p in parts]) for name in parts[0]}
        codes = whole.pop(_CODES)
        low, high = int(codes.min()), int(codes.max())
        if len(codes) != manifest.count or low < 0 or high >= manifest.vocabulary:
            raise DataError(
                f"{path} is damaged: {len(codes)} pictures of {manifest.count}, codes {low} to {high} of "
                f"{manifest.vocabulary}; encode the data again"
            )
        return cls(path, manifest, codes, whole)


def tokenizer_hash(tokenizer: Tokenizer) -> str:
    """Hash of the class and of the weights that decide codes, bit by bit: the same on every machine, another one in
    another precision. A decoder tuned afterwards leaves it as it is."""
    digest = hashlib.sha256(type(tokenizer).__name__.encode())
    for name, tensor in sorted(tokenizer.coding_state().items()):
        whole = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {whole.dtype} {tuple(whole.shape)}".encode())
        digest.update(whole.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


@torch.inference_mode()
def encode_dataset(
    images: Pictures,
    tokenizer: Tokenizer,
    path: Path | str,
    *,
    crop: str = "none",
    flip: bool = False,
    extra: Mapping[str, Tensor] | None = None,
    batch: int = 64,
    shard: int = 1 << 16,
    progress: Callable[[int, int], object] | None = None,
) -> CodeCache:
    """Encodes every picture (and its mirror image with ``flip``) and writes the cache, whole or not at all; an older
    one is replaced.

    ``crop`` says how the pictures were cut ("none", "centre"); ``extra`` holds further tensors of one row per picture
    (labels, caption ids); ``progress(done, count)`` is called after each batch. Pixels as stored: no shifts, which
    would give new codes to learn.

    :raises OutputError: the cache cannot be written
    """
    extra, count = dict(extra or {}), len(images)
    wrong = [f"{k} {tuple(t.shape)}" for k, t in extra.items() if k == _CODES or not t.ndim or len(t) != count]
    if wrong or not count:
        raise UsageError(
            f"encoding needs at least one picture, and beside it tensors of {count} rows that are not named 'codes'; "
            f"got {', '.join(wrong) or 'no pictures'}"
        )
    path = Path(path)
    if path.exists() and not (path / MANIFEST).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} exists and is no code cache; it will not be replaced: give another place")
    tokenizer.eval()
    device = next((p.device for p in tokenizer.parameters()), torch.device("cpu"))
    kind = torch.int16 if tokenizer.vocabulary <= 1 << 15 else torch.int32
    grid = tokenizer.grid(images.resolution, images.resolution)
    shards: list[tuple[str, int, str]] = []
    with new_folder(path) as scratch:
        for first in range(0, count, shard):
            last, parts = min(first + shard, count), []
            for start in range(first, last, batch):
                index = range(start, min(start + batch, last))
                pixels = images.pixels(list(index)).to(device)
                views = [pixels, pixels.flip(-1)] if flip else [pixels]
                parts.append(torch.stack([tokenizer.encode(v) for v in views], dim=1).to("cpu", kind))
                if progress is not None:
                    progress(index.stop, count)
            beside = {k: t[first:last].cpu().contiguous().clone() for k, t in extra.items()}
            blob, name = save({_CODES: torch.cat(parts), **beside}), f"codes-{len(shards):05d}.safetensors"
            (scratch / name).write_bytes(blob)
            shards.append((name, last - first, hashlib.sha256(blob).hexdigest()))
        made = (tokenizer_hash(tokenizer), tokenizer.vocabulary, images.resolution, crop, flip, count)
        (scratch / MANIFEST).write_text(_json(Manifest(*made, grid.scales, tuple(shards))), encoding="utf-8")
    return CodeCache.open(path, tokenizer)


def _json(manifest: Manifest) -> str:
    return json.dumps(asdict(manifest), indent=1)


def _read_manifest(path: Path) -> Manifest:
    try:
        saved = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if saved.get("format") != FORMAT:
            raise DataError(f"{path} has format {saved.get('format')!r}, not {FORMAT}; encode the data again")
        scales = tuple((int(t), int(h), int(w)) for t, h, w in saved["scales"])
        shards = tuple((str(file), int(n), str(digest)) for file, n, digest in saved["shards"])
        if not shards or any(Path(file).name != file for file, _, _ in shards):
            raise DataError(f"{path / MANIFEST} names no shards, or shards outside its folder")
        return Manifest(**{**saved, "scales": scales, "shards": shards})
    except FileNotFoundError as e:
        raise DataError(f"{path} is not a code cache: it has no {MANIFEST}") from e
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise DataError(f"{path / MANIFEST} is damaged ({e}); encode the data again") from e


def _read_shard(path: Path, file: str, count: int, digest: str) -> dict[str, Tensor]:
    try:
        blob = (path / file).read_bytes()
        if hashlib.sha256(blob).hexdigest() != digest:
            raise DataError(f"{path / file} is damaged: its checksum is not the manifest's; encode the data again")
        tensors = load(blob)
    except (OSError, ValueError, SafetensorError) as e:
        raise DataError(f"{path / file} cannot be read ({e}); encode the data again") from e
    if _CODES not in tensors or any(len(t) != count for t in tensors.values()):
        raise DataError(f"{path / file} does not hold {count} pictures; encode the data again")
    return tensors
