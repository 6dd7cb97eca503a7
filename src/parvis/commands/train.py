"""``parvis train``: run a recipe. Recipes are Python functions in the package ``recipes``."""

from __future__ import annotations

import argparse
import inspect
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parvis.commands import Commands

OPTIONS = ("tokenizer", "start", "steps", "batch", "lr")


def add(commands: Commands) -> None:
    parser = commands.add_parser("train", help="run a training recipe, going on where it stopped", allow_abbrev=False)
    parser.add_argument("recipe", help="its name, e.g. emoji-64; `parvis train list` shows them all")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where checkpoints and samples go (runs/RECIPE)")
    parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="folder of the trained tokenizer")
    parser.add_argument("--start", type=Path, metavar="DIR", help="model folder to start from")
    parser.add_argument("--steps", type=int, help="optimizer steps in all")
    parser.add_argument("--batch", type=int, help="images per step")
    parser.add_argument("--lr", type=float, help="highest learning rate")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from parvis.errors import UnknownName, UsageError

    try:
        recipes = import_module("recipes").RECIPES
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the recipes are not installed ({error}); run from the source tree: pip install -e ."
        ) from error
    if args.recipe == "list":
        for name, recipe in sorted(recipes.items()):
            print(f"{name:18} {(recipe.__doc__ or '').strip().splitlines()[0]}")
        return 0
    if args.recipe not in recipes:
        raise UnknownName("recipe", args.recipe, recipes)
    recipe = recipes[args.recipe]
    taken = inspect.signature(recipe).parameters
    given = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    for name in given:
        if name not in taken:
            raise UsageError(
                f"the recipe {args.recipe} takes no --{name}; it takes {', '.join(f'--{t}' for t in taken)}"
            )
    missing = [n for n, p in taken.items() if p.default is p.empty and n not in given and n != "out"]
    if missing:
        raise UsageError(f"the recipe {args.recipe} needs {' and '.join(f'--{name} DIR' for name in missing)}")
    recipe(out=args.out or Path("runs") / args.recipe, **given)
    return 0
