"""What the commands that draw pictures share: the options of sampling, and the report."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from parvis.commands import add_json, add_machine, add_out, add_quiet, bar, print_json

if TYPE_CHECKING:
    from parvis.pipeline import Pipeline
    from parvis.results import Images

SAMPLING = ("n", "seed", "steps", "order", "guidance", "temperature", "top_k", "top_p", "batch")


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Options that every drawing has, and where it goes."""
    add_out(parser, "folder for the PNG files (%(default)s)", "out")
    parser.add_argument("-n", "--n", type=int, default=1, help="pictures of each prompt (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first picture; the next has the next")
    parser.add_argument("--steps", type=int, help="passes of the model; the model's own unless given")
    parser.add_argument("--order", help="another order, for models that take any; `parvis order --help` names them")
    parser.add_argument("--guidance", type=float, help="strength of the prompt; 1 is none")
    parser.add_argument("--temperature", type=float, help="below 1 safer, above 1 bolder; 0 is greedy")
    parser.add_argument("--top-k", type=int, help="choose among the K likeliest values; 0 is all")
    parser.add_argument("--top-p", type=float, help="choose among the likeliest values that make up P; 1 is all")
    parser.add_argument("--batch", type=int, default=64, help="pictures drawn at once (%(default)s)")
    add_machine(parser)
    add_quiet(parser)
    add_json(parser)


def draw(args: argparse.Namespace, make: Callable[[Pipeline, dict[str, Any]], Images]) -> int:
    """Load the model, ``make`` pictures with the options of :func:`add_sampling`, write them and say so."""
    from parvis.files import check_writable
    from parvis.pipeline import load
    from parvis.planners import find_planner

    if args.order is not None:
        find_planner(args.order)
    check_writable(args.out, folder=True)
    pipeline = load(args.model, device=args.device, precision=args.precision)
    with bar(args, 1, "pass") as progress:

        def tell(done: int, total: int) -> None:
            progress.total = total
            progress.tell(done)

        images = make(pipeline, {name: getattr(args, name) for name in SAMPLING} | {"progress": tell})
    paths = images.save(args.out)
    if args.json:
        pictures = [
            {"file": str(path), "prompt": prompt, "seed": seed}
            for path, prompt, seed in zip(paths, images.prompts, images.seeds, strict=True)
        ]
        facts = {"model": images.model, "passes": images.passes, "seconds": round(images.seconds, 4)}
        print_json({**facts, "settings": images.settings, "pictures": pictures})
    elif not args.quiet:
        count = f"{len(images)} picture{'s' if len(images) != 1 else ''}"
        print(f"{count} in {images.passes} passes and {images.seconds:.2f} s -> {args.out}")
    return 0
