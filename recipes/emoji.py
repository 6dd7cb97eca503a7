"""The bundled models: Noto emoji from words, LPD and a raster baseline of the same size, data and number of images.

    parvis data fetch emoji
    parvis tokenizer train emoji
    parvis train emoji-64 --tokenizer runs/emoji-tokenizer/model
    parvis train emoji-64-raster --tokenizer runs/emoji-tokenizer/model
    parvis train emoji-128 --tokenizer runs/emoji-tokenizer/model --start runs/emoji-64/model
    parvis train emoji-128-raster --tokenizer runs/emoji-tokenizer/model --start runs/emoji-64-raster/model

What each run reached, on what machine and in how many hours, is in the model cards (src/parvis/bundled/*/README.md).
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvis.assemble import read_folder
from parvis.data.codes import CodeCache, tokenizer_hash
from parvis.data.emoji import EmojiSet, load_emoji
from parvis.data.encode import encode_dataset
from parvis.model.transformer import Transformer
from parvis.order import Order, raster
from parvis.request import Request
from parvis.schedule import group_sizes
from parvis.system import System
from parvis.systems import llamagen, lpd
from parvis.systems.emoji import emoji
from parvis.tokenizer.folder import arguments_of, load_tokenizer
from parvis.tokenizer.vqgan import VQGAN
from parvis.train import FitConfig, choose_caption, fit, weighted
from parvis.train.distributed import main_first, main_process
from parvis.train.objective import random_order, teacher_logits
from parvis.train.report import Seen
from parvis.train.watch import Watch, distance
from parvis.weights.config import FolderConfig
from parvis.weights.folder import save_folder
from parvis.weights.int8 import to_int8

STEPS = {64: (64, 32, 24, 16, 12, 10, 8, 6), 256: (256, 128, 64, 32, 24, 20, 16, 12, 8)}
"""Numbers of passes trained for, by tokens; one group table is drawn per batch (LPD section 4.1; its nine at 256)."""
DROP = 0.1
"""Share of captions replaced by the null caption, for guidance."""
PRESET = {"scale": 1.5, "temperature": 0.5, "top_p": 0.9}
"""How the models are sampled unless the caller says otherwise: of what benchmarks/compare.py --sweep
tried at 64 pixels the best for LPD and for raster alike; at 128 pixels taken over, not swept."""


def emoji_64(tokenizer: Path, out: Path, *, steps: int = 6000, batch: int = 16, lr: float = 1.2e-3) -> None:
    """LPD at 64 x 64: 64 tokens, about 8 to 10 passes."""
    train(build(tokenizer, 64, "lpd"), load_emoji(64), out, steps=steps, batch=batch, lr=lr)


def emoji_64_raster(tokenizer: Path, out: Path, *, steps: int = 6000, batch: int = 16, lr: float = 1.2e-3) -> None:
    """The raster baseline at 64 x 64: one token per pass, 64 passes."""
    train(build(tokenizer, 64, "raster"), load_emoji(64), out, steps=steps, batch=batch, lr=lr)


def emoji_128(tokenizer: Path, out: Path, *, start: Path, steps: int = 6000, batch: int = 8, lr: float = 8e-4) -> None:
    """LPD at 128 x 128: 256 tokens, 20 passes; started from emoji-64 by position interpolation."""
    system, (small, _) = build(tokenizer, 128, "lpd"), read_folder(start)
    state = {name: tensor.float() for name, tensor in small.models["main"].state_dict().items()}
    state["positions.table"] = lpd.stretched(state["positions.table"], small.grid, system.grid)
    system.models["main"].load_state_dict(state)
    train(system, load_emoji(128), out, steps=steps, batch=batch, lr=lr)


def emoji_128_raster(
    tokenizer: Path, out: Path, *, start: Path, steps: int = 6000, batch: int = 8, lr: float = 8e-4
) -> None:
    """The raster baseline at 128 x 128: 256 passes; started from emoji-64-raster, whose rotations reach further."""
    system, (small, _) = build(tokenizer, 128, "raster"), read_folder(start)
    system.models["main"].load_state_dict(small.models["main"].float().state_dict())
    train(system, load_emoji(128), out, steps=steps, batch=batch, lr=lr)


def build(tokenizer: Path, resolution: int, kind: str) -> System:
    """The system with a trained tokenizer and a fresh transformer."""
    codec = load_tokenizer(tokenizer)
    words = load_emoji(resolution).words
    system = emoji(resolution, kind, words=words.size, slots=words.slots, tokenizer=arguments_of(codec))
    system.tokenizer.load_state_dict(codec.state_dict())
    system.tokenizer.eval().requires_grad_(False)
    torch.manual_seed(0)
    (lpd if kind == "lpd" else llamagen).initialise(system.models["main"])
    return system


def train(system: System, data: EmojiSet, out: Path, *, steps: int, batch: int, lr: float) -> None:
    """Train the system's transformer on the training split and write it as a model folder, ``out/model``.

    Bases are drawn alike, then a variant of the base; no shifts and no flips.
    """
    model, tokenizer = system.models["main"], system.tokenizer
    assert isinstance(tokenizer, VQGAN)
    with main_first():
        cache = codes_of(tokenizer, data, out.parent / f"codes-{data.resolution}")
    chosen = torch.tensor([i for i, record in enumerate(data.records) if record.split == "train"])
    pick = weighted(data.select("train").weights(), batch, seed=0)
    codes, (captions, counts) = cache.codes[:, 0].long(), data.caption_table()
    lpd_kind = model.query is not None
    tables = [group_sizes(system.grid.tokens, k) for k in STEPS[system.grid.tokens]]

    def batches(step: int) -> dict[str, Tensor]:
        index = chosen[pick(step)]
        return {"codes": codes[index], "words": choose_caption(captions[index], counts[index], step)}

    def loss(module: nn.Module, examples: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        assert isinstance(module, Transformer)
        size = len(examples["codes"])
        order = random_order(size, tables, generator) if lpd_kind else raster(system.grid)
        dropped = torch.rand(size, generator=generator, device=generator.device) < DROP
        return cross_entropy(module, examples["codes"], examples["words"], order, dropped).mean()

    losses = Losses(system, data, codes, captions[:, 0], out)
    config = FitConfig(
        steps=steps, batch=batch, lr=lr, warmup=200, schedule="wsd", decay=0.25, floor=0.02, ema=0.998,
        out=out, checkpoint_every=500, checkpoint_seconds=300, sample_every=500,
        identity={"codes": cache.identity, "system": system.name},
    )  # fmt: skip
    fitted = fit(config, model, loss, batches, on_sample=losses)
    assert fitted.ema is not None
    if not main_process():
        return
    with fitted.ema.applied(model):
        export(system, data, out / "model", {"steps": str(fitted.step), "images": str(fitted.step * batch)})


def codes_of(tokenizer: VQGAN, data: EmojiSet, path: Path) -> CodeCache:
    """The data set's code cache at ``path``, made if there is none; one of another tokenizer is refused."""
    if not (path / "manifest.json").exists():
        encode_dataset(data, tokenizer, path)
    return CodeCache.open(path, tokenizer, resolution=data.resolution, flip=False)


def cross_entropy(
    model: Transformer, codes_BN: Tensor, words: Tensor, order: Order, dropped_B: Tensor | None = None
) -> Tensor:
    """Of every token, by rank, [B, N]."""
    logits = teacher_logits(model, codes_BN, words, order, dropped_B)
    targets = codes_BN.gather(1, order.batch(len(codes_BN)))
    return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")


class Losses:
    """What is looked at while training beside :class:`~parvis.train.watch.Watch`: losses by split and category."""

    def __init__(self, system: System, data: EmojiSet, codes: Tensor, captions: Tensor, out: Path) -> None:
        self.system, self.data, self.codes, self.captions, self.out = system, data, codes, captions, out
        generator = torch.Generator().manual_seed(1)
        shuffled = torch.randperm(len(data), generator=generator).tolist()
        self.parts = {
            split: [i for i in shuffled if data.records[i].split == split][:96]
            for split in ("train", "combination", "base")
        }
        seen, bases = [], set()
        for i in shuffled:
            if data.records[i].split == "train" and data.records[i].base not in bases:
                bases.add(data.records[i].base)
                seen.append(i)
        shown = seen[:40] + self.parts["combination"][:16] + self.parts["base"][:8]
        names = [data.records[i].name for i in shown]
        drawn = self.parts["train"]
        far = distance(data.images[drawn], [Request(captions[drawn], tuple(range(len(drawn))))])
        self.watch = Watch(system, Request(captions[shown], tuple(range(len(shown)))), names, out, far)

    def __call__(self, model: nn.Module, step: int) -> Seen:
        assert isinstance(model, Transformer)
        losses = {part: round(float(self._losses(model, index).mean()), 4) for part, index in self.parts.items()}
        row: dict[str, object] = {"step": step, **losses, "category": self._by_category(model)}
        with (self.out / "losses.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")
        print(row, flush=True)
        seen = self.watch(model, step)
        return Seen({**seen.values, **{f"loss_{part}": loss for part, loss in losses.items()}}, seen.pictures)

    def _losses(self, model: Transformer, index: list[int]) -> Tensor:
        generator = torch.Generator().manual_seed(2)
        size, tokens = len(index), self.system.grid.tokens
        order = raster(self.system.grid)
        if model.query is not None:
            order = random_order(size, [group_sizes(tokens, self.system.preset.steps)], generator)
        return cross_entropy(model, self.codes[index], self.captions[index], order).mean(1)

    def _by_category(self, model: Transformer) -> dict[str, float]:
        index = self.parts["train"]
        losses = self._losses(model, index).tolist()
        grouped: dict[str, list[float]] = {}
        for i, loss in zip(index, losses, strict=True):
            grouped.setdefault(self.data.records[i].category, []).append(loss)
        return {name: round(sum(values) / len(values), 2) for name, values in sorted(grouped.items())}


def export(system: System, data: EmojiSet, folder: Path, about: dict[str, str]) -> None:
    """Write the system as a model folder: the transformer in 8 bits, the tokenizer in bfloat16, the words."""
    kind = "lpd" if system.models["main"].query is not None else "raster"
    tokenizer = system.tokenizer
    assert isinstance(tokenizer, VQGAN)
    config = FolderConfig(
        system="emoji",
        arguments={
            "resolution": data.resolution,
            "kind": kind,
            "words": data.words.size,
            "slots": data.words.slots,
            "tokenizer": arguments_of(tokenizer),
            **PRESET,
        },
        words="words.json",
        about={"licence": "Apache-2.0", "data": "Noto emoji", "tokenizer": tokenizer_hash(tokenizer)} | about,
    )
    tensors = {
        "model.safetensors": to_int8(system.models["main"].state_dict()),
        "tokenizer.safetensors": {
            name: t.bfloat16() if t.is_floating_point() else t for name, t in tokenizer.state_dict().items()
        },
    }
    save_folder(
        folder, config, tensors, {"words.json": {"words": list(data.words.vocabulary), "slots": data.words.slots}}
    )
