"""``parvis encode``: a data set's pictures as codes, once, in a cache that knows what it was made with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from parvis.commands import add_out, add_quiet, bar, command

if TYPE_CHECKING:
    from parvis.commands import Commands

EXAMPLES = (
    "parvis encode emoji --tokenizer runs/emoji-tokenizer/model -o runs/codes",
    "parvis encode ./photos --tokenizer runs/emoji-tokenizer/model --resolution 128 --flip -o runs/codes-128",
)


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "encode",
        "encode pictures into a code cache",
        "A cache knows which tokenizer made it, how pictures were cut, and refuses to be used with another.",
        EXAMPLES,
    )
    parser.add_argument("data", help="`emoji`, or a folder of pictures (one sub-folder per class)")
    parser.add_argument("--tokenizer", type=Path, required=True, metavar="DIR", help="folder of the trained tokenizer")
    add_out(parser, "the cache to write, a folder", required=True)
    parser.add_argument("--resolution", type=int, default=64, help="pixels per side (%(default)s)")
    parser.add_argument("--flip", action="store_true", help="encode mirrored pictures as well")
    add_quiet(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from parvis.data.codes import encode_dataset
    from parvis.data.emoji import load_emoji
    from parvis.data.folder import open_folder
    from parvis.files import check_writable
    from parvis.tokenizer.folder import load_tokenizer

    check_writable(args.out, folder=True)
    pictures = load_emoji(args.resolution) if args.data == "emoji" else open_folder(args.data, args.resolution)
    crop = "none" if args.data == "emoji" else "centre"
    with bar(args, len(pictures), "picture") as progress:
        cache = encode_dataset(
            pictures,
            load_tokenizer(args.tokenizer),
            args.out,
            crop=crop,
            flip=args.flip,
            progress=lambda done, _: progress.tell(done),
        )
    if not args.quiet:
        print(f"{len(cache)} pictures, {cache.grid.tokens} tokens each -> {cache.path}")
    return 0
