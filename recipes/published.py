"""The published trainings, with the settings of their papers or of their authors' scripts.

    parvis encode 'imagenet-{000000..000639}.tar' --tokenizer vq16 --resolution 256 --flip -o runs/imagenet-256
    parvis train lpd-l-256 --data runs/imagenet-256 --device cuda --precision bf16 --accumulate 32
    parvis train lpd-l-512 --data runs/imagenet-512 --start runs/lpd-l-256/model
    parvis train var-d16-256 --data 'imagenet-{000000..000639}.tar' --tokenizer vae --resolution 256 --device cuda
    parvis train list

None of these runs was made here: the results are the authors'. A smaller batch keeps the rule of the learning rate (it
is proportional to the batch), ``--depth`` and ``--width`` train a smaller model with the same settings. What the
settings are and what differs from the authors' training: ``settings.py``, and each recipe's text.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from parvis.assemble import build, published, read_folder
from parvis.data.codes import CodeCache
from parvis.errors import UsageError
from parvis.model.attention import Attention
from parvis.model.block import Block, ModulatedBlock
from parvis.model.transformer import Size
from parvis.system import System
from parvis.systems import PUBLISHED, SYSTEMS, arpg, llamagen, lpd, mar, nar, randar, var, xar
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.folder import Known, arguments_of
from parvis.train.fresh import Fresh
from parvis.weights.config import FolderConfig
from parvis.weights.layouts import LAYOUTS
from recipes.common import Cut, class_names, codes_of, pictures_of, rebuilt, resolution_of, run
from recipes.families import check_kind, initialise, objective
from recipes.settings import TRAININGS, Training

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
        start: Path | None = None,
        resolution: int | None = None,
        steps: int | None = None,
        batch: int | None = None,
        depth: int | None = None,
        width: int | None = None,
        device: str = "cpu",
        precision: Literal["fp32", "bf16"] = "fp32",
        accumulate: int = 1,
        skip_bad: bool = False,
    ) -> None:
        if how.start and start is None:
            raise UsageError(f"{name} starts from a trained {how.start}: give --start DIR, its model folder")
        if depth is None and width is None:
            resolution = resolution or pixels_of(name)
        examples, codec = material(how, data, tokenizer, out, resolution, skip_bad, device)
        check_kind(how.kind, codec)
        assert isinstance(codec, Known)
        folder = described(name, examples, codec, depth, width)
        torch.manual_seed(0)
        system = rebuilt(materialised(folder), codec)
        initialise(how.kind, system.models["main"])
        if start is not None:
            take_weights(system, how.kind, start)
        with_dropout(system.models["main"], how.dropout, how.weight_dropout, how.drop_path)
        identity = {"codes": examples.identity, "system": system.name}
        machine = {"device": device, "precision": precision, "accumulate": accumulate, "identity": identity}
        run(
            system,
            folder,
            examples,
            objective(how.kind, system),
            how.config(len(examples), batch, steps, out, **machine),
            how.drop,
        )

    recipe.__doc__ = how.text(name)
    return recipe


def pixels_of(name: str) -> int:
    """Per side, of a published system."""
    return int(str(published(name).arguments.get("resolution", 256)))


def material(
    how: Training, data: Path, tokenizer: Path | None, out: Path, resolution: int | None, skip_bad: bool, device: str
) -> tuple[CodeCache | Fresh, Tokenizer]:
    """What to train on, and its tokenizer: codes of pictures that are cut as published, or pictures cut on the way."""
    if how.crop == "anywhere":
        return pictures_of(data, tokenizer, Cut(resolution, skip_bad=skip_bad))
    return codes_of(data, tokenizer, out, Cut(resolution, how.crop, how.flip, skip_bad, strict=True), device)[:2]


def take_weights(system: System, kind: str, start: Path) -> None:
    """Weights of a trained model folder; positions are interpolated where the family does so (LPD, section 4.1).

    :raises UsageError: they do not fit
    """
    trained, model, layout = read_folder(start)[0], system.models["main"], LAYOUTS.get(kind)
    state = {name: tensor.float() for name, tensor in trained.models["main"].state_dict().items()}
    if layout is not None and layout.stretch is not None:
        table, interpolate = layout.stretch
        if table in state and trained.grid != system.grid:
            state[table] = interpolate(state[table], trained.grid, system.grid)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise UsageError(
            f"{start} ({trained.name}) has not the weights of {system.name}: {first[0].strip()}; start from a model of "
            "the same family, size and classes"
        ) from error


def described(
    name: str, examples: CodeCache | Fresh, codec: Known, depth: int | None, width: int | None
) -> FolderConfig:
    """The published system, with the data's number of classes; or, smaller, with another tokenizer or number of pixels,
    its like."""
    config, how = published(name), TRAININGS[name]
    classes = class_names(examples)
    plain = build(config).tokenizer
    as_published = resolution_of(examples) == pixels_of(name) and depth is None and width is None
    if as_published and arguments_of(codec) == arguments_of(plain):  # type: ignore[arg-type]
        count = classes if isinstance(classes, int) else len(classes)
        return FolderConfig(config.system, {**config.arguments, "classes": count})
    size = SIZES[how.kind][str(config.arguments["size"])]
    width = width or size.width
    heads = size.heads if width == size.width else max(1, width // (size.width // size.heads))
    arguments: dict[str, Any] = {
        "kind": how.kind, "resolution": resolution_of(examples), "depth": depth or size.depth, "width": width,
        "heads": heads, "classes": classes, "tokenizer": arguments_of(codec),
    }  # fmt: skip
    return FolderConfig("small", arguments)


def materialised(folder: FolderConfig) -> System:
    """The system that the folder describes, with memory."""
    return SYSTEMS[folder.system](**folder.arguments)


def with_dropout(model: nn.Module, share: float, of_weights: float = 0.0, of_paths: float = 0.0) -> None:
    """Set what the model's own layers drop in training.

    Args:
        share: of values. of_weights: of attention's weights. of_paths: how often the last block's branches are left
            out; it rises from 0 at the first block in a straight line (stochastic depth).
    """
    for module in model.modules():
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = share  # type: ignore[assignment]
        if isinstance(module, Attention):
            module.weight_dropout = of_weights
    blocks = [module for module in model.modules() if isinstance(module, Block | ModulatedBlock)]
    for depth, block in enumerate(blocks):
        block.drop_path = of_paths * depth / max(1, len(blocks) - 1)


TRAINED = {name: training(name) for name in TRAININGS}
assert set(TRAININGS) <= set(PUBLISHED), "a training of a system that there is not"
