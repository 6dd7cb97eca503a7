"""``parvis export``: a Parvis model folder as a checkpoint for the authors' code."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from parvis.commands import add_out, command

if TYPE_CHECKING:
    from parvis.commands import Commands


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "export",
        "write a model's weights as its authors' code reads them",
        "",
        ("parvis export ./lpd-l-256 -o lpd_l_256.pth", "parvis export ./vq8 --part tokenizer -o vq.safetensors"),
    )
    parser.add_argument("model", help="a model folder")
    add_out(parser, "FILE.safetensors, FILE.pt or FILE.pth", required=True)
    parser.add_argument("--part", choices=("model", "tokenizer"), default="model", help="which one (%(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from parvis.weights.catalog import find
    from parvis.weights.export import export

    count = export(find(args.model), args.out, part=args.part)
    print(f"{args.part}: {count} tensors under the authors' names -> {args.out}")
    return 0
