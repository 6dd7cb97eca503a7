"""``parvis data fetch``: the data sets that recipes train on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parvis.commands import Commands

SETS = ("emoji",)


def add(commands: Commands) -> None:
    parser = commands.add_parser("data", help="fetch data sets", allow_abbrev=False)
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    fetch = actions.add_parser("fetch", help="download, check and prepare a data set, once", allow_abbrev=False)
    fetch.add_argument("set", choices=SETS, help="which: %(choices)s")
    fetch.add_argument(
        "--from", dest="given", type=Path, metavar="DIR", help="folder with the packages, fetched by hand"
    )
    fetch.add_argument("--cache", type=Path, metavar="DIR", help="where to keep it ($PARVIS_CACHE or ~/.cache/parvis)")
    fetch.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from parvis.data import fetch_emoji

    folder = fetch_emoji(args.cache, given=args.given)
    print(f"-> {folder}")
    return 0
