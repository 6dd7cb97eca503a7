"""``parvis bench``: passes, latency and throughput of a model on this machine."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from parvis.commands import add_json, add_machine, add_model, add_quiet, bar, command, numbers, print_json
from parvis.errors import UsageError

if TYPE_CHECKING:
    from parvis.commands import Commands
    from parvis.pipeline import Pipeline
    from parvis.results import Images

EXAMPLES = (
    "parvis bench --batch 1,8 --steps 64,20,10",
    "parvis bench --model lpd-l-256 --random-weights --repeat 3",
    "parvis bench --model ./my-model --precision bf16 --json > bench.json",
)


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "bench",
        "time a model: passes, seconds, pictures a second",
        "Medians of several runs after a warm-up; the settings take turns, so that a busy machine slows all alike. "
        "A published system needs no weights: with --random-weights it takes the same time.",
        EXAMPLES,
    )
    add_model(parser)
    parser.add_argument("--batch", type=numbers, default=(1, 8), metavar="B,B", help="pictures at once (1,8)")
    parser.add_argument("--steps", type=numbers, metavar="K,K", help="passes; the model's own unless given")
    parser.add_argument("--order", help="another order, for models that take any")
    parser.add_argument("--guidance", type=float, help="1 is none, which halves the work; the model's own unless given")
    parser.add_argument("--repeat", type=int, default=5, help="runs that count (%(default)s)")
    parser.add_argument(
        "--random-weights", nargs="?", type=int, const=0, metavar="SEED", help="a published system without its weights"
    )
    add_machine(parser)
    add_quiet(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.repeat < 1:
        raise UsageError(f"--repeat is {args.repeat}; time at least 1 run")

    from parvis.evaluate.machine import machine
    from parvis.pipeline import load
    from parvis.planners import find_planner

    if args.order is not None:
        find_planner(args.order)
    pipeline = load(args.model, device=args.device, precision=args.precision, random_weights=args.random_weights)
    import torch

    facts: dict[str, Any] = {
        "model": pipeline.name,
        "weights": "random" if args.random_weights is not None else "as published or trained",
        "order": args.order or "own",
        "precision": str(pipeline.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "machine": machine(pipeline.device),
        "repeat": args.repeat,
        "rows": measure(pipeline, args),
    }
    if args.json:
        print_json(facts)
    else:
        print(table(facts))
    return 0


def measure(pipeline: Pipeline, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per batch size and number of passes."""
    import torch

    from parvis.evaluate.latency import race, settle, split
    from parvis.model.context import FeaturesCondition

    prompt = pipeline.words.vocabulary[0] if pipeline.words else 0
    condition = pipeline.system.models["main"].condition
    features = None  # what they are does not matter to the time
    if isinstance(condition, FeaturesCondition):
        features = torch.zeros(1, condition.prefix, condition.absent.shape[1])
    steps = args.steps or (None,)
    count = len(args.batch) * len(steps) * (args.repeat + 2)
    with bar(args, count, "run") as progress:
        done = 0

        def draw(passes: int | None, batch: int) -> Images:
            nonlocal done
            images = pipeline.generate(
                prompt,
                n=batch,
                batch=batch,
                steps=passes,
                order=args.order,
                guidance=args.guidance,
                features=features,
            )
            settle()
            done += 1
            progress.tell(done)
            return images

        runs = {str(passes): partial(draw, passes) for passes in steps}
        found = race(runs, args.batch, args.repeat)
        models = list(pipeline.system.models.values())
        places: dict[str, list[tuple[object, str]]] = {
            "model": [(model, name) for model in models for name in ("answer", "context")],
            "tokenizer": [(pipeline.system.tokenizer, name) for name in ("decode", "view")],
        }
        rows = []
        for latency in found:
            images, parts = split(partial(runs[latency.name], latency.batch), places)
            rows.append(
                {
                    "batch": latency.batch,
                    "passes": images.passes,
                    "seconds": latency.seconds,
                    "pictures_per_second": latency.batch / latency.seconds,
                    "split": parts,
                    "all_seconds": list(latency.wall),
                }
            )
    return rows


def table(facts: dict[str, Any]) -> str:
    from parvis.output import format_table

    here = facts["machine"]
    where = here.get("accelerator") or f"{here['processor']}, {here['threads']} of {here['cores']} cores"
    weights = ", random weights" if facts["weights"] == "random" else ""
    head = (
        f"{facts['model']}{weights}, {facts['precision']}, torch {facts['torch']}\n{where}; medians of "
        f"{facts['repeat']} runs, the split of one\n"
    )
    rows = []
    for row in facts["rows"]:
        whole = sum(row["split"].values())
        shares = [f"{row['split'][part] / whole:.0%}" for part in ("model", "tokenizer", "rest")]
        seconds, speed = f"{row['seconds']:.3f}", f"{row['pictures_per_second']:.2f}"
        rows.append((row["batch"], row["passes"], seconds, speed, *shares))
    return head + format_table(("batch", "passes", "seconds", "pictures/s", "model", "tokenizer", "rest"), rows)
