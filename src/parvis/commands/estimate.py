"""``parvis estimate``: what a training needs in memory and time, before it is started."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

from parvis.commands import add_json, command, print_json
from parvis.errors import UsageError

if TYPE_CHECKING:
    from parvis.commands import Commands
    from parvis.train.estimate import Estimate

EXAMPLES = (
    "parvis estimate lpd-small --batch 16 --steps 6000",
    "parvis estimate lpd-l-256 --batch 32 --device cuda",
    "parvis estimate lpd-xl-256 --tflops 150 --json",
)


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "estimate",
        "estimate the memory and time of a training",
        "Measures a training step of models with 2 and 4 blocks here, and draws the line to the whole model. Memory is "
        "that of float32 weights, gradients, AdamW, averaged weights and what the backward pass needs.",
        EXAMPLES,
    )
    parser.add_argument("recipe", help="a recipe (lpd-small, lpd-l-256) or a published system")
    parser.add_argument("--batch", type=int, help="pictures per step; the recipe's own unless given")
    parser.add_argument("--accumulate", type=int, default=1, help="parts in which a step is taken (%(default)s)")
    parser.add_argument("--steps", type=int, help="of the whole run; the recipe's or the published number unless given")
    parser.add_argument("--tflops", type=float, help="time by arithmetic at this sustained speed, not as measured here")
    parser.add_argument("--device", default="cpu", help="where to measure, in PyTorch's words (%(default)s)")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    for name in ("batch", "accumulate", "steps", "tflops"):
        if (value := getattr(args, name)) is not None and value <= 0:
            raise UsageError(f"--{name} is {value}; give a number above 0")
    facts = told(args)
    if args.json:
        print_json(facts)
        return 0
    gib = {key: f"{facts[key] / 2**30:.3f} GiB" for key in MEMORY}
    print(f"{args.recipe}: {facts['parameters'] / 1e6:.2f}M parameters, batch {facts['batch']}")
    for key in MEMORY:
        print(f"  {key:12} {gib[key]:>14}")
    print(f"  cache of one picture drawn with guidance {facts['cache'] / 2**20:.1f} MiB")
    how = f"at {args.tflops:g} TFLOP/s" if args.tflops else "as measured here"
    print(f"  a step: {facts['flops'] / 1e12:.3f} TFLOP, {facts['seconds']:.3g} s {how}")
    if facts["hours"] is not None:
        print(f"  {facts['steps']} steps: {facts['hours']:.1f} hours")
    free = room(args.device)
    print(f"  free here: {free / 2**30:.1f} GiB" + ("" if free > facts["total"] else ": too little; try --accumulate"))
    return 0


MEMORY = ("weights", "gradients", "optimizer", "average", "activations", "total")


def told(args: argparse.Namespace) -> dict[str, Any]:
    """The estimate as ``--json`` prints it."""
    plan = import_module("recipes.plan").plan_of(args.recipe)
    batch = args.batch or plan.batch
    found = estimated(args.recipe, -(-batch // args.accumulate), args.device)
    facts = {**asdict(found), "total": found.total, "batch": batch, "accumulate": args.accumulate}
    facts["flops"] *= batch / found.batch
    facts["seconds"] = facts["flops"] / (args.tflops * 1e12) if args.tflops else found.seconds * batch / found.batch
    steps = args.steps or plan.steps or (plan.epochs and round(plan.epochs * plan.pictures / batch))
    return facts | {"steps": steps, "hours": steps * facts["seconds"] / 3600 if steps else None, "device": args.device}


def estimated(recipe: str, batch: int, device: str = "cpu") -> Estimate:
    """Of ``batch`` pictures at once, measured on ``device``. Raises UnknownName."""
    plans = import_module("recipes.plan")
    found: Estimate = plans.estimate(plans.plan_of(recipe), batch, device)
    return found


def room(device: str) -> int:
    """Free memory in bytes."""
    import torch

    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 1 << 62
