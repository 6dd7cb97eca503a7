"""``parvis generate``: prompts or classes to pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from parvis.errors import UsageError

if TYPE_CHECKING:
    from parvis.commands import Commands


def add(commands: Commands) -> None:
    parser = commands.add_parser("generate", help="make pictures of prompts or classes", allow_abbrev=False)
    parser.add_argument("prompts", nargs="*", metavar="PROMPT", help="what to draw; one or more, each in quotes")
    parser.add_argument(
        "--classes", nargs="+", type=int, metavar="C", help="class numbers, for models that take classes"
    )
    parser.add_argument(
        "--model", default="emoji-64", help="a name that `parvis list` shows, or a folder (%(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the PNG files (%(default)s)")
    parser.add_argument("--n", type=int, default=1, help="pictures of each prompt (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first picture; the next has the next")
    parser.add_argument("--steps", type=int, help="passes of the model; the model's own unless given")
    parser.add_argument("--guidance", type=float, help="strength of the prompt; 1 is none")
    parser.add_argument("--temperature", type=float, help="below 1 safer, above 1 bolder; 0 is greedy")
    parser.add_argument("--top-k", type=int, help="choose among the K likeliest values; 0 is all")
    parser.add_argument("--top-p", type=float, help="choose among the likeliest values that make up P; 1 is all")
    parser.add_argument("--precision", help="auto, fp32 or bf16 (auto)")
    parser.add_argument("--device", help="where to run, in PyTorch's words (cpu)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if bool(args.prompts) == bool(args.classes):
        raise UsageError('give prompts, as in `parvis generate "red apple"`, or --classes, and not both')

    from parvis.files import make_folder
    from parvis.pipeline import load
    from parvis.weights.catalog import find

    pipeline = load(find(args.model), device=args.device, precision=args.precision)
    make_folder(args.out)
    images = pipeline.generate(
        args.prompts or args.classes,
        n=args.n,
        seed=args.seed,
        steps=args.steps,
        guidance=args.guidance,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
    )
    images.save(args.out)
    count = f"{len(images)} picture{'s' if len(images) != 1 else ''}"
    print(f"{count} in {images.passes} passes and {images.seconds:.2f} s -> {args.out}")
    return 0
