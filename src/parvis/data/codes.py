"""Code caches: a data set encoded once by a tokenizer, with a manifest that says by which and how.

    manifest.json            what the codes were made with; classes; sizes and checksums of the files
    codes-00000.safetensors  "codes" [n, V, N], V views of every picture (for latents "mean" and "deviation"
                             [n, V, N, C], from which training draws fresh ones), and what else belongs to each picture
    pictures.jsonl           name and caption of every picture, a line each

Codes of another tokenizer or crop are the commonest cause of training that fails quietly, so opening a cache compares
the manifest with what the caller is about to use and says what differs. ``encode.py`` writes caches.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from parvis.errors import DataError, UsageError
from parvis.grid import Grid
from parvis.tokenizer.base import Tokenizer

FORMAT = 2
MANIFEST = "manifest.json"
VALUES = ("codes", "mean", "deviation")
"""What a tokenizer made of the pictures; every other tensor of a shard came with the data."""


@dataclass(frozen=True)
class Manifest:
    """What a cache was made with."""

    tokenizer: str
    """:func:`tokenizer_hash`."""
    vocabulary: int
    """0 for latents."""
    resolution: int
    crop: str
    flip: bool
    """Whether every view is followed by its mirror image (``crop`` ``ten`` has them anyway)."""
    count: int
    views: int
    scales: tuple[tuple[int, int, int], ...]
    """Of the grid."""
    classes: tuple[str, ...]
    """Names by number; empty where there are no classes."""
    skipped: int
    """Pictures that could not be decoded and were left out."""
    source: str
    """Where the pictures lay."""
    tokenizer_folder: str
    """Where the tokenizer lay; empty where nobody said."""
    shards: tuple[tuple[str, int, str], ...]
    """File, pictures, SHA-256."""
    listing: tuple[str, str] | None
    """File and SHA-256 of the names and captions; None where the pictures have none."""
    format: int = FORMAT


@dataclass(frozen=True, eq=False)
class CodeCache:
    """An opened cache. Its tensors lie on the disk and are read where they are asked for."""

    path: Path
    manifest: Manifest
    shards: tuple[dict[str, Tensor], ...]

    def __len__(self) -> int:
        return self.manifest.count

    @property
    def grid(self) -> Grid:
        return Grid(self.manifest.scales)

    @property
    def latents(self) -> bool:
        """Whether it holds mean and deviation of latents in place of codes."""
        return "codes" not in self.shards[0]

    @property
    def identity(self) -> str:
        """Short hash of everything in the cache: for ``FitConfig.identity``."""
        return hashlib.sha256(as_json(self.manifest).encode()).hexdigest()[:16]

    @cached_property
    def codes(self) -> Tensor:
        """[n, V, N], int16 or int32: convert a batch with ``.long()``."""
        if self.latents:
            raise UsageError(f"{self.path} holds latents, not codes; use a model that draws latents (mar, xar)")
        return self.column("codes")

    @property
    def extra(self) -> dict[str, Tensor]:
        """What was stored beside the values, [n, ...] each."""
        return {name: self.column(name) for name in self.shards[0] if name not in VALUES}

    def column(self, name: str) -> Tensor:
        """One tensor of all pictures, [n, ...]."""
        parts = [shard[name] for shard in self.shards]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def rows(self, name: str, index: Tensor, view: Tensor) -> Tensor:
        """Values of some pictures, [B, N, ...]: of each the view that ``view`` [B] names."""
        starts = torch.tensor([0, *(count for _, count, _ in self.manifest.shards)]).cumsum(0)
        shard = torch.searchsorted(starts, index, right=True) - 1
        inside = (index - starts[shard]).tolist()
        found = [self.shards[s][name][i, v] for s, i, v in zip(shard.tolist(), inside, view.tolist(), strict=True)]
        return torch.stack(found)

    @cached_property
    def pictures(self) -> tuple[tuple[str, str | None], ...]:
        """Name and caption of every picture; empty where the cache does not know them. :raises DataError: damaged"""
        if self.manifest.listing is None:
            return ()
        blob = _checked(self.path, *self.manifest.listing)
        try:
            rows = [json.loads(line) for line in blob.decode("utf-8").splitlines()]
            return tuple((str(row["name"]), row["caption"]) for row in rows)
        except (ValueError, KeyError, TypeError) as e:
            raise DataError(f"{self.path / self.manifest.listing[0]} is damaged ({e}); encode the data again") from e

    @classmethod
    def open(cls, path: Path | str, tokenizer: Tokenizer | None = None, **expected: Any) -> CodeCache:
        """Reads and verifies a cache.

        ``tokenizer`` must be the one that made it; ``expected`` names further manifest fields (``resolution=64,
        crop="none", flip=False``).

        :raises DataError: it is missing, damaged or made with something else; the message names each field that differs
        """
        path = Path(path)
        manifest = _read_manifest(path)
        names = {f.name for f in fields(Manifest)} - {"shards", "format", "scales", "listing"}
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
        shards = tuple(_read_shard(path, manifest, *shard) for shard in manifest.shards)
        if any(shard.keys() != shards[0].keys() for shard in shards):
            raise DataError(f"the shards of {path} hold different tensors; encode the data again")
        if sum(count for _, count, _ in manifest.shards) != manifest.count:
            raise DataError(f"{path} is damaged: its shards do not hold {manifest.count} pictures; encode again")
        return cls(path, manifest, shards)


def is_cache(path: Path | str) -> bool:
    """Whether a code cache seems to lie at ``path``."""
    return (Path(path) / MANIFEST).is_file()


def tokenizer_hash(tokenizer: Tokenizer) -> str:
    """Hash of the class and of the weights that decide codes, bit by bit: the same on every machine, another one in
    another precision. A decoder tuned afterwards leaves it as it is."""
    digest = hashlib.sha256(type(tokenizer).__name__.encode())
    for name, tensor in sorted(tokenizer.coding_state().items()):
        whole = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {whole.dtype} {tuple(whole.shape)}".encode())
        digest.update(whole.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def as_json(manifest: Manifest) -> str:
    return json.dumps(asdict(manifest), indent=1, ensure_ascii=False)


def _read_manifest(path: Path) -> Manifest:
    try:
        saved = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if saved.get("format") != FORMAT:
            raise DataError(f"{path} has format {saved.get('format')!r}, not {FORMAT}; encode the data again")
        scales = tuple((int(t), int(h), int(w)) for t, h, w in saved["scales"])
        shards = tuple((str(file), int(n), str(digest)) for file, n, digest in saved["shards"])
        listing = saved["listing"] and (str(saved["listing"][0]), str(saved["listing"][1]))
        files = [file for file, _, _ in shards] + ([listing[0]] if listing else [])
        if not shards or any(Path(file).name != file for file in files):
            raise DataError(f"{path / MANIFEST} names no shards, or shards outside its folder")
        parts = {"scales": scales, "shards": shards, "listing": listing, "classes": tuple(map(str, saved["classes"]))}
        return Manifest(**{**saved, **parts})
    except FileNotFoundError as e:
        raise DataError(f"{path} is not a code cache: it has no {MANIFEST}") from e
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise DataError(f"{path / MANIFEST} is damaged ({e}); encode the data again") from e


def _checked(path: Path, file: str, digest: str, *, read: bool = True) -> bytes:
    """The content of one file of a cache (empty without ``read``), once its checksum is the manifest's."""
    try:
        with (path / file).open("rb") as stream:
            right = hashlib.file_digest(stream, "sha256").hexdigest() == digest
        content = (path / file).read_bytes() if right and read else b""
    except OSError as e:
        raise DataError(f"{path / file} cannot be read ({e.strerror or e}); encode the data again") from e
    if not right:
        raise DataError(f"{path / file} is damaged: its checksum is not the manifest's; encode the data again")
    return content


def _read_shard(path: Path, manifest: Manifest, file: str, count: int, digest: str) -> dict[str, Tensor]:
    _checked(path, file, digest, read=False)
    try:
        tensors = load_file(path / file)
    except (OSError, ValueError, SafetensorError) as e:
        raise DataError(f"{path / file} cannot be read ({e}); encode the data again") from e
    lead = (count, manifest.views, Grid(manifest.scales).tokens)
    values = [tensors[name] for name in VALUES if name in tensors]
    if not values or any(t.shape[:3] != lead for t in values) or any(len(t) != count for t in tensors.values()):
        raise DataError(
            f"{path / file} does not hold {count} pictures in {manifest.views} views; encode the data again"
        )
    if "codes" in tensors:
        low, high = int(tensors["codes"].min()), int(tensors["codes"].max())
        if low < 0 or high >= manifest.vocabulary:
            raise DataError(
                f"{path / file} is damaged: codes {low} to {high} of {manifest.vocabulary}; encode the data again"
            )
    return tensors
