"""``parvis demo``: everything the bundled model can show in a minute; what ``make demo`` runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from parvis.commands import add_model, add_out, command

if TYPE_CHECKING:
    from PIL import Image

    from parvis.commands import Commands
    from parvis.pipeline import Pipeline

PROMPTS = (
    "woman astronaut dark skin", "man astronaut light skin", "woman firefighter medium skin", "man cook dark skin",
    "woman student light skin", "man farmer medium dark skin", "woman health worker medium light skin",
    "pilot dark skin", "grinning face", "smiling face with heart shaped eyes", "sleeping face", "cat face",
    "panda face", "frog face",
    "red apple", "tangerine", "strawberry", "hamburger", "birthday cake", "hot beverage", "sunflower", "cactus",
    "deciduous tree", "red heart", "blue heart", "clock face six oclock", "france flag", "japan flag", "rocket",
    "sailboat", "rainbow", "soccer ball",
)  # fmt: skip
FRAMES_OF = 4
ROUNDS, ENOUGH = 3, 0.5
"""A model is timed until so many rounds are done or so many seconds have passed."""


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "demo",
        "write a sheet, pictures and an animation, and time the decoders",
        "What `make demo` runs.",
        ("parvis demo", "parvis demo --model emoji-64 --seed 100 -o demo-100"),
    )
    add_model(parser)
    add_out(parser, "folder for the results (%(default)s)", "demo")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first picture (%(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from parvis.files import check_writable, make_folder
    from parvis.output import save_animation, save_png, sheet
    from parvis.pipeline import load
    from parvis.weights.catalog import find

    check_writable(args.out, folder=True)
    pipeline = load(args.model)
    make_folder(args.out)
    images = pipeline.generate(PROMPTS, seed=args.seed)
    images.save(args.out / "images")
    print(f"{len(images)} pictures -> {args.out / 'images'}")
    print(f"all on one sheet -> {save_png(args.out / 'sheet.png', sheet(images, PROMPTS))}")
    filling = save_animation(args.out / "canvas.webp", frames(pipeline, PROMPTS[:FRAMES_OF], args.seed))
    print(f"the canvas filling up -> {filling}\n")
    print(race(contestants(find(args.model).name, pipeline), PROMPTS[:FRAMES_OF], args.seed))
    return 0


def frames(pipeline: Pipeline, prompts: Sequence[str], seed: int) -> list[Image.Image]:
    """The canvases of ``prompts`` filling up together, one frame per pass."""
    from parvis.output import sheet

    columns = max(1, len(prompts) // 2)
    return [sheet(step.images, prompts, columns=columns) for step in pipeline.stream(prompts, seed=seed)]


def contestants(model: str, pipeline: Pipeline) -> list[tuple[str, Pipeline, int | None]]:
    """(label, pipeline, steps): the model as it is and held to one token per pass; then every bundled raster model with
    the model that it is a baseline of."""
    from parvis.pipeline import load
    from parvis.weights.catalog import bundled

    runners: list[tuple[str, Pipeline, int | None]] = [
        (model, pipeline, None),
        (f"{model}, one token per pass", pipeline, pipeline.system.grid.tokens),
    ]
    for name, folder in bundled().items():
        own = name.removesuffix("-raster")
        if own != name and own in bundled():
            own_pipeline = pipeline if own == model else load(bundled()[own])
            runners += [(own, own_pipeline, None), (name, load(folder), None)]
    return list({label: (label, runner, steps) for label, runner, steps in runners}.values())


def race(runners: Sequence[tuple[str, Pipeline, int | None]], prompts: Sequence[str], seed: int) -> str:
    """A table of passes, seconds (the best of up to ``ROUNDS``) and pictures per second, for one picture and, of models
    in their own number of passes, for all."""
    from parvis.output import format_table

    rows = []
    for batch in (prompts[:1], prompts):
        for label, pipeline, steps in runners:
            if steps is not None and len(batch) > 1:
                continue  # one token per pass, for one picture only: many take too long for a demo
            taken: list[float] = []
            while len(taken) < ROUNDS and sum(taken) < ENOUGH:
                images = pipeline.generate(batch, seed=seed, steps=steps)
                taken.append(images.seconds)
            rows.append((label, len(batch), images.passes, f"{min(taken):.3f}", f"{len(batch) / min(taken):.2f}"))
    return format_table(("model", "pictures", "passes", "seconds", "pictures/s"), rows)
