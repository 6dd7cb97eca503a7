"""``parvis generate``: prompts or classes to pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from parvis.commands import add_model, command
from parvis.commands.drawing import add_sampling, draw
from parvis.errors import UsageError

if TYPE_CHECKING:
    from parvis.commands import Commands

EXAMPLES = (
    'parvis generate "red apple" -n 4',
    'parvis generate "red apple" "woman firefighter, dark skin tone" -n 4 --steps 20 --order lpd --seed 0 -o out/',
    "parvis generate --classes 207 360 --model ./my-model --guidance 4",
    "parvis generate --features t5.safetensors --model ./llamagen-t2i-xl-256",
)


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "generate",
        "draw pictures of prompts or classes",
        "Every picture is a PNG file that holds what made it (`parvis show FILE` reads it); its seed alone decides it, "
        "whatever it is drawn together with.",
        EXAMPLES,
    )
    parser.add_argument("prompts", nargs="*", metavar="PROMPT", help="what to draw; one or more, each in quotes")
    parser.add_argument(
        "--classes", nargs="+", type=int, metavar="C", help="class numbers, for models that take classes"
    )
    parser.add_argument(
        "--features",
        type=Path,
        metavar="FILE",
        help="text features in place of the prompts' own, for models that take them: .safetensors with 'features' and "
        "'mask', or .npy (docs/checkpoints.md)",
    )
    add_model(parser)
    add_sampling(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if (args.classes and (args.prompts or args.features)) or not (args.prompts or args.classes or args.features):
        raise UsageError('give prompts, as in `parvis generate "red apple"`, or --classes, or --features; not both')
    if args.features is not None:
        from parvis.text import read_features

        read_features(args.features)  # before a model is loaded
    prompts = args.prompts or args.classes or ()
    return draw(args, lambda pipeline, options: pipeline.generate(prompts, features=args.features, **options))
