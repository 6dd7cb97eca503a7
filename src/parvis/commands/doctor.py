"""``parvis doctor``: do pictures, codes, tokenizer and recipe fit, before a long run?"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parvis.commands import add_json, add_out, add_quiet, check_suffix, command, print_json
from parvis.errors import DataError, UsageError

if TYPE_CHECKING:
    from parvis.commands import Commands
    from parvis.data.checkup import Finding
    from parvis.data.images import ImageSet
    from parvis.data.roundtrip import Tried
    from parvis.tokenizer.base import Tokenizer

EXAMPLES = (
    "parvis doctor ./pictures",
    "parvis doctor ./pictures --tokenizer runs/tok/model -o sheet.png",
    "parvis doctor runs/codes --recipe lpd-small --json",
)
MARKS = {"fine": " ok ", "note": "note", "fault": "BAD "}


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "doctor",
        "check pictures, codes and tokenizer before a training",
        "Decodes a few codes and compares them with the pictures; looks for damage, duplicates, empty pictures and "
        "small classes; with --recipe estimates its memory. Exit code 1 on a fault.",
        EXAMPLES,
    )
    parser.add_argument("data", help="pictures (a folder, shards) or a code cache")
    parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="its folder; a cache knows its own")
    parser.add_argument("--pictures", help="what the cache was made of, if it was moved")
    parser.add_argument("--recipe", help="say too whether this recipe's training fits into memory")
    parser.add_argument("--batch", type=int, default=16, help="pictures per step of the recipe (%(default)s)")
    parser.add_argument("--resolution", type=int, default=64, help="of pictures that have no codes yet (%(default)s)")
    parser.add_argument("--split", default="train", help="of a folder that has splits (%(default)s)")
    parser.add_argument("--sample", type=int, default=2000, help="pictures to look at (%(default)s)")
    add_out(parser, "sheet to write, .png: originals above what the codes decode to")
    add_quiet(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.sample < 1 or args.batch < 1:
        raise UsageError(f"--sample is {args.sample} and --batch {args.batch}; both are at least 1")
    if args.out is not None:
        from parvis.files import check_writable

        check_suffix(args.out, (".png",))
        check_writable(args.out)
    findings, tried = examine(args)
    if args.recipe is not None:
        findings.append(fits(args))
    if args.out is not None:
        if tried is None or not len(tried.originals):
            raise UsageError("a sheet needs a tokenizer and pictures; give --tokenizer (and --pictures)")
        write_sheet(args.out, tried)
    faults = sum(finding.level == "fault" for finding in findings)
    if args.json:
        print_json({"faults": faults, "findings": [asdict(finding) for finding in findings]})
    elif not args.quiet or faults:
        for finding in findings:
            shown = f" ({', '.join(finding.examples)})" if finding.examples else ""
            print(f"{MARKS[finding.level]}  {finding.what:17}  {finding.text}{shown}")
        if args.out is not None:
            print(f"-> {args.out}")
    return 1 if faults else 0


def examine(args: argparse.Namespace) -> tuple[list[Finding], Tried | None]:
    """What there is to say of the data, and the pictures that went through the tokenizer."""
    from parvis.data.checkup import Finding, look
    from parvis.data.codes import CodeCache, is_cache
    from parvis.data.roundtrip import try_cache, try_pictures, used
    from parvis.data.source import open_data

    if not is_cache(args.data):
        images = open_data(args.data, args.resolution, args.split)
        findings = look(images, args.sample)
        if args.tokenizer is None or any(f.what == "sizes" and f.level == "fault" for f in findings):
            return findings, None
        tried = try_pictures(images, _tokenizer(args.tokenizer))
        return findings + tried.findings, tried
    cache = CodeCache.open(args.data)
    manifest = cache.manifest
    how = f"{manifest.resolution} px, crop {manifest.crop}{', flipped' if manifest.flip else ''}"
    findings = [Finding("fine", "cache", f"{len(cache)} pictures, {manifest.views} views, {how}; all sums right")]
    if manifest.skipped:
        findings.append(Finding("note", "cache", f"{manifest.skipped} pictures were left out when it was made"))
    findings += [] if cache.latents else [used(cache)]
    folder = args.tokenizer or Path(manifest.tokenizer_folder)
    if not (folder / "config.json").is_file():
        return [*findings, Finding("fault", "tokenizer", f"{folder} is not there; give --tokenizer DIR")], None
    images_or_none = _pictures(args.pictures or manifest.source, manifest.resolution)
    if images_or_none is None:
        text = f"{args.pictures or manifest.source or 'their place'} is not there, so codes cannot be compared"
        return [*findings, Finding("note", "pictures", f"{text}; give --pictures")], None
    findings += look(images_or_none, args.sample)
    tried = try_cache(cache, _tokenizer(folder), images_or_none)
    return findings + tried.findings, tried


def fits(args: argparse.Namespace) -> Finding:
    """Whether the recipe's training has room in this machine's memory."""
    from parvis.commands.estimate import estimated, room
    from parvis.data.checkup import Finding

    found, have = estimated(args.recipe, args.batch), room("cpu")
    needs = f"{args.recipe} needs about {found.total / 2**30:.2f} GiB at batch {args.batch}"
    text = f"{needs}; {have / 2**30:.1f} GiB are free"
    return Finding("fault" if found.total > have else "fine", "memory", text)


def write_sheet(path: Path, tried: Tried) -> None:
    from parvis.commands.tokenizer import pairs
    from parvis.output import save_png, to_images

    found = list(zip(to_images(tried.decoded), tried.psnr.tolist(), strict=True))
    save_png(path, pairs([Path(name) for name in tried.names], to_images(tried.originals), found))


def _tokenizer(folder: Path) -> Tokenizer:
    from parvis.tokenizer.folder import read_tokenizer

    return read_tokenizer(folder)


def _pictures(place: Any, resolution: int) -> ImageSet | None:
    from parvis.data.source import open_data

    try:
        return open_data(place, resolution) if place and str(place) != "emoji" else None
    except DataError:
        return None
