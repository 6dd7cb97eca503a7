"""``parvis edit``: draw part of a picture anew."""

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
    'parvis edit face.png --mask eyes.png --prompt "smiling face with sunglasses" -n 4',
    'parvis edit face.png --extend 32,0,32,64 --prompt "woman astronaut"',
    'parvis edit face.png --keep 0.4 --prompt "sleeping face" -o variations',
)


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "edit",
        "draw part of a picture anew",
        "Inpainting (--mask), outpainting (--extend) and variations (--keep) with any model that takes known tokens; "
        "pixels outside the mask stay as they are.",
        EXAMPLES,
    )
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the picture; scaled to the model's size")
    parser.add_argument("--prompt", help="what the whole picture shows afterwards")
    parser.add_argument("--class", dest="label", type=int, metavar="C", help="its class, for models that take classes")
    kinds = parser.add_mutually_exclusive_group(required=True)
    kinds.add_argument(
        "--mask", type=Path, metavar="FILE", help="a picture of the same size: white, or transparent, is drawn anew"
    )
    kinds.add_argument("--extend", type=margins, metavar="L,T,R,B", help="pixels to add left, top, right and bottom")
    kinds.add_argument("--keep", type=float, metavar="SHARE", help="share of the tokens that stays, at random; 0 to 1")
    parser.add_argument("--feather", type=int, default=4, help="pixels of the seam round the mask (%(default)s)")
    parser.add_argument("--crop", action="store_true", help="take the middle of a picture of another shape")
    add_model(parser)
    add_sampling(parser)
    parser.set_defaults(run=run)


def margins(text: str) -> tuple[int, int, int, int]:
    """``32,0,32,64`` as left, top, right, bottom."""
    try:
        left, top, right, bottom = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} are not four whole numbers with commas between") from None
    return left, top, right, bottom


def run(args: argparse.Namespace) -> int:
    if (args.prompt is None) == (args.label is None):
        raise UsageError("say what the picture shows afterwards: --prompt, or --class for models that take classes")
    prompt = args.label if args.prompt is None else args.prompt
    edit = {"mask": args.mask, "margins": args.extend, "keep": args.keep, "feather": args.feather, "crop": args.crop}
    return draw(args, lambda pipeline, options: pipeline.edit(args.image, prompt, **edit, **options))
