"""Authors' checkpoints into Parvis model folders: everything is explained, or nothing is written."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Size, Tensor, nn

from parvis.assemble import published
from parvis.errors import UnknownName, UsageError, WeightsError
from parvis.grid import Grid
from parvis.meta import without_memory
from parvis.precision import NAMES
from parvis.system import System
from parvis.systems import PUBLISHED
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.folder import FILE as TOKENIZER_FILE
from parvis.tokenizer.folder import config_of
from parvis.weights.checkpoint import Group, open_checkpoint
from parvis.weights.config import FolderConfig
from parvis.weights.folder import MODEL_FILE, expectation, load_config, load_tensors, save_folder
from parvis.weights.layouts import LAYOUTS, TOKENIZERS, Layout, family, layout_of
from parvis.weights.match import Match, match

Told = Callable[[Match], None]


@dataclass(frozen=True)
class Options:
    """How to convert.

    Attributes:
        ema: take the averaged weights (True), the others (False), or what the authors sample with (None).
        precision: ``fp32`` or ``bf16`` for the transformer's weights on disk; as they are stored if None.
        stretch: interpolate positions where the checkpoint is of another resolution.
        told: is given every :class:`Match`, also those that lead to an error.
    """

    ema: bool | None = None
    precision: str | None = None
    stretch: bool = False
    told: Told = lambda match: None

    def __post_init__(self) -> None:
        if self.precision is not None and self.precision not in NAMES:
            raise UnknownName("precision", self.precision, NAMES)


def convert(
    source: str | Path, name: str, out: str | Path, *, tokenizer: str | Path | None = None,
    options: Options | None = None, about: Mapping[str, str] | None = None,
) -> FolderConfig:  # fmt: skip
    """Write a model folder from a checkpoint of the authors' code; returns its config.

    Args:
        source: ``.pt``, ``.pth``, ``.ckpt`` or safetensors. name: a published system, or a name of ``TOKENIZERS``
            for a tokenizer alone. out: the folder; a model folder that is there is replaced.
        tokenizer: the tokenizer's checkpoint, or a Parvis folder with one; may be left out where ``source`` holds both.
        about: free texts for ``config.json``.

    Raises:
        UnknownName: no such system. WeightsError: the checkpoint cannot be read, or does not fit in every name and
        shape; then nothing is written. OutputError: the folder cannot be written.
    """
    options = options or Options()
    place, target = Path(source), Path(out)
    if name not in PUBLISHED and name not in TOKENIZERS:
        raise UnknownName("published system", name, {**PUBLISHED, **TOKENIZERS})
    notes = {"source": place.name, **(about or {})}
    with open_checkpoint(place, target.absolute().parent) as groups:
        notes["source sha256"] = _sha256(place)
        if name in TOKENIZERS:
            with without_memory():
                alone = TOKENIZERS[name]()
            tensors = take(groups, place, alone, layout_of(alone), "tokenizer", options)
            return save_folder(target, config_of(alone, notes), {TOKENIZER_FILE: tensors})
        with without_memory():
            system = PUBLISHED[name]()
        model = take(groups, place, system.models["main"], LAYOUTS[family(name)], "model", options, system.grid)
        if options.precision is not None:
            model = {key: _cast(tensor, NAMES[options.precision]) for key, tensor in model.items()}
        codes = _tokenizer(groups, place, system, tokenizer, target, options)
        config = replace(published(name), about={"cite": system.cite, **notes})
        return save_folder(target, config, {MODEL_FILE: model, TOKENIZER_FILE: codes})


def take(
    groups: Sequence[Group], source: Path, module: nn.Module, layout: Layout, part: str, options: Options,
    grid: Grid | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """The tensors of ``module`` out of the dictionaries of a checkpoint, under our names and in our shapes."""
    needed = {name: Size(shape) for name, (shape, _) in expectation(module).items()}
    group, found = choose(groups, source, needed, layout, part, options.ema)
    stretched: dict[str, Size] = {}
    if options.stretch and layout.stretch and grid is not None:
        found, stretched = _allow_stretch(found, layout.stretch[0])
    options.told(found)
    if not found.complete:
        found.require_complete(looks_like(groups, source))
    names = dict(found.matched)
    loaded = group.load(set(names))
    tensors: dict[str, Tensor] = {}
    for theirs, ours in found.matched:
        if ours in stretched and layout.stretch and grid is not None:
            tensors[ours] = _stretch(loaded[theirs], needed[ours], grid, layout.stretch[1], source)
        else:
            tensors[ours] = loaded[theirs].reshape(needed[ours])
    return _of_kind(tensors, module, source)


def choose(
    groups: Sequence[Group], source: Path, needed: Mapping[str, Size], layout: Layout, part: str, ema: bool | None
) -> tuple[Group, Match]:
    """The dictionary that serves best: most names of ours, then the asked kind of average, then the authors' place."""
    usable = groups if ema is None else [group for group in groups if group.ema == ema]
    wanted = layout.ema if ema is None else ema

    def rank(pair: tuple[Group, Match]) -> tuple[bool, int, bool, bool]:
        group, found = pair
        return found.complete, len(found.matched), group.ema == wanted, group.path == layout.nesting

    if not usable:
        titles = ", ".join(group.title for group in groups)
        kind = "averaged (EMA)" if ema else "not averaged"
        raise WeightsError(f"{source}: no weights that are {kind}; it holds {titles}: leave --ema and --no-ema out")
    pairs = [
        (group, match(layout.keys, group.shapes, needed, part=part, source=str(source), group=group.title))
        for group in usable
    ]
    return max(pairs, key=rank)


def looks_like(groups: Sequence[Group], source: Path) -> str:
    """What a checkpoint is instead, by comparing it with everything published; one phrase."""
    whole, short, partly = [], list[str](), set[str]()
    families = {key for key, layout in LAYOUTS.items() if any(_speaks(group, layout) for group in groups)}
    for name in (*(name for name in PUBLISHED if family(name) in families), *TOKENIZERS):
        with without_memory():
            built = TOKENIZERS[name]() if name in TOKENIZERS else PUBLISHED[name]()
        module, layout = (built, layout_of(built)) if isinstance(built, nn.Module) else (
            built.models["main"], LAYOUTS[family(name)],
        )  # fmt: skip
        needed = {key: Size(shape) for key, (shape, _) in expectation(module).items()}
        _, found = choose(groups, source, needed, layout, "", None)
        if found.complete:
            whole.append(name)
        elif not found.unexpected and not found.misshaped and len(found.matched) > len(needed) // 2:
            short.append(name)
        elif not found.unexpected and len(found.matched) > len(needed) // 2:
            partly.add(name if name in TOKENIZERS else family(name))
    if whole:
        return f"it looks like {' or '.join(whole[:4])}: give that to --system"
    if short:
        return f"it looks like a part of {' or '.join(short[:4])}: fetch it again, or ask for the whole of it"
    if partly:
        return f"its names are those of {' or '.join(sorted(partly))}, but no published size has these shapes"
    return "its names are of no system that Parvis knows"


def _speaks(group: Group, layout: Layout) -> bool:
    """Whether most names of a dictionary are this family's."""
    known = sum(layout.keys.drops(name) or layout.keys.ours(name) is not None for name in group.shapes)
    return 2 * known > len(group.shapes)


def _tokenizer(
    groups: Sequence[Group], place: Path, system: System, given: str | Path | None, target: Path, options: Options
) -> dict[str, Tensor]:
    """The tokenizer's tensors: from its own file or folder, or from the model's checkpoint if that holds them."""
    module = system.tokenizer
    layout = layout_of(module)
    own = replace(options, ema=None, stretch=False)
    if given is None:
        needed = {name: Size(shape) for name, (shape, _) in expectation(module).items()}
        if not choose(groups, place, needed, layout, "tokenizer", None)[1].complete:
            raise UsageError(
                f"{system.name} needs its tokenizer too, and {place.name} does not hold it: give its checkpoint, or a "
                "folder that Parvis wrote, with --tokenizer (`parvis list --weights` says where it is)"
            )
        return take(groups, place, module, layout, "tokenizer", own)
    if Path(given).is_dir():
        return _from_folder(Path(given), module)
    with open_checkpoint(given, target.absolute().parent) as others:
        return take(others, Path(given), module, layout, "tokenizer", own)


def _from_folder(folder: Path, tokenizer: Tokenizer) -> dict[str, Tensor]:
    config = load_config(folder)
    return load_tensors(folder, expectation(tokenizer), file=TOKENIZER_FILE, config=config)


def _allow_stretch(found: Match, table: str) -> tuple[Match, dict[str, Size]]:
    """The match with the table of positions taken out of what has another shape, and its shape."""
    ours = dict(found.matched)
    stretched = tuple(triple for triple in found.misshaped if ours[triple[0]] == table)
    rest = tuple(triple for triple in found.misshaped if triple not in stretched)
    return replace(found, misshaped=rest, stretched=stretched), {ours[name]: shape for name, shape, _ in stretched}


def _stretch(
    table: Tensor, needed: Size, grid: Grid, interpolate: Callable[[Tensor, Grid, Grid], Tensor], source: Path
) -> Tensor:
    table_PD = table.reshape(-1, needed[-1]) if table.shape[-1] == needed[-1] else table
    prefix = needed[0] - grid.tokens
    side = math.isqrt(max(0, table_PD.shape[0] - prefix))
    if table_PD.shape[-1] != needed[-1] or side < 1 or side * side != table_PD.shape[0] - prefix:
        raise WeightsError(
            f"{source}: positions {list(table.shape)} cannot be stretched to {list(needed)}: they must have the same "
            "width and come from a square picture"
        )
    return interpolate(table_PD.float(), Grid.square(side), grid).to(table.dtype)


def _of_kind(tensors: dict[str, Tensor], module: nn.Module, source: Path) -> dict[str, Tensor]:
    """Refuse a tensor of whole numbers where ours has fractions, and the other way round; refuse what is not finite."""
    for name, (_, kind) in expectation(module).items():
        tensor = tensors[name]
        if tensor.is_floating_point() != (kind == "float"):
            raise WeightsError(f"{source}: {name!r} is {tensor.dtype}, needed {kind}; are these the right weights?")
        if kind == "float" and not bool(tensor.isfinite().all()):
            raise WeightsError(f"{source}: {name!r} holds values that are not finite; fetch it again")
    return tensors


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _sha256(place: Path) -> str:
    with open(place, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
