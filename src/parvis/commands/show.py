"""``parvis show``: the card of a model or a published system, or what a picture says of its making."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parvis.commands import add_json, check_suffix, command, print_json
from parvis.commands.listing import about

if TYPE_CHECKING:
    from torch import nn

    from parvis.commands import Commands
    from parvis.output import Origin
    from parvis.system import System
    from parvis.weights.config import FolderConfig

EXAMPLES = (
    "parvis show emoji-64",
    "parvis show lpd-l-256 --picture order.png",
    "parvis show out/000-red-apple.png",
)


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "show",
        "describe a model, or read back how a picture was made",
        "",
        EXAMPLES,
    )
    parser.add_argument("what", metavar="MODEL|IMAGE", help="a name that `parvis list` shows, a folder, or a PNG file")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write the model's order as .png, .gif or .webp")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    path = Path(args.what)
    if path.is_file() or path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp", ".gif"):
        return show_picture(path, args.json)
    return show_model(args)


def show_picture(path: Path, as_json: bool) -> int:
    from parvis.errors import DataError
    from parvis.output import read_origin

    origin = read_origin(path)
    if origin is None:
        raise DataError(
            f"{path} does not say how it was made: it was not drawn by Parvis, or was saved again by another program"
        )
    facts: dict[str, Any] = {"model": origin.model, "prompt": origin.prompt, "seed": origin.seed, **origin.settings}
    again = command_of(origin)
    if as_json:
        print_json({**facts, "command": again})
        return 0
    print_facts(facts)
    kept = {"edit": "the picture it began with", "features": "the text features it was drawn from"}
    missing = next((what for key, what in kept.items() if facts.get(key)), "the program that made its order")
    print(f"\nagain: {again}" if again else f"\nTo draw it again takes {missing}.")
    return 0


def command_of(origin: Origin) -> str | None:
    """The command that draws the picture again; ``None`` where its order has no name, or where it began with a
    picture or text features."""
    settings = dict(origin.settings)
    order = settings.get("order", "own")
    if order == "custom" or settings.get("edit") or settings.get("features"):
        return None
    what = ["--classes", origin.prompt] if origin.prompt.isdigit() else [origin.prompt]
    words = ["parvis", "generate", *what, "--model", origin.model, "--seed", str(origin.seed)]
    if order != "own":
        words += ["--order", str(order)]
    for name in ("steps", "guidance", "temperature", "top_k", "top_p"):
        if name in settings:
            words += [f"--{name.replace('_', '-')}", f"{settings[name]:.12g}"]
    short = {"float32": "fp32", "bfloat16": "bf16"}.get(str(settings.get("precision")))
    return shlex.join([*words, "--precision", short] if short else words)


def show_model(args: argparse.Namespace) -> int:
    from parvis.assemble import build, published
    from parvis.chart import SYMBOLS, Chart, as_text, frames, still
    from parvis.files import check_writable
    from parvis.noise import Noise
    from parvis.output import save_animation, save_png
    from parvis.systems import PUBLISHED, SYSTEMS
    from parvis.weights.catalog import find
    from parvis.weights.folder import load_config

    if args.picture is not None:
        check_suffix(args.picture, (".png", ".gif", ".webp"))
        check_writable(args.picture)
    config = published(args.what) if args.what in PUBLISHED else load_config(find(args.what, PUBLISHED))
    system = build(config)
    facts = {"name": system.name, "what": about(SYSTEMS[config.system]), **of_system(system), **from_folder(config)}
    order = system.order(system.grid, system.preset.steps, Noise((0,)))
    chart = Chart.of(order, system.grid)
    if args.picture is not None:
        title = f"{system.name}: its order, seed 0"
        if args.picture.suffix == ".png":
            save_png(args.picture, still(chart, title))
        else:
            save_animation(args.picture, frames(chart, title))
    if args.json:
        print_json({**facts, "cite": bibtex(system.cite), "sizes": list(order.sizes)})
        return 0
    print_facts(facts)
    many = f"; {len(order.sizes)} of them share these" if len(order.sizes) > len(SYMBOLS) else ""
    print(f"\norder of seed 0, by the group of each token (1 to 9, then a to z{many}):\n")
    print(as_text(chart) if len(system.grid.scales) == 1 else pyramid(system))
    print(f"\ncite:\n{bibtex(system.cite)}")
    return 0


def pyramid(system: System) -> str:
    """The scales of a next-scale system, one per line."""
    sides = [f"{k}: {h} x {w}" for k, (_, h, w) in enumerate(system.grid.scales, 1)]
    return "\n".join(f"pass {line} tokens at once" for line in sides)


def of_system(system: System) -> dict[str, Any]:
    grid, preset, factor = system.grid, system.preset, system.tokenizer.factor
    channels, codes = system.tokenizer.channels, system.tokenizer.vocabulary
    values = f"{codes} codes" if channels is None else f"latents of {channels} channels"
    scales = "" if grid.flat else f" in {len(grid.scales)} scales"
    return {
        "paper": system.cite,
        "draws from": system.takes,
        "pictures": f"{grid.width * factor} x {grid.height * factor} pixels",
        "tokens": f"{grid.tokens}{scales}, {values}",
        "passes": passes(system),
        "guidance": f"{preset.guidance:g}",
        "sampling": f"temperature {preset.sampling.temperature:g}, top-k {preset.sampling.top_k}, "
        f"top-p {preset.sampling.top_p:g}",
        "orders": "any: `parvis generate --order NAME`" if system.takes_any_order else "its own only",
        "known tokens": {"any": "any set", "prefix": "the first of its order", "none": "none"}[system.edits],
        **{f"model {name}": parameters(model) for name, model in system.models.items()},
        "tokenizer size": parameters(system.tokenizer),
    }


def passes(system: System) -> str:
    """How often the model is asked, and for what where that is not one group a time."""
    steps, often = system.preset.steps, system.passes_per_group
    if often == 1:
        return f"{steps}"
    return f"at most {system.grid.tokens}" if often is None else f"{steps * often}: {often} for each of {steps} groups"


def from_folder(config: FolderConfig) -> dict[str, str]:
    files = {f"file {name}": f"{record.bytes / 1e6:.2f} MB" for name, record in config.files.items()}
    return {**files, **config.about}


def parameters(module: nn.Module) -> str:
    return f"{sum(parameter.numel() for parameter in module.parameters()) / 1e6:.2f} M parameters"


def bibtex(cite: str) -> str:
    """A BibTeX entry for a line such as ``Zhang et al., Title, arXiv 2507.01957, 2025``; the line where it differs."""
    found = re.fullmatch(r"(.+?), (.+), arXiv (\d{4}\.\d{5}), (.*?)(\d{4})", cite)
    if found is None:
        return cite
    authors, title, number, venue, year = found.groups()
    name = re.sub(r"\W", "", authors.split()[0]).lower()
    note = f"\n  note = {{{venue}{year}}}," if venue else ""
    authors = authors.replace(" et al.", " and others")
    lines = (
        f"@misc{{{name}{year}arxiv{number.replace('.', '')},",
        f"  author = {{{authors}}},",
        f"  title = {{{title}}},",
        f"  year = {{{year}}},{note}",
        f"  eprint = {{{number}}},",
        "  archivePrefix = {arXiv}",
        "}",
    )
    return "\n".join(lines)


def print_facts(facts: dict[str, Any]) -> None:
    width = max(map(len, facts))
    print("\n".join(f"{key:{width}}  {value}" for key, value in facts.items()))
