"""The commands of ``parvis``, one module each: ``add`` declares the arguments, the rest does the work.

Here is what they share. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from parvis.errors import UsageError

if TYPE_CHECKING:
    from parvis.progress import Progress

    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]


def command(
    commands: Commands, name: str, summary: str, description: str = "", examples: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """A parser with a description and examples under its options."""
    told = textwrap.fill(" ".join(f"{summary[0].upper()}{summary[1:]}. {description}".split()), 96)
    shown = "\n  ".join(["examples:", *examples])
    return commands.add_parser(
        name,
        help=summary,
        description=told,
        epilog=shown if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_model(parser: argparse.ArgumentParser, default: str = "emoji") -> None:
    parser.add_argument(
        "--model", default=default, help="a name that `parvis list` shows, or a folder; emoji: the best bundled"
    )


def add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--precision", help="auto, fp32 or bf16 (auto)")
    parser.add_argument("--device", help="where to run, in PyTorch's words; the best there is unless given")


def add_out(parser: argparse.ArgumentParser, what: str, default: str | None = None, required: bool = False) -> None:
    given = None if default is None else Path(default)
    parser.add_argument("-o", "--out", type=Path, default=given, required=required, metavar="PATH", help=what)


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print what came of it as JSON, and nothing else")


def add_quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar, no report")


def numbers(text: str) -> tuple[int, ...]:
    """``64,20,10`` as whole numbers of 1 or more; for ``type=`` of an argument."""
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = (0,)
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} are not whole numbers of 1 or more with commas between, as in 8,1")
    return found


def names(text: str) -> tuple[str, ...]:
    """``raster,lpd`` as names; for ``type=`` of an argument."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def check_suffix(path: Path, suffixes: Sequence[str]) -> None:
    """Raises UsageError if ``path`` is not a file of one of these kinds."""
    if path.suffix not in suffixes:
        raise UsageError(f"{str(path)!r} does not say what to write; end its name in {' or '.join(suffixes)}")


@contextlib.contextmanager
def bar(args: argparse.Namespace, total: int, what: str) -> Iterator[Progress]:
    """A progress bar on a terminal; none in a pipe, nor with ``--quiet`` or ``--json``."""
    from parvis.progress import Progress

    progress = Progress(total, what=what, quiet=getattr(args, "quiet", False) or getattr(args, "json", False))
    try:
        yield progress
    finally:
        progress.clear()


def print_json(content: object) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False))
