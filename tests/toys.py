"""Every system at toy size with random weights: what the property tests run over."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch

from parvis import guidance
from parvis.decode.denoise import denoise
from parvis.decode.parallel import parallel
from parvis.decode.refine import refine
from parvis.diffusion import Schedule, strided
from parvis.flow import times
from parvis.grid import Grid
from parvis.model.base import Model
from parvis.model.context import (
    ClassCondition,
    Features,
    FeaturesCondition,
    Given,
    LatentNullCondition,
    WordsCondition,
)
from parvis.model.transformer import Size
from parvis.order import cells, diagonals, random, raster, regions, scales
from parvis.schedule import remaining_cosine
from parvis.system import Preset, System
from parvis.systems import SYSTEMS, arpg, llamagen, lpd, mar, maskgit, nar, par, randar, var, xar
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.kl import KL, KLConfig
from parvis.tokenizer.multiscale import MultiScaleConfig, MultiScaleVQ
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.weights.config import FolderConfig
from parvis.weights.folder import save_folder

VOCABULARY, CLASSES, SIZE = 17, 5, Size(2, 32, 2, 64)
CHANNELS = 3


def _tokenizer() -> VQGAN:
    return VQGAN(VQConfig(channels=8, multipliers=(1, 1), groups=4, z_channels=8, codes=VOCABULARY, attention=False))


def _randomise(model: Model, seed: int) -> Model:
    """Weights large enough that logits differ widely and every path matters; of latents not so large that rounding
    grows from group to group."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        spread = 0.1 if parameter.dim() == 1 else 0.3 if model.channels is None else 0.2
        norms = ("norm_encoder", "norm_decoder", "norm_in") if model.channels is not None else ()
        normal = name.endswith("weight") and (".norm" in name or name.startswith(norms))
        centre = 1.0 if name.endswith("norm.weight") or normal else 0.0
        parameter.data.copy_(centre + spread * torch.randn(parameter.shape, generator=generator))
    return model.eval().requires_grad_(False)


def _system(name: str, tokenizer: Tokenizer, model: Model, **parts: object) -> System:
    options: dict[str, object] = {"decoder": parallel, "guidance": guidance.constant} | parts
    return System(name=name, cite="toy", grid=model.grid, tokenizer=tokenizer, models={"main": model}, **options)  # type: ignore[arg-type]


@lru_cache
def toy(name: str) -> System:
    """The toy system ``name``; see ``NAMES``."""
    torch.manual_seed(7)
    return BUILDERS[name]()


def _raster() -> System:
    grid = Grid.square(4)
    model = llamagen.transformer(SIZE, grid, vocabulary=VOCABULARY, condition=ClassCondition(CLASSES, SIZE.width))
    order = lambda grid, steps, noise: raster(grid)  # noqa: E731
    return _system(
        "toy-raster", _tokenizer(), _randomise(model, 1), order=order, preset=Preset(16, 2.0), edits="prefix"
    )


def _lpd() -> System:
    grid = Grid.image(4, 6)
    model = lpd.transformer(SIZE, grid, vocabulary=VOCABULARY, condition=LatentNullCondition(CLASSES, SIZE.width))
    return _system(
        "toy-lpd", _tokenizer(), _randomise(model, 2), order=lpd.locality(1.0), preset=Preset(6, 2.0),
        guidance=guidance.linear,
    )  # fmt: skip


def _words() -> System:
    grid = Grid.square(4)
    model = lpd.transformer(SIZE, grid, vocabulary=VOCABULARY, condition=WordsCondition(11, 3, SIZE.width), prefix=0)
    return _system(
        "toy-words", _tokenizer(), _randomise(model, 3), order=lpd.locality(1.0), preset=Preset(5, 2.0), takes="words"
    )


def _par() -> System:
    grid = Grid.square(4)
    model = par.transformer(SIZE, grid, 4, vocabulary=VOCABULARY, classes=CLASSES)
    order = lambda grid, steps, noise: regions(grid, 4)  # noqa: E731
    return _system("toy-par", _tokenizer(), _randomise(model, 4), order=order, preset=Preset(7, 2.0), edits="none")


def _var() -> System:
    sides = (1, 2, 3)
    grid = Grid.pyramid(sides)
    config = MultiScaleConfig(sides=sides, channels=8, multipliers=(1, 1), groups=4, z_channels=8, codes=VOCABULARY)
    model = var.transformer(SIZE, grid, vocabulary=VOCABULARY, channels=8, classes=CLASSES)
    order = lambda grid, steps, noise: scales(grid)  # noqa: E731
    return _system(
        "toy-var", MultiScaleVQ(config).eval(), _randomise(model, 5), order=order, preset=Preset(3, 2.5),
        guidance=guidance.by_group, edits="prefix",
    )  # fmt: skip


def _randar() -> System:
    grid = Grid.image(3, 5)
    model = randar.transformer(SIZE, grid, vocabulary=VOCABULARY, condition=ClassCondition(CLASSES, SIZE.width))
    return _system(
        "toy-randar", _tokenizer(), _randomise(model, 6), order=randar.anywhere, preset=Preset(6, 2.0),
        guidance=guidance.before_step,
    )  # fmt: skip


def _arpg() -> System:
    model = arpg.transformer(SIZE, Grid.image(3, 5), vocabulary=VOCABULARY, classes=CLASSES)
    return _system(
        "toy-arpg", _tokenizer(), _randomise(model, 8), order=arpg.anywhere, preset=Preset(6, 2.0),
        guidance=guidance.after_step,
    )  # fmt: skip


def _nar() -> System:
    grid = Grid.image(3, 5)
    model = nar.transformer(SIZE, grid, vocabulary=VOCABULARY, condition=ClassCondition(CLASSES, SIZE.width))
    order = lambda grid, steps, noise: diagonals(grid)  # noqa: E731
    return _system("toy-nar", _tokenizer(), _randomise(model, 9), order=order, preset=Preset(7, 2.0), edits="prefix")


def _text() -> System:
    grid = Grid.square(3)
    condition = FeaturesCondition(6, 4, SIZE.width)
    model = llamagen.transformer(SIZE, grid, vocabulary=VOCABULARY, condition=condition)
    condition.absent.normal_(generator=torch.Generator().manual_seed(6))
    order = lambda grid, steps, noise: raster(grid)  # noqa: E731
    return _system(
        "toy-text", _tokenizer(), _randomise(model, 6), order=order, preset=Preset(9, 2.0), edits="prefix",
        takes="features",
    )  # fmt: skip


def _nar_text() -> System:
    grid = Grid.image(3, 4)
    condition = FeaturesCondition(6, 4, SIZE.width)
    model = nar.transformer(SIZE, grid, vocabulary=VOCABULARY, condition=condition)
    condition.absent.normal_(generator=torch.Generator().manual_seed(12))
    order = lambda grid, steps, noise: diagonals(grid)  # noqa: E731
    return _system(
        "toy-nar-text", _tokenizer(), _randomise(model, 12), order=order, preset=Preset(6, 2.0), edits="prefix",
        takes="features",
    )  # fmt: skip


def _kl() -> KL:
    return KL(KLConfig(channels=8, multipliers=(1, 1), blocks=1, groups=4, z_channels=CHANNELS)).eval()


def _mar() -> System:
    grid = Grid.image(4, 6)
    model = mar.transformer(SIZE, grid, (2, 24), Schedule(strided(5)), channels=CHANNELS, classes=CLASSES, buffer=3)
    order = lambda grid, steps, noise: random(grid, remaining_cosine(grid.tokens, steps), noise)  # noqa: E731
    return _system("toy-mar", _kl(), _randomise(model, 6), order=order, preset=Preset(6, 2.0), guidance=mar.linear)


def _xar() -> System:
    grid = Grid.image(4, 6)
    model = xar.transformer(SIZE, grid, 2, channels=CHANNELS, classes=CLASSES)
    order = lambda grid, steps, noise: cells(grid, 2)  # noqa: E731
    return _system(
        "toy-xar", _kl(), _randomise(model, 7), order=order, preset=Preset(6, 2.0), decoder=denoise(times(3)),
        guidance=xar.by_cell, edits="prefix", passes_per_group=3,
    )  # fmt: skip


def _maskgit() -> System:
    grid = Grid.image(3, 5)
    condition = LatentNullCondition(CLASSES, SIZE.width)
    model = maskgit.transformer(SIZE, grid, vocabulary=VOCABULARY, condition=condition)
    return _system(
        "toy-maskgit", _tokenizer(), _randomise(model, 11), order=maskgit.together, preset=Preset(1, 2.0),
        decoder=refine(4, 4.5), passes_per_group=4,
    )  # fmt: skip


BUILDERS: dict[str, Callable[[], System]] = {
    "raster": _raster,
    "lpd": _lpd,
    "words": _words,
    "par": _par,
    "var": _var,
    "randar": _randar,
    "arpg": _arpg,
    "nar": _nar,
    "text": _text,
    "nar-text": _nar_text,
    "mar": _mar,
    "xar": _xar,
    "maskgit": _maskgit,
}
LATENTS, DRAFTED = ("mar", "xar"), ("maskgit",)
NAMES = tuple(name for name in BUILDERS if name not in (*LATENTS, *DRAFTED))
"""Those with codes that are drawn once; ``EVERY`` has those with latents and those that redraw codes as well."""
EVERY = (*NAMES, *LATENTS, *DRAFTED)


FAMILIES = {"raster": "llamagen", "text": "llamagen-t2i", "nar-text": "nar-t2i"}
"""Toy -> the family of parvis.systems.SYSTEMS that it is of, where that is not its own name."""


def given(system: System, batch: int) -> Given:
    """A condition for ``batch`` images, all different."""
    if system.takes == "features":
        values = torch.randn(batch, 4, 6, generator=torch.Generator().manual_seed(8))
        shown = torch.arange(4) >= 3 - torch.arange(batch)[:, None] % 4  # padding in front, of several lengths
        return Features(values * shown[:, :, None], shown)
    if system.takes == "words":
        return (torch.arange(3 * batch).reshape(batch, 3) * 3 + 1) % 11
    return torch.arange(batch) % CLASSES


def save_toy(folder: Path, *, name: str = "toy", kind: str = "lpd", resolution: int = 16) -> None:
    """Write a model folder that draws from words, with random weights; 4 x 4 pixels a token."""
    torch.manual_seed(0)
    tokenizer = {
        "channels": 8, "multipliers": [1, 2], "groups": 4, "z_channels": 8, "codes": 16, "code_dim": 4,
        "encoder_blocks": 1, "decoder_blocks": 1, "attention": False, "patch": 2,
    }  # fmt: skip
    sizes = {"resolution": resolution, "depth": 1, "width": 16, "heads": 2, "words": 4, "slots": 4, "steps": 5}
    arguments = {**sizes, "tokenizer": tokenizer, "kind": kind, "name": name}
    system = SYSTEMS["emoji"](**arguments)
    files = {
        "model.safetensors": system.models["main"].state_dict(),
        "tokenizer.safetensors": system.tokenizer.state_dict(),
    }
    words = {"words": ["apple", "green", "red"], "slots": 4}
    config = FolderConfig("emoji", arguments, "words.json", {"licence": "CC0"})
    save_folder(folder, config, files, {"words.json": words})


def save_small(folder: Path, kind: str, classes: int | list[str] = CLASSES) -> None:
    """Write a model folder that draws classes, of a family of ``parvis.systems.small``, with random weights: 4 x 4
    tokens of 4 x 4 pixels; ``var`` three scales up to that, ``mar`` and ``xar`` latents."""
    torch.manual_seed(0)
    shape = {"channels": 8, "multipliers": [1, 1, 1], "groups": 4}
    tokenizer: dict[str, object] = {**shape, "z_channels": 8, "codes": VOCABULARY}
    if kind == "var":
        tokenizer |= {"sides": [1, 2, 4]}
    elif kind in ("mar", "xar"):
        tokenizer = {**shape, "z_channels": CHANNELS, "blocks": 1}
    else:
        tokenizer |= {"attention": False}
    sizes = {"resolution": 16, "depth": 1, "width": 16, "heads": 2, "steps": 3 if kind == "xar" else 5}
    arguments = {**sizes, "kind": kind, "classes": classes, "tokenizer": tokenizer}
    system = SYSTEMS["small"](**arguments)
    for parameter in system.tokenizer.parameters():
        parameter.data.mul_(1.5)  # so that pictures differ to the eye
    files = {
        "model.safetensors": system.models["main"].state_dict(),
        "tokenizer.safetensors": system.tokenizer.state_dict(),
    }
    save_folder(folder, FolderConfig("small", arguments, None, {"licence": "CC0"}), files)
