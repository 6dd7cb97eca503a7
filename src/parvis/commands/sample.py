"""``parvis sample``: many pictures of one model, to be measured."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parvis.commands import add_json, add_machine, add_out, add_quiet, bar, command, names, print_json
from parvis.errors import UsageError

if TYPE_CHECKING:
    from parvis.commands import Commands
    from parvis.mass.plan import Plan
    from parvis.pipeline import Pipeline

EXAMPLES = (
    "parvis sample emoji-64 -n 2000 --captions captions.txt -o runs/emoji-64",
    "parvis sample ./my-model -n 50000 --guidance 1.5 --workers 8 -o runs/my-model",
    "parvis sample ./my-model -n 50000 --ray --workers 16 --format npz,png -o /shared/my-model",
)


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "sample",
        "draw thousands of pictures to be measured",
        "Picture i has the seed SEED + i and a class or caption that depends on i alone, so it is the same whoever "
        "draws it. A run that was stopped goes on where it was; a larger -n goes on from a smaller one. Writes "
        "samples.npz (as ADM's evaluator reads it) or shards of PNG files, a sheet of the first, and a manifest. "
        "Under torchrun every rank draws its share.",
        EXAMPLES,
    )
    parser.add_argument("model", metavar="MODEL", help="a name that `parvis list` shows, or a folder")
    parser.add_argument("-n", "--n", type=int, required=True, help="how many pictures")
    add_out(parser, "folder to write", required=True)
    parser.add_argument(
        "--classes",
        choices=("balanced", "random"),
        default="balanced",
        help="for models that take classes (%(default)s)",
    )
    parser.add_argument("--captions", type=Path, metavar="FILE", help="one a line, or .jsonl; taken in turn")
    parser.add_argument("--seed", type=int, default=0, help="of picture 0 (%(default)s)")
    parser.add_argument("--steps", type=int, help="passes; the model's own unless given")
    parser.add_argument("--order", help="another order, for models that take any")
    parser.add_argument("--guidance", type=float, help="strength of the prompt; 1 is none")
    parser.add_argument("--temperature", type=float, help="below 1 safer, above 1 bolder; 0 is greedy")
    parser.add_argument("--top-k", type=int, help="choose among the K likeliest values; 0 is all")
    parser.add_argument("--top-p", type=float, help="choose among the likeliest values that make up P; 1 is all")
    parser.add_argument("--format", type=names, default=("npz",), help="npz, png or both: npz,png (npz)")
    parser.add_argument("--block", type=int, default=64, help="pictures that are written together (%(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="pictures drawn at once (%(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes, or Ray's actors (%(default)s)")
    parser.add_argument("--ray", action="store_true", help="draw with Ray Data (extra `ray`)")
    add_machine(parser)
    add_quiet(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from parvis.files import check_writable
    from parvis.mass import finish, missing
    from parvis.mass.plan import read_captions, write_plan
    from parvis.mass.work import ranks
    from parvis.pipeline import load
    from parvis.planners import find_planner

    if args.workers < 1 or args.batch < 1:
        raise UsageError(f"--workers {args.workers} --batch {args.batch}: give 1 or more of each")
    if args.order is not None:
        find_planner(args.order)
    check_writable(args.out, folder=True)
    captions = read_captions(args.captions) if args.captions else ()
    rank = ranks()
    if rank is not None and args.device is None:
        import torch

        args.device = f"cuda:{rank[2]}" if torch.cuda.is_available() else "cpu"
    pipeline = load(args.model, device=args.device, precision=args.precision)
    plan = plan_of(pipeline, args, captions)
    plan = write_plan(args.out, plan)
    there = plan.count - sum(high - low for low, high in missing(args.out, plan))
    with bar(args, plan.count, "picture") as progress:
        shown = [there]

        def told(more: int) -> None:
            shown[0] += more
            progress.tell(shown[0])

        if not carry_out(args, pipeline, rank, told):
            return 0
    done = finish(args.out, pipeline.system.classes)
    drawn = plan.count - there
    if args.json:
        manifest = {name: value for name, value in done.manifest.items() if name != "blocks"}
        print_json({"folder": str(args.out), "drawn": drawn, "passes": done.passes, **manifest})
    elif not args.quiet:
        each = done.seconds / plan.count
        print(f"{plan.count} pictures ({there} were there), {done.passes} passes and {each:.3f} s each -> {args.out}")
    return 0


def carry_out(args: argparse.Namespace, pipeline: Pipeline, rank: tuple[int, int, int] | None, told: Any) -> bool:
    """Draw what is missing; False for a rank that leaves the rest to rank 0."""
    from parvis.mass.actors import with_ray
    from parvis.mass.work import in_processes, wait_for_all, work

    if rank is not None:
        work(args.out, rank[0], rank[1], args.device, args.batch, told, pipeline)
        if rank[0]:
            return False
        wait_for_all(args.out)
    elif args.ray:
        with_ray(args.out, args.workers, args.device, args.batch, told)
    elif args.workers > 1:
        in_processes(args.out, args.workers, args.device, args.batch, told)
    else:
        work(args.out, batch=args.batch, told=told, pipeline=pipeline)
    return True


def plan_of(pipeline: Pipeline, args: argparse.Namespace, captions: tuple[str, ...]) -> Plan:
    """The plan of the arguments, the model's own settings where none is given; checked before a folder is made.

    :raises UsageError: captions for a model of classes, none for one of captions, or what the model cannot draw
    """
    from parvis.mass.plan import Plan
    from parvis.mass.work import facts_of

    system, preset = pipeline.system, pipeline.system.preset
    if (system.takes == "classes") == bool(captions):
        raise UsageError(
            f"{system.name} draws from {system.takes}; "
            + ("leave --captions out" if captions else "give --captions FILE, one a line")
        )
    chosen = {
        "order": (args.order, "own"),
        "guidance": (args.guidance, preset.guidance),
        "temperature": (args.temperature, preset.sampling.temperature),
        "top_k": (args.top_k, preset.sampling.top_k),
        "top_p": (args.top_p, preset.sampling.top_p),
    }
    settings: dict[str, Any] = {name: own if given is None else given for name, (given, own) in chosen.items()}
    settings["precision"] = str(pipeline.dtype).removeprefix("torch.")
    factor = system.tokenizer.factor
    plan = Plan(
        source=args.model,
        count=args.n,
        model=facts_of(pipeline),
        settings=settings,
        seed=args.seed,
        conditions="captions" if captions else args.classes,
        classes=0 if captions else int(getattr(system.models["main"].condition, "classes", 0)),
        captions=captions,
        height=system.grid.height * factor,
        width=system.grid.width * factor,
        block=args.block,
        formats=tuple(args.format),
    )
    return replace(plan, settings={**settings, "steps": _steps(pipeline, plan, args.steps)})


def _steps(pipeline: Pipeline, plan: Plan, asked: int | None) -> int:
    """The groups of the order that will be drawn. Raises what a wrong setting or caption would raise while drawing."""
    import warnings

    from parvis.generate import plan as planned
    from parvis.planners import as_planner
    from parvis.prompting import ask
    from parvis.request import Request
    from parvis.sampling import Sampling

    how, system, words = plan.settings, pipeline.system, pipeline.words
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for caption in dict.fromkeys(plan.captions) if words is not None else ():
            ask(system, words, caption, 1, 0, None, None)
        _, seeds, given = ask(system, words, plan.prompt(0), 1, plan.seed, None, None)
    order = as_planner(None if how["order"] == "own" else how["order"], slice(None), 1)
    sampling = Sampling(how["temperature"], how["top_k"], how["top_p"])
    request = Request(given, tuple(seeds), asked, how["guidance"], sampling, order=order)
    request.check(system)
    return len(planned(system, request, pipeline.device)[0].sizes)
