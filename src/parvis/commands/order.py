"""``parvis order``: what an order looks like."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from parvis.commands import add_json, add_out, add_quiet, check_suffix, command, print_json
from parvis.errors import UsageError

if TYPE_CHECKING:
    from parvis.commands import Commands
    from parvis.grid import Grid

SUFFIXES = (".png", ".gif", ".webp")
EXAMPLES = (
    "parvis order lpd --grid 16x16 --steps 20 -o order.gif",
    "parvis order random --grid 32x32 --steps 48 --seed 3 -o order.png",
    "parvis order scales --grid 1,2,3,4,5,6,8,10,13,16 --json",
)


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "order",
        "show in which order positions are drawn",
        "Every position gets the colour of the pass that writes it. A .png holds the whole order, a .gif or .webp "
        "shows the passes one after the other. Orders: lpd and its ablations proximity and repulsion; random; halton; "
        "raster; regions (par); diagonals (nar); scales.",
        EXAMPLES,
    )
    parser.add_argument("order", help="its name, e.g. lpd")
    parser.add_argument("--grid", default="16x16", help="HEIGHTxWIDTH, or the sides of scales: 1,2,4 (%(default)s)")
    parser.add_argument("--steps", type=int, help="passes, where the order does not fix them (20, or what fits)")
    parser.add_argument("--seed", type=int, default=0, help="of the image whose order it is (%(default)s)")
    add_out(parser, "picture to write: .png, .gif or .webp")
    add_quiet(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from parvis.chart import Chart, as_text, frames, still
    from parvis.files import check_writable
    from parvis.noise import Noise
    from parvis.output import save_animation, save_png
    from parvis.planners import find_planner, planned

    planner, grid = find_planner(args.order), read_grid(args.grid)
    if args.steps is not None and not 1 <= args.steps <= grid.tokens:
        raise UsageError(f"--steps is {args.steps}; {grid.tokens} positions take 1 to {grid.tokens} passes")
    if args.out is not None:
        check_suffix(args.out, SUFFIXES)
        check_writable(args.out)
    who = f"the order {args.order}"
    order = planned(planner, grid, args.steps, Noise((args.seed,)), usual=min(20, grid.tokens), who=who)
    chart = Chart.of(order, grid)
    if args.out is not None:
        title = f"{args.order}, {args.grid}, seed {args.seed}"
        if args.out.suffix == ".png":
            place = save_png(args.out, still(chart, title))
        else:
            place = save_animation(args.out, frames(chart, title), milliseconds=max(60, 4000 // len(chart.sizes)))
    if args.json:
        positions = order.positions.view(-1, order.tokens)[0].tolist()
        facts = {"order": args.order, "grid": [list(scale) for scale in grid.scales], "seed": args.seed}
        print_json({**facts, "passes": len(order.sizes), "sizes": list(order.sizes), "positions": positions})
    elif not args.quiet:
        print(f"{order.tokens} positions in {len(order.sizes)} passes of {runs(order.sizes)}")
        print(f"-> {place}" if args.out is not None else as_text(chart))
    return 0


def read_grid(text: str) -> Grid:
    """``16x24`` (height x width), or ``1,2,3``: square scales."""
    from parvis.grid import Grid

    try:
        if "x" in text:
            height, width = (int(part) for part in text.split("x"))
            grid = Grid.image(height, width)
        else:
            grid = Grid.pyramid([int(part) for part in text.split(",")])
    except ValueError as error:  # a UsageError is one
        raise UsageError(
            f"--grid is {text!r}; give HEIGHTxWIDTH, as in 16x16, or sides of scales, as in 1,2,4"
        ) from error
    if grid.tokens > 1 << 14:
        raise UsageError(f"--grid is {text!r}, {grid.tokens} positions; at most {1 << 14} are shown")
    return grid


def runs(sizes: tuple[int, ...]) -> str:
    """``1, 2, 4 (3 times), 5`` for 1, 2, 4, 4, 4, 5."""
    found: list[list[int]] = []
    for size in sizes:
        if found and found[-1][0] == size:
            found[-1][1] += 1
        else:
            found.append([size, 1])
    return ", ".join(f"{size}" if count == 1 else f"{size} ({count} times)" for size, count in found)
