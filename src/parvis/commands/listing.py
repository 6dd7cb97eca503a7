"""``parvis list``: the models that are here, and the published systems."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parvis.commands import Commands


def add(commands: Commands) -> None:
    parser = commands.add_parser("list", help="name the models and systems", allow_abbrev=False)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from parvis.output import format_table
    from parvis.systems import PUBLISHED
    from parvis.weights.catalog import bundled
    from parvis.weights.folder import load_config

    rows = []
    for name, folder in bundled().items():
        config = load_config(folder)
        megabytes = sum(record.bytes for record in config.files.values()) / 1e6
        rows.append((name, config.system, f"{config.parameters / 1e6:.1f}", f"{megabytes:.1f}"))
    print(format_table(("model", "system", "parameters (M)", "size (MB)"), rows))
    print("\nPublished systems (their weights do not come with Parvis):")
    names = ", ".join(sorted(PUBLISHED))
    print(textwrap.fill(names, 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))
    return 0
