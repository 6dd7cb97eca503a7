"""``parvis compare``: one prompt in several orders and numbers of passes, on one sheet."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from parvis.commands import (
    add_json,
    add_machine,
    add_model,
    add_out,
    add_quiet,
    bar,
    check_suffix,
    command,
    names,
    numbers,
    print_json,
)
from parvis.errors import IncompatibleParts, UsageError

if TYPE_CHECKING:
    from parvis.commands import Commands
    from parvis.pipeline import Pipeline
    from parvis.results import Images

ORDERS = ("raster", "random", "lpd")
EXAMPLES = (
    'parvis compare "red apple" --orders raster,random,lpd --steps 64,20,10 -o compare.png',
    'parvis compare "woman astronaut" --steps 20,10,5 --seed 3 --json',
)


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "compare",
        "draw one prompt in several orders and numbers of passes",
        "All pictures have the same seed. Combinations that an order does not have (raster in fewer passes than "
        "tokens) are left out and named.",
        EXAMPLES,
    )
    parser.add_argument("prompt", metavar="PROMPT", help="what to draw, in quotes; a class number for such models")
    parser.add_argument("--orders", type=names, metavar="A,B", help=f"rows of the sheet ({','.join(ORDERS)})")
    parser.add_argument("--steps", type=numbers, metavar="K,K", help="columns: numbers of passes (all tokens, 20, 10)")
    add_model(parser)
    add_out(parser, "picture to write, .png (%(default)s)", "compare.png")
    parser.add_argument("--seed", type=int, default=0, help="of every picture (%(default)s)")
    parser.add_argument("--guidance", type=float, help="strength of the prompt; 1 is none")
    add_machine(parser)
    add_quiet(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from parvis.files import check_writable
    from parvis.output import format_table, matrix, save_png
    from parvis.pipeline import load
    from parvis.planners import find_planner

    check_suffix(args.out, (".png",))
    check_writable(args.out)
    for name in args.orders or ():
        find_planner(name)
    pipeline = load(args.model, device=args.device, precision=args.precision)
    steps = sorted(set(args.steps or usual(pipeline)), reverse=True)
    orders: tuple[str | None, ...] = args.orders or (ORDERS if pipeline.system.takes_any_order else (None,))
    wanted, skipped = combinations(pipeline, orders, steps, args.seed)
    drawn = draw(pipeline, wanted, args)
    labels = [order or "own" for order in orders]
    columns = [passes for passes in steps if any((order, passes) in drawn for order in orders)]
    cells = [[drawn[o, k][0] if (o, k) in drawn else None for k in columns] for o in orders]
    heads = [f"{k} passes" if k > 1 else "1 pass" for k in columns]
    title = f"{args.prompt}  ({pipeline.name}, seed {args.seed})"
    save_png(args.out, matrix(cells, labels, heads, title=title))
    rows = [(order or "own", images.passes, round(images.seconds, 3)) for (order, _), images in drawn.items()]
    if args.json:
        found = [dict(zip(("order", "passes", "seconds"), row, strict=True)) for row in rows]
        facts = {"model": pipeline.name, "prompt": args.prompt, "seed": args.seed, "file": str(args.out)}
        print_json({**facts, "pictures": found, "left_out": skipped})
    elif not args.quiet:
        print(format_table(("order", "passes", "seconds"), [(o, k, f"{s:.3f}") for o, k, s in rows]))
        for reason in skipped:
            print(f"left out: {reason}")
        print(f"-> {args.out}")
    return 0


def usual(pipeline: Pipeline) -> tuple[int, ...]:
    """All tokens one by one, the preset, and half of it; the preset alone where the order fixes the passes."""
    system = pipeline.system
    if not system.takes_any_order:
        return (system.preset.steps,)
    return (system.grid.tokens, system.preset.steps, max(1, system.preset.steps // 2))


def combinations(
    pipeline: Pipeline, orders: tuple[str | None, ...], steps: list[int], seed: int
) -> tuple[list[tuple[str | None, int]], list[str]]:
    """What can be drawn, and why the rest cannot.

    Raises:
        IncompatibleParts: the model takes no order but its own. UsageError: nothing can be drawn.
    """
    from parvis.noise import Noise
    from parvis.planners import find_planner

    system = pipeline.system
    named = [order for order in orders if order is not None]
    if named and not system.takes_any_order:
        raise IncompatibleParts(
            f"{system.name} takes one order only, its own, so there is nothing to compare it with; leave --orders out, "
            "or use a model that takes any, such as emoji"
        )
    wanted, skipped = [], []
    for order in orders:
        planner = system.order if order is None else find_planner(order)
        for passes in steps:
            if passes > system.grid.tokens:
                skipped.append(f"{order or 'own'} in {passes} passes: there are {system.grid.tokens} tokens")
                continue
            fixed = len(planner(system.grid, passes, Noise((seed,))).sizes)
            if fixed == passes:
                wanted.append((order, passes))
            else:
                skipped.append(f"{order or 'own'} in {passes} passes: it takes {fixed}")
    if not wanted:
        raise UsageError(f"none of these can be drawn ({'; '.join(skipped)}); give other --steps or --orders")
    return wanted, skipped


def draw(
    pipeline: Pipeline, wanted: list[tuple[str | None, int]], args: argparse.Namespace
) -> dict[tuple[str | None, int], Images]:
    """The pictures, after one that warms up and is thrown away."""
    drawn: dict[tuple[str | None, int], Any] = {}
    first = min(wanted, key=lambda pair: pair[1])
    with bar(args, sum(passes for _, passes in [first, *wanted]), "pass") as progress:
        done = 0
        for order, passes in [first, *wanted]:
            before = done
            drawn[order, passes] = pipeline.generate(
                args.prompt,
                seed=args.seed,
                steps=passes,
                order=order,
                guidance=args.guidance,
                progress=lambda index, total, before=before: progress.tell(before + index),  # type: ignore[misc]
            )
            done += passes
    return {pair: drawn[pair] for pair in wanted}
