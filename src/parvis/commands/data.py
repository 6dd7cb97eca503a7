"""``parvis data fetch``: the data sets that recipes train on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from parvis.commands import command

if TYPE_CHECKING:
    from parvis.commands import Commands

SETS = ("emoji", "fashion")
EXAMPLES = ("parvis data fetch emoji", "parvis data fetch fashion", "parvis data fetch emoji --from ~/downloads")


def add(commands: Commands) -> None:
    parser = command(commands, "data", "fetch data sets", "", EXAMPLES)
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    fetch = command(actions, "fetch", "download, check and prepare a data set, once", "", EXAMPLES)
    fetch.add_argument("set", choices=SETS, help="which: %(choices)s")
    fetch.add_argument(
        "--from", dest="given", type=Path, metavar="DIR", help="folder with the packages, fetched by hand"
    )
    fetch.add_argument("--cache", type=Path, metavar="DIR", help="where to keep it ($PARVIS_CACHE or ~/.cache/parvis)")
    fetch.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from parvis.data import fetch_emoji, fetch_fashion

    fetch = {"emoji": fetch_emoji, "fashion": fetch_fashion}[args.set]
    folder = fetch(args.cache, given=args.given)
    print(f"-> {folder}")
    return 0
