"""``parvis generate``: prompts or classes to pictures."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from parvis.commands import add_json, add_machine, add_model, add_out, add_quiet, bar, command, print_json
from parvis.errors import UsageError

if TYPE_CHECKING:
    from parvis.commands import Commands

EXAMPLES = (
    'parvis generate "red apple" -n 4',
    'parvis generate "red apple" "woman firefighter, dark skin tone" -n 4 --steps 20 --order lpd --seed 0 -o out/',
    "parvis generate --classes 207 360 --model ./my-model --guidance 4",
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
    add_model(parser)
    add_out(parser, "folder for the PNG files (%(default)s)", "out")
    parser.add_argument("-n", "--n", type=int, default=1, help="pictures of each prompt (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first picture; the next has the next")
    parser.add_argument("--steps", type=int, help="passes of the model; the model's own unless given")
    parser.add_argument("--order", help="another order, for models that take any: lpd, raster, random, halton, ...")
    parser.add_argument("--guidance", type=float, help="strength of the prompt; 1 is none")
    parser.add_argument("--temperature", type=float, help="below 1 safer, above 1 bolder; 0 is greedy")
    parser.add_argument("--top-k", type=int, help="choose among the K likeliest values; 0 is all")
    parser.add_argument("--top-p", type=float, help="choose among the likeliest values that make up P; 1 is all")
    parser.add_argument("--batch", type=int, default=64, help="pictures drawn at once (%(default)s)")
    add_machine(parser)
    add_quiet(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if bool(args.prompts) == bool(args.classes):
        raise UsageError('give prompts, as in `parvis generate "red apple"`, or --classes, and not both')

    from parvis.files import check_writable
    from parvis.pipeline import load
    from parvis.planners import find_planner
    from parvis.weights.catalog import find

    if args.order is not None:
        find_planner(args.order)
    check_writable(args.out, folder=True)
    pipeline = load(find(args.model), device=args.device, precision=args.precision)
    with bar(args, 1, "pass") as progress:

        def tell(done: int, total: int) -> None:
            progress.total = total
            progress.tell(done)

        images = pipeline.generate(
            args.prompts or args.classes,
            n=args.n,
            seed=args.seed,
            steps=args.steps,
            guidance=args.guidance,
            temperature=args.temperature,
            top_k=args.top_k,
            top_p=args.top_p,
            order=args.order,
            batch=args.batch,
            progress=tell,
        )
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
