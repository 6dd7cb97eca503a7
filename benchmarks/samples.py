"""Which captions are drawn, with which seeds and settings; pictures that are kept, so that a stopped run goes on."""

from __future__ import annotations

import hashlib
import io
import json
import math
import random
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from parvis.data.captions import phrase
from parvis.data.emoji import EmojiSet
from parvis.errors import DataError
from parvis.files import write_bytes
from parvis.noise import Noise
from parvis.output import to_uint8
from parvis.pipeline import Pipeline
from parvis.tokenizer.base import Tokenizer
from parvis.weights.config import FolderConfig

Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Wanted:
    """One picture to draw: ``index`` of its record in the data set, its caption in plain words, and its seed."""

    index: int
    prompt: str
    seed: int


def seed_of(file: str, turn: int, salt: int) -> int:
    """A seed that depends on the caption's record alone, so that a caption keeps its seed whatever else is drawn."""
    return int.from_bytes(hashlib.sha256(f"{salt} {turn} {file}".encode()).digest()[:6], "big")


def known(data: EmojiSet, split: str, vocabulary: Sequence[frozenset[str]]) -> list[int]:
    """Indices of the records of ``split`` whose captions every model knows to the last word."""
    common = frozenset.intersection(*vocabulary)
    return [i for i, r in enumerate(data.records) if r.split == split and common.issuperset(r.caption)]


def every_base(data: EmojiSet, indices: Sequence[int], n: int, salt: int) -> list[Wanted]:
    """``n`` captions, each base equally often (give or take one), its variants in turn: what the models are trained on.

    Which variant comes first, and which bases come once more, is drawn from ``salt``.
    """
    rng = random.Random(salt)
    variants: dict[str, list[int]] = defaultdict(list)
    for i in indices:
        variants[data.records[i].base].append(i)
    bases = sorted(variants)
    for base in bases:
        rng.shuffle(variants[base])
    wanted: list[Wanted] = []
    for turn in range(-(-n // max(len(bases), 1))):
        rng.shuffle(bases)
        for base in bases[: n - len(wanted)]:
            wanted.append(_wanted(data, variants[base][turn % len(variants[base])], turn, salt))
    return wanted


def each(data: EmojiSet, indices: Sequence[int], times: int, salt: int) -> list[Wanted]:
    """Every record ``times``."""
    return [_wanted(data, i, turn, salt) for i in indices for turn in range(times)]


def _wanted(data: EmojiSet, index: int, turn: int, salt: int) -> Wanted:
    record = data.records[index]
    return Wanted(index, phrase(record.caption), seed_of(record.file, turn, salt))


@dataclass(frozen=True)
class Settings:
    """What a model is sampled with, nothing left open."""

    steps: int
    guidance: float
    temperature: float
    top_k: int
    top_p: float

    def __str__(self) -> str:
        tail = f" top-k {self.top_k}" * bool(self.top_k) + f" top-p {self.top_p:g}" * (self.top_p < 1)
        return f"{self.steps} passes, guidance {self.guidance:g}, temperature {self.temperature:g}{tail}"


def settings(pipeline: Pipeline, given: Mapping[str, Any]) -> Settings:
    """The model's preset with ``given`` in place of its entries; ``steps`` are the passes that its order really has, so
    that a model whose order is fixed has the same settings whatever is asked."""
    preset, system = pipeline.system.preset, pipeline.system
    order = system.order(system.grid, given.get("steps", preset.steps), Noise([0]))
    return Settings(
        len(order.sizes),
        float(given.get("guidance", preset.guidance)),
        float(given.get("temperature", preset.sampling.temperature)),
        given.get("top_k", preset.sampling.top_k),
        float(given.get("top_p", preset.sampling.top_p)),
    )


def draw(
    pipeline: Pipeline, config: FolderConfig, wanted: Sequence[Wanted], how: Settings, folder: Path, batch: int
) -> Pictures:
    """The pictures uint8 [n, H, W, 3], from ``folder`` where the same weights drew them with the same settings before.

    :raises DataError: the model took more passes than its settings say
    """
    key = {
        "model": config.system,
        "arguments": dict(config.arguments),
        "files": {name: record.sha256 for name, record in config.files.items()},
        "precision": str(pipeline.dtype),
        "settings": asdict(how),
        "wanted": hash_of([asdict(w) for w in wanted]),
    }

    def make(low: int, high: int) -> Pictures:
        part = wanted[low:high]
        with warnings.catch_warnings():  # a caption longer than the model's slots: it was trained on it cut, too
            warnings.simplefilter("ignore", UserWarning)
            images = pipeline.generate(
                [w.prompt for w in part], seed=[w.seed for w in part], batch=batch, **asdict(how)
            )
        if images.passes != how.steps:
            raise DataError(f"{pipeline.name} took {images.passes} passes where {how.steps} were planned")
        return np.stack([np.asarray(image) for image in images])

    return _kept(folder / f"{pipeline.name}-{hash_of(key)[:12]}", key, len(wanted), make, 4 * batch)


def through(tokenizer: Tokenizer, sha256: str, images: Pictures, folder: Path, batch: int = 64) -> Pictures:
    """``images`` encoded and decoded in float32: the best that any model with this tokenizer can do."""
    key = {"tokenizer": sha256, "images": hashlib.sha256(images.tobytes()).hexdigest()}
    grid = tokenizer.grid(*images.shape[1:3])

    def make(low: int, high: int) -> Pictures:
        parts = []
        for start in range(low, high, batch):
            part = torch.from_numpy(np.array(images[start : min(start + batch, high)]))
            with torch.inference_mode():
                codes = tokenizer.encode(part.permute(0, 3, 1, 2).float().div_(127.5).sub_(1))
                parts.append(to_uint8(tokenizer.decode(codes, grid)).numpy())
        return np.concatenate(parts)

    return _kept(folder / f"tokenizer-{hash_of(key)[:12]}", key, len(images), make, 4 * batch)


def hash_of(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _kept(
    folder: Path, key: Mapping[str, object], total: int, make: Callable[[int, int], Pictures], chunk: int
) -> Pictures:
    """All pictures, a file for each ``chunk`` of them; a file that is there already, and whole, is not made again."""
    write_bytes(folder / "key.json", json.dumps(key, indent=1, sort_keys=True).encode())
    parts = []
    for low in range(0, total, chunk):
        high = min(low + chunk, total)
        path = folder / f"{low:06d}-{high:06d}.npy"
        try:
            part = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            part = make(low, high)
            buffer = io.BytesIO()
            np.save(buffer, part, allow_pickle=False)
            write_bytes(path, buffer.getvalue())
            print(f"  {folder.name}: {high} of {total}", flush=True)
        parts.append(part)
    return np.concatenate(parts)


def standard_error(values: torch.Tensor, clusters: Sequence[str]) -> float:
    """Of the mean of ``values`` [n], pictures of one drawing taken together."""
    groups: dict[str, list[float]] = defaultdict(list)
    mean = float(values.double().mean())
    for value, cluster in zip(values.tolist(), clusters, strict=True):
        groups[cluster].append(float(value) - mean)
    count = len(groups)
    if count < 2:
        return math.nan
    return math.sqrt(sum(sum(g) ** 2 for g in groups.values()) * count / (count - 1)) / len(values)
