"""``parvis show``: what a model or a published system is made of."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from parvis.commands import Commands
    from parvis.system import System
    from parvis.weights.config import FolderConfig


def add(commands: Commands) -> None:
    parser = commands.add_parser("show", help="say what a model is made of", allow_abbrev=False)
    parser.add_argument("model", help="a name that `parvis list` shows, or a folder")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import torch

    from parvis.systems import PUBLISHED
    from parvis.weights.catalog import find
    from parvis.weights.folder import load_config

    facts: dict[str, str] = {}
    with torch.device("meta"):  # sizes without weights
        if args.model in PUBLISHED:
            system = PUBLISHED[args.model]()
        else:
            config = load_config(find(args.model, PUBLISHED))
            system, facts = build(config), from_folder(config)
    facts = {**of_system(system), **facts}
    width = max(map(len, facts))
    print("\n".join(f"{key:{width}}  {value}" for key, value in facts.items()))
    return 0


def build(config: FolderConfig) -> System:
    from parvis.errors import UnknownName, WeightsError
    from parvis.systems import SYSTEMS

    if config.system not in SYSTEMS:
        raise UnknownName("system in config.json", config.system, SYSTEMS)
    try:
        return SYSTEMS[config.system](**config.arguments)
    except TypeError as error:
        raise WeightsError(f"config.json does not describe a {config.system!r} system: {error}") from error


def of_system(system: System) -> dict[str, str]:
    grid, preset, factor = system.grid, system.preset, system.tokenizer.factor
    scales = "" if grid.flat else f" in {len(grid.scales)} scales"
    return {
        "name": system.name,
        "paper": system.cite,
        "draws from": system.takes,
        "pictures": f"{grid.width * factor} x {grid.height * factor} pixels",
        "tokens": f"{grid.tokens}{scales}, {system.tokenizer.vocabulary} codes",
        "passes": f"{preset.steps}",
        "guidance": f"{preset.guidance:g}",
        "sampling": f"temperature {preset.sampling.temperature:g}, top-k {preset.sampling.top_k}, "
        f"top-p {preset.sampling.top_p:g}",
        "known tokens": {"any": "any set", "prefix": "the first of its order", "none": "none"}[system.edits],
        **{f"model {name}": parameters(model) for name, model in system.models.items()},
        "tokenizer": parameters(system.tokenizer),
    }


def from_folder(config: FolderConfig) -> dict[str, str]:
    files = {f"file {name}": f"{record.bytes / 1e6:.2f} MB" for name, record in config.files.items()}
    return {**files, **config.about}


def parameters(module: nn.Module) -> str:
    return f"{sum(parameter.numel() for parameter in module.parameters()) / 1e6:.2f} M parameters"
