"""Small models of one's own pictures, a family each: sized for a CPU or one GPU, classes counted from the data.

    parvis tokenizer train small --data PICTURES -o runs/tok
    parvis encode PICTURES --tokenizer runs/tok/model --flip -o runs/codes
    parvis train lpd-small --data runs/codes -o runs/lpd
    parvis generate CLASS --model runs/lpd/model

``mar-small`` and ``xar-small`` need a cache of a ``kl-small`` tokenizer, ``var-small`` one of ``multiscale-small``. No
result is claimed for any of them: what they reach depends on the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from parvis.data.codes import CodeCache
from parvis.system import System
from parvis.systems.small import small
from parvis.tokenizer.folder import Known, arguments_of
from parvis.train import FitConfig
from parvis.weights.config import FolderConfig
from recipes.captions import Texts
from recipes.common import Cut, class_names, codes_of, rebuilt, run
from recipes.families import check_kind, initialise, objective

ABOUT = {
    "arpg": "ARPG: any order, queries that only read; classes from the data.",
    "lpd": "LPD: any order, groups that grow; classes from the data.",
    "mar": "MAR: masked latents with a diffusion head (needs a kl-small tokenizer); classes from the data.",
    "maskgit": "MaskGIT: masked codes, the surest kept; classes from the data.",
    "nar": "NAR: diagonal by diagonal; classes from the data.",
    "par": "PAR: one token of each of four regions; classes from the data.",
    "randar": "RandAR: any order, one after the other in training; classes from the data.",
    "raster": "LlamaGen: raster order, the baseline; classes from the data.",
    "var": "VAR: coarse to fine (needs a multiscale-small tokenizer); classes from the data.",
    "xar": "xAR: cells of latents by flow matching (needs a kl-small tokenizer); classes from the data.",
}
STEPS, BATCH = 6000, 16
DROP = 0.1
"""Share of classes replaced by the null class, for guidance."""


class Lesson(NamedTuple):
    """What a small model learns of its pictures beside their codes.

    Attributes:
        arguments: of the system, that follow from the data. told: what to say of it, if anything. texts: the captions
            that condition the model; classes do where there are none.
    """

    arguments: Mapping[str, Any]
    told: str | None
    texts: Texts | None = None


def recipe_of(
    family: str, build: Callable[..., System], kind: str, about: str, learn: Callable[[CodeCache], Lesson], flip: bool
) -> Callable[..., None]:
    """The recipe of one small model: 6 blocks of width 256, AdamW, averaged weights.

    Args:
        family: the name of ``build`` in a model folder. kind: of the model, e.g. ``lpd``. flip: whether pictures are
            also shown mirrored.
    """

    def recipe(
        data: Path,
        out: Path,
        *,
        tokenizer: Path | None = None,
        resolution: int | None = None,
        steps: int = STEPS,
        batch: int = BATCH,
        lr: float = 1e-3,
        depth: int = 6,
        width: int = 256,
        device: str = "cpu",
        skip_bad: bool = False,
    ) -> None:
        cache, codec, _ = codes_of(data, tokenizer, out, Cut(resolution, flip=flip, skip_bad=skip_bad), device)
        check_kind(kind, codec)
        assert isinstance(codec, Known)
        lesson = learn(cache)
        if lesson.told:
            print(lesson.told)
        arguments: dict[str, Any] = dict(
            kind=kind, resolution=cache.manifest.resolution, depth=depth, width=width, heads=max(1, width // 64),
            **lesson.arguments, tokenizer=arguments_of(codec),
        )  # fmt: skip
        torch.manual_seed(0)
        system = rebuilt(build(**arguments), codec)
        initialise(kind, system.models["main"])
        identity = {"codes": cache.identity, "system": system.name}
        config = settings(steps, batch, lr, out, device, identity)
        run(system, FolderConfig(family, arguments), cache, objective(kind, system), config, DROP, lesson.texts)

    recipe.__doc__ = about
    return recipe


def of_family(kind: str) -> Callable[..., None]:
    """The recipe of one family that learns classes."""

    def learn(cache: CodeCache) -> Lesson:
        return Lesson({"classes": class_names(cache)}, unread(cache, kind))

    return recipe_of("small", small, kind, ABOUT[kind], learn, flip=True)


def settings(steps: int, batch: int, lr: float, out: Path, device: str, identity: Mapping[str, str]) -> FitConfig:
    """How every small model is trained."""
    return FitConfig(
        steps=steps, batch=batch, lr=lr, warmup=min(200, max(1, steps // 10)), schedule="wsd", decay=0.25, floor=0.02,
        ema=0.998, out=out, checkpoint_every=500, sample_every=500, device=device, identity=identity,
    )  # fmt: skip


def unread(cache: CodeCache, kind: str) -> str | None:
    """What to say where pictures have captions that this recipe leaves unread."""
    count = sum(caption is not None for _, caption in cache.pictures)
    if not count:
        return None
    learns = "their classes" if cache.manifest.classes else "the pictures alone"
    return f"{count} of the pictures have captions; {kind}-small learns {learns}, lpd-small-text learns the captions"


SMALL = {f"{kind}-small": of_family(kind) for kind in ABOUT}
