"""``parvis convert``: a checkpoint of the authors' code to a Parvis model folder."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from parvis.commands import add_json, add_out, command

if TYPE_CHECKING:
    from parvis.commands import Commands
    from parvis.weights.match import Match


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "convert",
        "turn published weights into a model folder",
        "Everything in the file must be explained, or nothing is written; no code in it is run.",
        (
            "parvis convert lpd_l_256.pth --system lpd-l-256 --tokenizer vq_ds16_c2i.pt -o lpd-l-256",
            "parvis convert vq_ds8_c2i.pt --system vq8 -o vq8",
        ),
    )
    parser.add_argument("file", type=Path, help="checkpoint: .pt, .pth, .ckpt or .safetensors")
    parser.add_argument(
        "--system", required=True, metavar="NAME", help="what it is, e.g. lpd-l-256; or vq16, vq8, kl16"
    )
    add_out(parser, "the model folder to write", required=True)
    parser.add_argument(
        "--tokenizer", type=Path, metavar="FILE", help="the tokenizer's checkpoint, or a folder with it"
    )
    parser.add_argument(
        "--ema", action=argparse.BooleanOptionalAction, help="take the averaged weights, or those that are not"
    )
    parser.add_argument("--precision", help="fp32 or bf16 on disk (as in the file)")
    parser.add_argument("--stretch", action="store_true", help="interpolate positions to another resolution (LPD)")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from parvis.errors import ParvisError
    from parvis.weights.convert import Options, convert
    from parvis.weights.hub import cached_tokenizer

    matches: list[Match] = []
    problem: str | None = None
    try:
        options = Options(args.ema, args.precision, args.stretch, matches.append)
        tokenizer = args.tokenizer or cached_tokenizer(args.system)
        config = convert(args.file, args.system, args.out, tokenizer=tokenizer, options=options)
    except ParvisError as error:
        problem = str(error)
        raise
    finally:
        if args.json:
            report = {"system": args.system, "out": str(args.out), "error": problem}
            print(json.dumps({**report, "parts": [found.to_json() for found in matches]}, indent=2))
    if not args.json:
        print("\n".join(map(summary, matches)))
        print(f"{args.system}: {config.parameters / 1e6:.1f} M parameters -> {args.out}")
    return 0


def summary(found: Match) -> str:
    """One part of a conversion, in one line."""
    counts = {"reshaped": found.reshaped, "stretched": found.stretched, "dropped": found.dropped}
    also = "".join(f", {len(names)} {kind}" for kind, names in counts.items() if names)
    return f"{found.part}: {len(found.matched)} tensors of {found.source} ({found.group}){also}"
