"""``parvis encode``: a data set's pictures as codes, once, in a cache that knows what it was made with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parvis.commands import add_json, add_out, add_quiet, bar, command, print_json

if TYPE_CHECKING:
    from parvis.commands import Commands
    from parvis.data.codes import CodeCache

EXAMPLES = (
    "parvis encode ./pictures --tokenizer runs/tok/model -o runs/codes",
    "parvis encode ./photos --tokenizer runs/tok/model --resolution 128 --flip -o runs/codes-128",
    "parvis encode 'imagenet-{000000..001023}.tar' --tokenizer ./vq16 --crop ten --skip-bad -o runs/codes",
    "parvis encode emoji --tokenizer runs/emoji-tokenizer/model -o runs/codes",
)


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "encode",
        "encode pictures into a code cache",
        "A cache knows which tokenizer made it, how pictures were cut, and refuses to be used with another.",
        EXAMPLES,
    )
    add_data(parser)
    parser.add_argument("--tokenizer", type=Path, required=True, metavar="DIR", help="folder of the trained tokenizer")
    add_out(parser, "the cache to write, a folder", required=True)
    parser.add_argument("--resolution", type=int, default=64, help="pixels per side (%(default)s)")
    parser.add_argument(
        "--crop",
        choices=("centre", "ten", "twenty", "none"),
        default="centre",
        help="the middle square; ten crops of it at 1.1 times the size, or ten more at 1.05; or pictures as they are "
        "(%(default)s)",
    )
    parser.add_argument("--flip", action="store_true", help="encode mirrored pictures as well")
    parser.add_argument("--skip-bad", action="store_true", help="leave out pictures that cannot be decoded")
    parser.add_argument("--batch", type=int, default=32, help="pictures encoded at once (%(default)s)")
    add_quiet(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def add_data(parser: argparse.ArgumentParser) -> None:
    """Where the pictures are."""
    parser.add_argument(
        "data",
        help="a folder of pictures (a sub-folder per class), WebDataset shards (DIR, FILE.tar or 'x-{000..012}.tar'), "
        "or `emoji`",
    )
    parser.add_argument(
        "--split", default="train", help="of a folder that has only train/, test/, ... in it (%(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    from parvis.errors import UsageError
    from parvis.files import check_writable
    from parvis.tokenizer.folder import read_tokenizer

    check_writable(args.out, folder=True)
    if args.batch < 1:
        raise UsageError(f"--batch is {args.batch}; encode at least 1 picture at once")
    tokenizer = read_tokenizer(args.tokenizer)
    cache = encoded(args, tokenizer)
    if args.json:
        print_json(facts(cache))
    elif not args.quiet:
        told = [f"{len(cache)} pictures, {cache.grid.tokens} tokens each"]
        if cache.manifest.views > 1:
            told.append(f"{cache.manifest.views} views")
        if cache.manifest.classes:
            told.append(f"{len(cache.manifest.classes)} classes")
        if captions := sum(caption is not None for _, caption in cache.pictures):
            told.append(f"{captions} captions")
        if cache.manifest.skipped:
            told.append(f"{cache.manifest.skipped} left out because they cannot be decoded")
        print(f"{', '.join(told)} -> {cache.path}")
    return 0


def encoded(args: argparse.Namespace, tokenizer: Any) -> CodeCache:
    """The cache that the arguments describe, freshly written."""
    from parvis.data.emoji import load_emoji
    from parvis.data.encode import encode_dataset, encode_images
    from parvis.data.source import open_data

    if args.data == "emoji":
        emoji = load_emoji(args.resolution)
        with bar(args, len(emoji), "picture") as progress:
            return encode_dataset(
                emoji, tokenizer, args.out, flip=args.flip, source="emoji", batch=args.batch,
                tokenizer_folder=str(args.tokenizer.resolve()),
                progress=lambda done, _: progress.tell(done),
            )  # fmt: skip
    images = open_data(args.data, args.resolution, args.split).cut(args.crop)
    with bar(args, len(images), "picture") as progress:
        return encode_images(
            images, tokenizer, args.out, flip=args.flip, skip_bad=args.skip_bad, batch=args.batch,
            tokenizer_folder=str(args.tokenizer.resolve()),
            progress=lambda done, _: progress.tell(done),
        )  # fmt: skip


def facts(cache: CodeCache) -> dict[str, Any]:
    """What a cache holds, for ``--json``."""
    manifest = cache.manifest
    return {
        "cache": str(cache.path),
        "pictures": manifest.count,
        "skipped": manifest.skipped,
        "views": manifest.views,
        "tokens": cache.grid.tokens,
        "resolution": manifest.resolution,
        "crop": manifest.crop,
        "flip": manifest.flip,
        "classes": list(manifest.classes),
        "captions": sum(caption is not None for _, caption in cache.pictures),
        "tokenizer": manifest.tokenizer,
        "identity": cache.identity,
    }
