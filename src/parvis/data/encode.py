"""Encodes a data set into a code cache (``codes.py``), whole or not at all, a shard at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import save
from torch import Tensor

from parvis.data.codes import MANIFEST, VALUES, CodeCache, Manifest, as_json, tokenizer_hash
from parvis.data.crops import CROPS, SCALES
from parvis.data.images import ImageSet
from parvis.errors import DataError, UsageError
from parvis.files import new_folder
from parvis.tokenizer.base import Tokenizer

LISTING = "pictures.jsonl"


class Pictures(Protocol):
    """What can be encoded: :class:`~parvis.data.emoji.EmojiSet`, :class:`~parvis.data.images.ImageSet`, ..."""

    def __len__(self) -> int: ...

    @property
    def resolution(self) -> int: ...

    def pixels(self, indices: Sequence[int], /) -> Tensor: ...


@torch.inference_mode()
def encode_dataset(
    images: Pictures,
    tokenizer: Tokenizer,
    path: Path | str,
    *,
    crop: str = "none",
    flip: bool = False,
    extra: Mapping[str, Tensor] | None = None,
    classes: Sequence[str] = (),
    listing: Sequence[tuple[str, str | None]] = (),
    source: str = "",
    tokenizer_folder: str = "",
    skip_bad: bool = False,
    batch: int = 64,
    shard: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> CodeCache:
    """Encodes every view of every picture (and its mirror image with ``flip``) and writes the cache, whole or not at
    all; an older one is replaced. At no time more than a shard of values is in memory (256 MiB, unless ``shard`` says
    how many pictures it holds).

    ``crop`` says how the pictures were cut (an :class:`ImageSet` knows); ``extra`` holds further tensors of one row per
    picture (labels, caption ids), ``listing`` names and captions, ``classes`` the names of the labels, ``source`` and
    ``tokenizer_folder`` where the pictures and the tokenizer lie. ``skip_bad`` leaves out pictures that cannot be
    decoded, which otherwise are an error. ``progress(done, count)`` is called after each batch. Pixels as stored: no
    shifts, which would give new codes to learn.

    :raises DataError: a picture cannot be decoded; with ``skip_bad``, none can
    :raises OutputError: the cache cannot be written
    """
    extra, count, path = dict(extra or {}), len(images), Path(path)
    crop = images.crop if isinstance(images, ImageSet) else crop
    wrong = [f"{k} {tuple(t.shape)}" for k, t in extra.items() if k in VALUES or not t.ndim or len(t) != count]
    if wrong or not count or len(listing) not in (0, count):
        raise UsageError(
            f"encoding needs at least one picture, and beside it tensors of {count} rows that are not named 'codes'; "
            f"got {', '.join(wrong) or f'no pictures, or a listing of {len(listing)}'}"
        )
    if flip and crop in SCALES:
        raise UsageError(f"{crop} crops hold their mirror images already; leave the flip out")
    if path.exists() and not (path / MANIFEST).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} exists and is no code cache; it will not be replaced: give another place")
    tokenizer.eval()
    grid = tokenizer.grid(images.resolution, images.resolution)
    shard = shard or _shard(tokenizer, grid.tokens, CROPS.get(crop, 1) * (1 + flip))
    shards: list[tuple[str, int, str]] = []
    kept: list[int] = []
    views = 0
    with new_folder(path) as scratch:
        for first in range(0, count, shard):
            last, parts, good = min(first + shard, count), [], []
            for low in range(first, last, batch):
                index = range(low, min(low + batch, last))
                for numbers, pixels in _decoded(images, index, flip, skip_bad):
                    parts.append(_values(tokenizer, pixels))
                    good += numbers
                if progress is not None:
                    progress(index.stop, count)
            if not good:
                continue
            beside = {k: t[good].cpu().contiguous().clone() for k, t in extra.items()}
            blob = save({name: torch.cat([part[name] for part in parts]) for name in parts[0]} | beside)
            name = f"codes-{len(shards):05d}.safetensors"
            (scratch / name).write_bytes(blob)
            shards.append((name, len(good), hashlib.sha256(blob).hexdigest()))
            kept, views = kept + good, next(iter(parts[0].values())).shape[1]
        if not kept:
            raise DataError(f"none of the {count} pictures can be decoded")
        listed = None
        if listing:
            rows = (json.dumps({"name": n, "caption": c}, ensure_ascii=False) for n, c in (listing[i] for i in kept))
            text = ("\n".join(rows) + "\n").encode()
            (scratch / LISTING).write_bytes(text)
            listed = LISTING, hashlib.sha256(text).hexdigest()
        manifest = Manifest(
            tokenizer_hash(tokenizer), tokenizer.vocabulary, images.resolution, crop, flip, len(kept), views,
            grid.scales, tuple(classes), count - len(kept), source, tokenizer_folder,
            tuple(shards), listed,
        )  # fmt: skip
        (scratch / MANIFEST).write_text(as_json(manifest), encoding="utf-8")
    return CodeCache.open(path, tokenizer)


def encode_images(
    images: ImageSet,
    tokenizer: Tokenizer,
    path: Path | str,
    *,
    flip: bool = False,
    tokenizer_folder: str = "",
    skip_bad: bool = False,
    batch: int = 64,
    progress: Callable[[int, int], object] | None = None,
) -> CodeCache:
    """:func:`encode_dataset` with the labels, class names, captions and file names of ``images``.

    :raises DataError: as there; some pictures have a class and others have none
    """
    extra = {"label": images.labels()} if images.classes else {}
    listing = tuple(zip(images.names, images.captions(), strict=True))
    return encode_dataset(
        images, tokenizer, path, flip=flip, extra=extra, classes=images.classes, listing=listing,
        source=str(images.root.resolve()), tokenizer_folder=tokenizer_folder, skip_bad=skip_bad,
        batch=batch, progress=progress,
    )  # fmt: skip


def _shard(tokenizer: Tokenizer, tokens: int, views: int) -> int:
    """Pictures whose values take 256 MiB."""
    each = 2 if tokenizer.vocabulary <= 1 << 15 else 4
    if tokenizer.channels is not None:
        each = 8 * tokenizer.channels
    return max(1, (1 << 28) // (each * tokens * views))


def _decoded(images: Pictures, index: range, flip: bool, skip_bad: bool) -> Iterator[tuple[list[int], Tensor]]:
    """Numbers and views [n, V, 3, S, S] of the pictures; where one is bad, those beside it one by one."""
    try:
        yield list(index), _views(images, index, flip)
        return
    except DataError:
        if not skip_bad:
            raise
    for i in index:
        try:
            found = _views(images, [i], flip)
        except DataError:
            continue
        yield [i], found


def _views(images: Pictures, index: Sequence[int], flip: bool) -> Tensor:
    indices = list(index)
    views = images.views(indices) if isinstance(images, ImageSet) else images.pixels(indices)[:, None]
    return torch.cat([views, views.flip(-1)], 1) if flip else views


def _values(tokenizer: Tokenizer, views: Tensor) -> dict[str, Tensor]:
    """What the cache keeps of views [n, V, 3, S, S], [n, V, N, ...] each: codes in 16 bits where they fit."""
    device = next((p.device for p in tokenizer.parameters()), torch.device("cpu"))
    kind = torch.int16 if tokenizer.vocabulary <= 1 << 15 else torch.int32
    stored: dict[str, list[Tensor]] = {}
    for view in views.unbind(1):
        for name, values in tokenizer.stored(view.to(device)).items():
            narrow = values.float() if values.is_floating_point() else values.to(kind)
            stored.setdefault(name, []).append(narrow.cpu())
    return {name: torch.stack(parts, 1) for name, parts in stored.items()}
