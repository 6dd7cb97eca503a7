"""With what settings the published models were trained: a table, and where each setting comes from.

Durations are in epochs, rates per 256 pictures of batch. ``published.py`` makes a recipe of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from parvis.train import FitConfig
from parvis.train.rates import Schedule

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
    """Share of the epochs that the schedule goes down over (all but ``cosine``)."""
    last: float = 1.0
    """Rate at the end, as a share of the highest; 1 is a constant rate."""
    weight_decay: float = 0.05
    last_weight_decay: float | None = None
    clip: float = 1.0
    skip_above: float | None = None
    dropout: float = 0.1
    """On embedded rows, attention's output and the MLP's, where the family has it."""
    weight_dropout: float = 0.0
    """On attention's weights."""
    drop_path: float = 0.0
    """How often the last block's branches are left out; those of the blocks before in proportion to their depth."""
    drop: float = 0.1
    """Share of classes replaced by the null class."""
    ema: float = 0.0
    crop: Literal["centre", "ten", "twenty", "anywhere"] = "centre"
    """How a cache must be cut; ``anywhere``: pictures are cut and encoded while training, so it takes no cache."""
    flip: bool = True
    start: str = ""
    """The system whose trained weights it starts from."""
    other: str = ""
    """What the authors' training has and this has not."""

    def text(self, name: str) -> str:
        """The docstring of the recipe."""
        rate = self.rate * self.batch / 256
        parts = [
            f"{name}: {self.epochs:.0f} epochs, batch {self.batch}, rate {rate:g}; {self.result}.",
            f"Settings: {self.source}.",
            f"Starts from a trained {self.start} (--start DIR)." if self.start else "",
            f"Not as there: {self.other}." if self.other else "",
            "The result is the authors'; this recipe was not run whole.",
        ]
        return "\n\n".join(part for part in parts if part)

    def config(
        self, pictures: int, batch: int | None = None, steps: int | None = None, out: Path | None = None, **machine: Any
    ) -> FitConfig:
        """For a data set of ``pictures``; ``batch`` and ``steps`` as published unless given."""
        batch = batch or self.batch
        total = steps or max(1, round(self.epochs * pictures / batch))
        return FitConfig(
            steps=total, batch=batch, lr=self.rate * batch / 256, warmup=round(total * self.warmup / self.epochs),
            schedule=self.schedule, decay=self.decay, floor=self.last, weight_decay=self.weight_decay,
            last_weight_decay=self.last_weight_decay, clip=self.clip, skip_above=self.skip_above, ema=self.ema, out=out,
            sample_every=max(1, total // 100), **machine,
        )  # fmt: skip


def _lpd(batch: int, result: str) -> Training:
    return Training(
        "lpd", 450, batch, "LPD's paper (arXiv 2507.01957, section 4.1) and training script", result, warmup=50,
        schedule="wsd-cosine", decay=50 / 450, last=1e-5 / (1e-4 * batch / 256), weight_decay=0.02, clip=3.0,
    )  # fmt: skip


def _lpd_512(size: str, batch: int, result: str) -> Training:
    return Training(
        "lpd", 50, batch, "LPD's paper (arXiv 2507.01957, section 4.1) and training script; pictures per GPU times the "
        "32 GPUs of its 256-pixel run", result, warmup=1, schedule="cosine", last=1e-5 / (1e-4 * batch / 256),
        weight_decay=0.02, clip=3.0, start=f"lpd-{size}-256",
    )  # fmt: skip


def _llamagen(result: str) -> Training:
    return Training(
        "raster", 300, 256, "LlamaGen's training script (arXiv 2406.06525)", result, crop="twenty", flip=False,
    )  # fmt: skip


def _par(batch: int, result: str) -> Training:
    return Training(
        "par", 300, batch, "PAR's paper (arXiv 2412.15119); its script has a constant rate and no warm-up", result,
        warmup=15, schedule="cosine", last=0.0, crop="ten", flip=False, weight_dropout=0.1,
    )  # fmt: skip


def _nar(result: str) -> Training:
    return Training(
        "nar", 300, 256, "NAR's paper and script (arXiv 2503.10696)", result, schedule="stairs", decay=0.5,
        last=0.2**3, crop="ten", flip=False,
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
        result, warmup=epochs * 50 / 360, schedule="cosine", last=0.05, skip_above=10.0,
    )  # fmt: skip


def _mar(result: str) -> Training:
    return Training(
        "mar", 800, 2048, "MAR's paper (arXiv 2406.11838); batch, warm-up, weight decay and clipping from memory of "
        "its README, not checked again", result, warmup=100, weight_decay=0.02, clip=3.0, ema=0.9999,
        weight_dropout=0.1,
    )  # fmt: skip


def _xar(result: str) -> Training:
    return Training(
        "xar", 800, 2048, "xAR's paper (arXiv 2502.20388); its schedule is not known (an open issue suspects it "
        "behind a run at 3.11), so warm-up, weight decay and clipping are MAR's", result, rate=5e-5, warmup=100,
        weight_decay=0.02, clip=3.0, dropout=0.0, ema=0.9999,
    )  # fmt: skip


def _var(depth: int, epochs: int, batch: int, result: str) -> Training:
    deep = depth >= 24
    return Training(
        "var", epochs, batch, "VAR's training script (arXiv 2404.02905)", result, rate=8e-5 if deep else 1e-4,
        warmup=epochs / 50, decay=0.931, last=0.01 if deep else 0.1, last_weight_decay=0.08 if depth >= 30 else None,
        clip=2.0, dropout=0.0, drop_path=0.1 * depth / 24, crop="anywhere", flip=False,
        other="float16 with a scaled loss (bfloat16, which they offer too, is --precision bf16)",
    )  # fmt: skip


TRAININGS: dict[str, Training] = {
    "lpd-l-256": _lpd(2048, "FID 2.40 in 20 passes"),
    "lpd-xl-256": _lpd(1024, "FID 2.10 in 20 passes"),
    "lpd-xxl-256": _lpd(1024, "FID 2.00 in 20 passes"),
    "lpd-l-512": _lpd_512("l", 512, "FID 2.54 in 48 passes"),
    "lpd-xl-512": _lpd_512("xl", 256, "FID 2.10 in 48 passes"),
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
    "var-d16-256": _var(16, 200, 768, "FID 3.55 (released)"),
    "var-d20-256": _var(20, 250, 768, "FID 2.95 (released)"),
    "var-d24-256": _var(24, 350, 768, "FID 2.33 (released)"),
    "var-d30-256": _var(30, 350, 1024, "FID 1.97 (released)"),
}
"""By the name of the system in ``parvis list``."""
