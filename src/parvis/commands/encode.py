"""``parvis encode``: a data set's pictures as codes, once, in a cache that knows what it was made with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parvis.commands import Commands


def add(commands: Commands) -> None:
    parser = commands.add_parser("encode", help="encode pictures into a code cache", allow_abbrev=False)
    parser.add_argument("data", help="`emoji`, or a folder of pictures (one sub-folder per class)")
    parser.add_argument("--tokenizer", type=Path, required=True, metavar="DIR", help="folder of the trained tokenizer")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the cache to write")
    parser.add_argument("--resolution", type=int, default=64, help="pixels per side (%(default)s)")
    parser.add_argument("--flip", action="store_true", help="encode mirrored pictures as well")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from parvis.data.codes import encode_dataset
    from parvis.data.emoji import load_emoji
    from parvis.data.folder import open_folder
    from parvis.tokenizer.folder import load_tokenizer

    pictures = load_emoji(args.resolution) if args.data == "emoji" else open_folder(args.data, args.resolution)
    crop = "none" if args.data == "emoji" else "centre"
    cache = encode_dataset(pictures, load_tokenizer(args.tokenizer), args.out, crop=crop, flip=args.flip)
    print(f"{len(cache)} pictures, {cache.grid.tokens} tokens each -> {cache.path}")
    return 0
