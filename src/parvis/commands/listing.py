"""``parvis list``: the models that are here, and the published systems."""

from __future__ import annotations

import argparse
import textwrap
from functools import partial
from typing import TYPE_CHECKING, Any

from parvis.commands import add_json, command, print_json

if TYPE_CHECKING:
    from parvis.commands import Commands

EXAMPLES = ("parvis list", "parvis list --json", "parvis show lpd-l-256")


def add(commands: Commands) -> None:
    parser = command(commands, "list", "name the models and systems", "`parvis show NAME` says more of each.", EXAMPLES)
    add_json(parser)
    parser.add_argument("--weights", action="store_true", help="where published weights are, and their printed results")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from parvis.output import format_table

    if args.weights:
        return list_weights(args.json)
    models, families = bundled_models(), published_families()
    if args.json:
        print_json({"models": models, "published": families})
        return 0
    rows = [
        (
            m["name"],
            m["draws_from"],
            m["pixels"],
            m["passes"],
            f"{m['parameters'] / 1e6:.1f}",
            f"{m['bytes'] / 1e6:.1f}",
        )
        for m in models
    ]
    print(format_table(("model", "draws from", "pixels", "passes", "parameters (M)", "size (MB)"), rows))
    for model in models:
        if model["alias"]:
            print(f"{model['alias']}: {model['name']}")
    print("\nPublished systems (their weights do not come with Parvis):")
    for family in families:
        print(f"\n{family['what']}")
        names = ", ".join(family["names"])
        print(textwrap.fill(names, 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))
    return 0


def list_weights(as_json: bool) -> int:
    """Two tables: where the files are, and what their authors' ways of sampling gave."""
    from parvis.output import format_table
    from parvis.weights.public import PLACES, RESULTS, places_table, results_table

    tables = {"weights": (PLACES, places_table()), "results": (RESULTS, results_table())}
    if as_json:
        print_json({name: [dict(zip(head, row, strict=True)) for row in rows] for name, (head, rows) in tables.items()})
    else:
        print("\n\n".join(format_table(head, rows) for head, rows in tables.values()))
    return 0


def bundled_models() -> list[dict[str, Any]]:
    from parvis.assemble import build
    from parvis.weights.catalog import ALIAS, best, bundled
    from parvis.weights.folder import load_config

    found = []
    alias = best()
    for name, folder in bundled().items():
        config = load_config(folder)
        system = build(config)
        factor = system.tokenizer.factor
        found.append(
            {
                "name": name,
                "alias": ALIAS if name == alias else None,
                "system": config.system,
                "draws_from": system.takes,
                "pixels": f"{system.grid.width * factor} x {system.grid.height * factor}",
                "tokens": system.grid.tokens,
                "passes": system.preset.steps,
                "parameters": config.parameters,
                "bytes": sum(record.bytes for record in config.files.values()),
            }
        )
    return found


def published_families() -> list[dict[str, Any]]:
    """One entry per paper: what it is, in a line, and the names of its sizes."""
    from parvis.systems import PUBLISHED

    families: dict[str, dict[str, Any]] = {}
    for name, made in PUBLISHED.items():
        assert isinstance(made, partial)
        module = made.func.__module__
        families.setdefault(module, {"system": module.rpartition(".")[2], "what": about(made), "names": []})
        families[module]["names"].append(name)
    return list(families.values())


def about(made: Any) -> str:
    """What a system is: the first sentence of the file that has its paper."""
    import sys

    function = made.func if isinstance(made, partial) else made
    text = " ".join((sys.modules[function.__module__].__doc__ or "").split())
    first, dot, _ = text.partition("). ")
    return first + ")" if dot else text.partition(". ")[0]
