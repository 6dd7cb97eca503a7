"""``parvis tokenizer``: train one, say what it is, see what it loses."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parvis.commands import add_json, add_out, add_quiet, check_suffix, command, print_json
from parvis.commands.train import add_options, run_recipe
from parvis.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

    from parvis.commands import Commands
    from parvis.tokenizer.base import Tokenizer

EXAMPLES = (
    "parvis tokenizer train small --data ./pictures --resolution 64 -o runs/tok",
    "parvis tokenizer info emoji-64",
    "parvis tokenizer reconstruct emoji-64 photo.png cat.jpg --resolution 64 -o sheet.png",
)


def add(commands: Commands) -> None:
    parser = command(commands, "tokenizer", "train a tokenizer, describe it, or see what it loses", "", EXAMPLES)
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    train = command(actions, "train", "run a tokenizer's recipe, going on where it stopped", "", EXAMPLES[:1])
    train.add_argument("recipe", help="its name, e.g. small; `parvis tokenizer train list` shows them all")
    add_options(train)
    train.set_defaults(run=run_train)

    info = command(actions, "info", "say what a tokenizer is made of", "", EXAMPLES[1:2])
    info.add_argument("model", help="a name that `parvis list` shows, or a folder of a model or a tokenizer")
    add_json(info)
    info.set_defaults(run=run_info)

    again = command(
        actions,
        "reconstruct",
        "take pictures through a tokenizer and back",
        "Writes a sheet, originals above their reconstructions, and prints the PSNR of each.",
        EXAMPLES[2:],
    )
    again.add_argument("model", help="a name that `parvis list` shows, or a folder of a model or a tokenizer")
    again.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="pictures")
    again.add_argument("--resolution", type=int, help="cut the middle square and scale it to so many pixels first")
    add_out(again, "sheet to write, .png (%(default)s)", "reconstructions.png")
    add_quiet(again)
    add_json(again)
    again.set_defaults(run=run_reconstruct)


def run_train(args: argparse.Namespace) -> int:
    return run_recipe("TOKENIZERS", args, Path("runs") / f"{args.recipe}-tokenizer")


def run_info(args: argparse.Namespace) -> int:
    from parvis.assemble import build, published
    from parvis.meta import without_memory
    from parvis.systems import PUBLISHED
    from parvis.tokenizer.folder import KINDS, build_tokenizer
    from parvis.weights.catalog import find
    from parvis.weights.folder import load_config

    config = published(args.model) if args.model in PUBLISHED else load_config(find(args.model, PUBLISHED))
    with without_memory():
        tokenizer: Tokenizer = build_tokenizer(config) if config.system in KINDS else build(config).tokenizer
    facts: dict[str, Any] = {
        "kind": type(tokenizer).__name__,
        "factor": tokenizer.factor,
        **({"codes": tokenizer.vocabulary} if tokenizer.channels is None else {"channels": tokenizer.channels}),
        "parameters": sum(parameter.numel() for parameter in tokenizer.parameters()),
    }
    if config.system in KINDS:
        facts |= {key: recorded(value) for key, value in config.about.items()}
    elif "tokenizer" in config.about:
        facts["hash"] = config.about["tokenizer"]
    if args.json:
        print_json(facts)
        return 0
    facts["factor"] = f"{tokenizer.factor} x {tokenizer.factor} pixels a token"
    facts["parameters"] = f"{facts['parameters'] / 1e6:.2f} M"
    width = max(map(len, facts))
    for key, value in facts.items():
        told = ", ".join(f"{k} {v:.4g}" for k, v in value.items()) if isinstance(value, dict) else value
        print(f"{key:{width}}  {told}")
    return 0


def recorded(text: str) -> object:
    """Numbers that a training wrote (a JSON object, such as PSNR in dB), else the text."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, dict) else text


def run_reconstruct(args: argparse.Namespace) -> int:
    from parvis.data.picture import centre_crop, read_image
    from parvis.files import check_writable
    from parvis.output import save_png

    if args.resolution is not None and args.resolution < 1:
        raise UsageError(f"--resolution is {args.resolution}, which is no number of pixels")
    check_suffix(args.out, (".png",))
    check_writable(args.out)
    pictures = [read_image(path) for path in args.images]
    tokenizer = open_tokenizer(args.model)
    if args.resolution:
        pictures = [centre_crop(picture, args.resolution) for picture in pictures]
    for path, picture in zip(args.images, pictures, strict=True):
        if picture.width % tokenizer.factor or picture.height % tokenizer.factor:
            raise UsageError(
                f"{path} has {picture.width} x {picture.height} pixels, which {tokenizer.factor} does not divide; give "
                f"--resolution, a multiple of {tokenizer.factor}"
            )
    found = [through(tokenizer, picture) for picture in pictures]
    save_png(args.out, pairs(args.images, pictures, found))
    if args.json:
        results = [{"image": str(p), "psnr": round(psnr, 3)} for p, (_, psnr) in zip(args.images, found, strict=True)]
        print_json({"file": str(args.out), "images": results})
    elif not args.quiet:
        for path, (_, psnr) in zip(args.images, found, strict=True):
            print(f"{psnr:6.2f} dB  {path}")
        print(f"-> {args.out}")
    return 0


def pairs(
    paths: Sequence[Path], pictures: Sequence[Image.Image], found: Sequence[tuple[Image.Image, float]]
) -> Image.Image:
    """A sheet: up to eight originals in a row, and under each its reconstruction."""
    from PIL import Image

    from parvis.output import sheet

    columns = min(8, len(pictures))
    tiles: list[Image.Image] = []
    captions: list[str] = []
    for low in range(0, len(pictures), columns):
        part = slice(low, low + columns)
        gap = columns - len(pictures[part])
        blank, nothing = [Image.new("RGB", (1, 1), "white")] * gap, [""] * gap
        tiles += [*pictures[part], *blank, *(image for image, _ in found[part]), *blank]
        captions += [*(path.name for path in paths[part]), *nothing]
        captions += [*(f"{psnr:.2f} dB" for _, psnr in found[part]), *nothing]
    return sheet(tiles, captions, columns=columns, tile=192)


def open_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a folder of its own, or of a model, in float32."""
    from parvis.assemble import read_folder
    from parvis.tokenizer.folder import KINDS, read_tokenizer
    from parvis.weights.catalog import find
    from parvis.weights.folder import load_config

    folder = find(name)
    if load_config(folder).system in KINDS:
        return read_tokenizer(folder).float().eval()
    return read_folder(folder)[0].tokenizer.float().eval()


def through(tokenizer: Tokenizer, picture: Image.Image) -> tuple[Image.Image, float]:
    """The reconstruction of ``picture`` as it would be saved, and its PSNR in dB (99 where nothing is lost)."""
    import numpy as np
    import torch

    from parvis.output import to_images

    original = np.asarray(picture).astype(np.float32)
    pixels = torch.from_numpy(original).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode():
        grid = tokenizer.grid(picture.height, picture.width)
        image = to_images(tokenizer.decode(tokenizer.encode(pixels), grid))[0]
    error = float(np.square(np.asarray(image).astype(np.float32) - original).mean())
    return image, min(99.0, float(10 * np.log10(255**2 / max(error, 1e-10))))
