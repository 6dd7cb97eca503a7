"""The published trainings, with the settings of their papers or of their authors' scripts.

    parvis encode 'imagenet-{000000..000639}.tar' --tokenizer vq16 --resolution 256 --flip -o runs/imagenet-256
    parvis train lpd-l-256 --data runs/imagenet-256 --device cuda --precision bf16 --accumulate 32
    parvis train list

None of these runs was made here: the results are the authors'. A smaller batch keeps the rule of the learning rate (it
is proportional to the batch), ``--depth`` and ``--width`` train a smaller model with the same settings. What differs
from the authors' training is said in each recipe's text; ``fit`` has two schedules, a cosine and a plateau with a
straight descent (``wsd``), and no drop path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from parvis.assemble import build, published
from parvis.data.codes import CodeCache
from parvis.model.transformer import Size
from parvis.system import System
from parvis.systems import PUBLISHED, SYSTEMS, arpg, llamagen, lpd, mar, nar, randar, var, xar
from parvis.tokenizer.folder import Known, arguments_of
from parvis.train import FitConfig
from parvis.train.optim import Schedule
from parvis.weights.config import FolderConfig
from recipes.common import Cut, class_names, codes_of, rebuilt, run
from recipes.families import check_kind, initialise, objective

IMAGENET = 1_281_167
"""Pictures that the published numbers of epochs are over."""


@dataclass(frozen=True)
class Training:
    """How a model was trained. Rates are per 256 pictures of batch; durations are in epochs."""

    kind: str
    """A key of ``systems.small.KINDS``."""
    epochs: float
    batch: int
    source: str
    result: str
    rate: float = 1e-4
    warmup: float = 0
    schedule: Schedule = "wsd"
    decay: float = 1.0
    """Share of the epochs that ``wsd`` goes down over."""
    last: float = 1.0
    """Rate at the end, as a share of the highest; 1 is a constant rate."""
    weight_decay: float = 0.05
    clip: float = 1.0
    dropout: float = 0.1
    """On embedded rows, attention's output and the MLP's, where the family has it."""
    drop: float = 0.1
    """Share of classes replaced by the null class."""
    ema: float = 0.0
    crop: Literal["centre", "ten"] = "centre"
    flip: bool = True
    other: str = ""
    """What the authors' training has and this has not."""

    def text(self, name: str) -> str:
        """The docstring of the recipe."""
        rate = self.rate * self.batch / 256
        first = f"{name}: {self.epochs:.0f} epochs, batch {self.batch}, rate {rate:g}; {self.result}."
        other = f"\n\nNot as there: {self.other}." if self.other else ""
        return (
            f"{first}\n\nSettings: {self.source}.{other}\n\nThe result is the authors'; this recipe was not run whole."
        )

    def config(
        self, pictures: int, batch: int | None = None, steps: int | None = None, out: Path | None = None, **machine: Any
    ) -> FitConfig:
        """For a data set of ``pictures``; ``batch`` and ``steps`` as published unless given."""
        batch = batch or self.batch
        total = steps or max(1, round(self.epochs * pictures / batch))
        return FitConfig(
            steps=total, batch=batch, lr=self.rate * batch / 256, warmup=round(total * self.warmup / self.epochs),
            schedule=self.schedule, decay=self.decay, floor=self.last, weight_decay=self.weight_decay, clip=self.clip,
            ema=self.ema, out=out, sample_every=max(1, total // 100), **machine,
        )  # fmt: skip


def _lpd(batch: int, result: str) -> Training:
    return Training(
        "lpd", 450, batch, "LPD's paper (arXiv 2507.01957, section 4.1) and training script", result, warmup=50,
        decay=50 / 450, last=1e-5 / (1e-4 * batch / 256), weight_decay=0.02, clip=3.0,
        other="the last 50 epochs go down in a straight line instead of half a cosine",
    )  # fmt: skip


def _llamagen(result: str) -> Training:
    return Training(
        "raster", 300, 256, "LlamaGen's training script (arXiv 2406.06525)", result, crop="ten", flip=False,
        other="the authors also cut at 1.05 times the size",
    )  # fmt: skip


def _par(batch: int, result: str) -> Training:
    return Training(
        "par", 300, batch, "PAR's paper (arXiv 2412.15119); its script has a constant rate and no warm-up", result,
        warmup=15, schedule="cosine", last=0.0, crop="ten", flip=False, other="dropout on attention's weights",
    )  # fmt: skip


def _nar(result: str) -> Training:
    return Training(
        "nar", 300, 256, "NAR's paper and script (arXiv 2503.10696)", result, decay=0.5, last=0.008, crop="ten",
        flip=False,
        other="the rate goes down in a straight line over the second half, there by 0.2 at 1/2, 2/3 and 5/6",
    )  # fmt: skip


def _arpg(result: str) -> Training:
    return Training(
        "arpg", 400, 1024, "ARPG's training script (arXiv 2503.10568)", result, warmup=100, schedule="cosine",
        last=1e-5 / 4e-4,
    )  # fmt: skip


def _randar(result: str) -> Training:
    epochs = 360_000 * 1024 / IMAGENET
    return Training(
        "randar", epochs, 1024, "RandAR's script (arXiv 2412.01827): 360,000 steps; the paper has a constant rate",
        result, warmup=epochs * 50 / 360, schedule="cosine", last=0.05,
        other="steps whose gradient norm is above 10 are left out there",
    )  # fmt: skip


def _mar(result: str) -> Training:
    return Training(
        "mar", 800, 2048, "MAR's paper (arXiv 2406.11838); batch, warm-up, weight decay and clipping from memory of "
        "its README, not checked again", result, warmup=100, weight_decay=0.02, clip=3.0, ema=0.9999,
        other="dropout on attention's weights",
    )  # fmt: skip


def _xar(result: str) -> Training:
    return Training(
        "xar", 800, 2048, "xAR's paper (arXiv 2502.20388); its schedule is not known (an open issue suspects it "
        "behind a run at 3.11), so warm-up, weight decay and clipping are MAR's", result, rate=5e-5, warmup=100,
        weight_decay=0.02, clip=3.0, dropout=0.0, ema=0.9999,
    )  # fmt: skip


def _var(epochs: int, batch: int, result: str, deep: bool = False) -> Training:
    return Training(
        "var", epochs, batch, "VAR's training script (arXiv 2404.02905)", result, rate=8e-5 if deep else 1e-4,
        warmup=epochs / 50, decay=0.931, last=0.01 if deep else 0.1, clip=2.0, dropout=0.0, flip=False,
        other="random crops at 1.125 times the size (a cache holds centre crops), drop path, "
        "weight decay that grows to 0.08 for d30, float16",
    )  # fmt: skip


TRAININGS: dict[str, Training] = {
    "lpd-l-256": _lpd(2048, "FID 2.40 in 20 passes"),
    "lpd-xl-256": _lpd(1024, "FID 2.10 in 20 passes"),
    "lpd-xxl-256": _lpd(1024, "FID 2.00 in 20 passes"),
    "llamagen-b-256": _llamagen("FID 5.46"),
    "llamagen-l-256": _llamagen("FID 3.80"),
    "llamagen-l-384": _llamagen("FID 3.07"),
    "llamagen-xl-384": _llamagen("FID 2.62"),
    "llamagen-xxl-384": _llamagen("FID 2.34"),
    "llamagen-3b-384": _llamagen("FID 2.18"),
    "par-l-384-4x": _par(256, "FID 3.76"),
    "par-xl-384-4x": _par(256, "FID 2.61"),
    "par-xxl-384-4x": _par(512, "FID 2.35"),
    "par-3b-384-4x": _par(512, "FID 2.29"),
    "nar-b-256": _nar("FID 4.65"),
    "nar-m-256": _nar("FID 3.27"),
    "nar-l-256": _nar("FID 3.06"),
    "nar-xl-256": _nar("FID 2.70"),
    "nar-xxl-256": _nar("FID 2.58"),
    "arpg-l-256": _arpg("FID 2.37 (released, 64 passes)"),
    "arpg-xl-256": _arpg("FID 1.99 (released, 64 passes)"),
    "arpg-xxl-256": _arpg("FID 1.86 (released, 64 passes)"),
    "randar-l-256": _randar("FID 2.55 (paper), 2.65 (released)"),
    "randar-xl-256": _randar("FID 2.25 (paper), 2.27 (released)"),
    "mar-b-256": _mar("FID 2.31"),
    "mar-l-256": _mar("FID 1.78"),
    "mar-h-256": _mar("FID 1.55"),
    "xar-b-256": _xar("FID 1.72 (from memory)"),
    "xar-h-256": _xar("FID 1.24"),
    "var-d16-256": _var(200, 768, "FID 3.55 (released)"),
    "var-d20-256": _var(250, 768, "FID 2.95 (released)"),
    "var-d24-256": _var(350, 768, "FID 2.33 (released)", deep=True),
    "var-d30-256": _var(350, 1024, "FID 1.97 (released)", deep=True),
}
"""By the name of the system in ``parvis list``."""
SIZES: dict[str, dict[str, Size]] = {
    "lpd": lpd.SIZES, "raster": llamagen.SIZES, "par": llamagen.SIZES, "nar": nar.SIZES, "arpg": arpg.SIZES,
    "randar": randar.SIZES, "mar": mar.SIZES, "xar": xar.SIZES, "var": var.SIZES,
}  # fmt: skip


def training(name: str) -> Callable[..., None]:
    """The recipe that trains the published system ``name``."""
    how = TRAININGS[name]

    def recipe(
        data: Path,
        out: Path,
        *,
        tokenizer: Path | None = None,
        steps: int | None = None,
        batch: int | None = None,
        depth: int | None = None,
        width: int | None = None,
        device: str = "cpu",
        precision: Literal["fp32", "bf16"] = "fp32",
        accumulate: int = 1,
        skip_bad: bool = False,
    ) -> None:
        whole = depth is None and width is None
        resolution = int(str(published(name).arguments.get("resolution", 256))) if whole else None
        cut = Cut(resolution, how.crop, how.flip, skip_bad, strict=True)
        cache, codec, _ = codes_of(data, tokenizer, out, cut, device)
        check_kind(how.kind, codec)
        assert isinstance(codec, Known)
        folder = described(name, cache, codec, depth, width)
        torch.manual_seed(0)
        system = rebuilt(materialised(folder), codec)
        initialise(how.kind, system.models["main"])
        with_dropout(system.models["main"], how.dropout)
        identity = {"codes": cache.identity, "system": system.name}
        machine = {"device": device, "precision": precision, "accumulate": accumulate, "identity": identity}
        run(
            system,
            folder,
            cache,
            objective(how.kind, system),
            how.config(len(cache), batch, steps, out, **machine),
            how.drop,
        )

    recipe.__doc__ = how.text(name)
    return recipe


def described(name: str, cache: CodeCache, codec: Known, depth: int | None, width: int | None) -> FolderConfig:
    """The published system, with the data's number of classes; or, smaller or with another tokenizer, its like."""
    config, how = published(name), TRAININGS[name]
    classes = class_names(cache)
    plain = build(config).tokenizer
    if depth is None and width is None and arguments_of(codec) == arguments_of(plain):  # type: ignore[arg-type]
        count = classes if isinstance(classes, int) else len(classes)
        return FolderConfig(config.system, {**config.arguments, "classes": count})
    size = SIZES[how.kind][str(config.arguments["size"])]
    width = width or size.width
    heads = size.heads if width == size.width else max(1, width // (size.width // size.heads))
    arguments: dict[str, Any] = {
        "kind": how.kind, "resolution": cache.manifest.resolution, "depth": depth or size.depth, "width": width,
        "heads": heads, "classes": classes, "tokenizer": arguments_of(codec),
    }  # fmt: skip
    return FolderConfig("small", arguments)


def materialised(folder: FolderConfig) -> System:
    """The system that the folder describes, with memory."""
    return SYSTEMS[folder.system](**folder.arguments)


def with_dropout(model: nn.Module, share: float) -> None:
    """Set the share of values that the model's own layers drop in training."""
    for module in model.modules():
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = share  # type: ignore[assignment]


TRAINED = {name: training(name) for name in TRAININGS}
assert set(TRAININGS) <= set(PUBLISHED), "a training of a system that there is not"
