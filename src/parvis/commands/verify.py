"""``parvis verify``: does Parvis equal the authors' code on a recorded case? Is a model folder whole and undamaged?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from parvis.commands import command

if TYPE_CHECKING:
    from parvis.commands import Commands


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "verify",
        "compare with the authors' code on a recorded case, or check a model's files",
        "",
        ("parvis verify tests/golden/lpd.safetensors", "parvis verify emoji-64 ./my-model"),
    )
    parser.add_argument(
        "what",
        nargs="+",
        help="CASE.safetensors with CASE.json beside it, a .json of schedules, a model's name, or a folder",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 where every case agrees and every folder is whole, 1 where a case differs."""
    results = [_case(name) if Path(name).suffix in (".safetensors", ".json") else _folder(name) for name in args.what]
    return 0 if all(results) else 1


def _case(name: str) -> bool:
    from parvis.output import format_table
    from parvis.verify import verify

    checks = verify(name)
    rows = [
        (
            check.what,
            None if check.agreement is None else f"{100 * check.agreement:.2f} %",
            None if check.difference is None else f"{check.difference:.1e}",
            "same" if check.passed else "DIFFERS",
        )
        for check in checks
    ]
    passed = all(check.passed for check in checks)
    print(f"{name}: {'agrees' if passed else 'does not agree'}")
    print(format_table(("compared", "tokens equal", "largest difference", ""), rows))
    return passed


def _folder(name: str) -> bool:
    from parvis.weights.catalog import find
    from parvis.weights.folder import verify_folder

    config = verify_folder(find(name))
    print(f"{name}: {len(config.files)} files, {config.parameters:,} parameters, all as recorded")
    return True
