"""``parvis train``: run a recipe. Recipes are Python functions in the package ``recipes``."""

from __future__ import annotations

import argparse
import inspect
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from parvis.commands import add_out, command
from parvis.errors import UnknownName, UsageError

if TYPE_CHECKING:
    from parvis.commands import Commands

OPTIONS = (
    "data", "tokenizer", "start", "resolution", "codes", "steps", "batch", "lr", "depth", "width", "channels", "device",
    "precision", "accumulate", "skip_bad",
)  # fmt: skip
"""What a recipe may take besides ``out``; each takes some."""
EXAMPLES = (
    "parvis train list",
    "parvis train lpd-small --data runs/codes -o runs/lpd",
    "parvis train lpd-small --data ./pictures --tokenizer runs/tok/model --resolution 64 -o runs/lpd",
    "parvis train emoji-64 --tokenizer runs/emoji-tokenizer/model",
    "parvis train emoji-128 --tokenizer runs/emoji-tokenizer/model --start runs/emoji-64/model --steps 4000",
)


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "train",
        "run a training recipe, going on where it stopped",
        "A recipe is a function of the package `recipes`; its text says what it makes and what it took. Tokenizers "
        "have `parvis tokenizer train`.",
        EXAMPLES,
    )
    parser.add_argument("recipe", help="its name, e.g. emoji-64; `parvis train list` shows them all")
    parser.add_argument(
        "--tokenizer", type=Path, metavar="DIR", help="folder of the trained tokenizer; a code cache knows its own"
    )
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="bf16 where there are instructions for it (fp32)")
    parser.add_argument("--accumulate", type=int, help="parts in which a step's batch is taken, for less memory")
    parser.add_argument("--start", type=Path, metavar="DIR", help="model folder to start from")
    add_options(parser)
    parser.set_defaults(run=run)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the recipes of models and of tokenizers share."""
    add_out(parser, "folder for checkpoints, samples and the model (runs/RECIPE)")
    parser.add_argument(
        "--data",
        type=Path,
        help="a folder of pictures (a sub-folder per class), WebDataset shards, or what `parvis encode` wrote",
    )
    parser.add_argument("--resolution", type=int, help="pixels per side")
    parser.add_argument("--skip-bad", action="store_const", const=True, help="leave out undecodable pictures")
    parser.add_argument("--steps", type=int, help="optimizer steps in all")
    parser.add_argument("--batch", type=int, help="images per step")
    parser.add_argument("--lr", type=float, help="highest learning rate")
    parser.add_argument("--depth", type=int, help="blocks of the transformer")
    parser.add_argument("--width", type=int, help="width of the transformer")
    parser.add_argument("--channels", type=int, help="width of a tokenizer's finest level")
    parser.add_argument("--codes", type=int, help="number of codes of a tokenizer")
    parser.add_argument("--device", help="where to train, in PyTorch's words, such as cuda (cpu)")


def run(args: argparse.Namespace) -> int:
    return run_recipe("RECIPES", args, Path("runs") / args.recipe)


def run_recipe(kind: Literal["RECIPES", "TOKENIZERS"], args: argparse.Namespace, out: Path) -> int:
    """Run the recipe ``args.recipe`` of the package's dict ``kind`` with what was given of its options."""
    try:
        recipes = getattr(import_module("recipes"), kind)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the recipes are not installed ({error}); run from the source tree: pip install -e ."
        ) from error
    if args.recipe == "list":
        for name, recipe in sorted(recipes.items()):
            print(f"{name:18} {((getattr(recipe, 'func', recipe)).__doc__ or '').strip().splitlines()[0]}")
        return 0
    if args.recipe not in recipes:
        raise UnknownName("recipe", args.recipe, recipes)
    recipe = recipes[args.recipe]
    taken = inspect.signature(recipe).parameters
    given = {name: value for name in OPTIONS if (value := getattr(args, name, None)) is not None}
    for name in given:
        if name not in taken:
            raise UsageError(f"the recipe {args.recipe} takes no {flag(name)}; it takes {', '.join(map(flag, taken))}")
    missing = [n for n, p in taken.items() if p.default is p.empty and n not in given and n != "out"]
    if missing:
        raise UsageError(f"the recipe {args.recipe} needs {' and '.join(f'{flag(name)} DIR' for name in missing)}")
    recipe(out=args.out or out, **given)
    return 0


def flag(name: str) -> str:
    """How an option is written."""
    return f"--{name.replace('_', '-')}"
