"""``parvis verify``: is a model folder whole and undamaged?"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parvis.commands import Commands


def add(commands: Commands) -> None:
    parser = commands.add_parser("verify", help="check the files of a model against their sums", allow_abbrev=False)
    parser.add_argument("model", nargs="+", help="a name that `parvis list` shows, or a folder")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from parvis.weights.catalog import find
    from parvis.weights.folder import verify_folder

    for name in args.model:
        config = verify_folder(find(name))
        print(f"{name}: {len(config.files)} files, {config.parameters:,} parameters, all as recorded")
    return 0
