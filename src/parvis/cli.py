"""The command line: ``parvis COMMAND ...``. One module of ``parvis.commands`` per command.

Knows nothing about models. A command module has ``add(commands)``, which declares its arguments, and a function from
them to an exit code. Nothing heavy is imported before a command runs, so that ``parvis --help`` answers at once.

Exit codes: 0 done, 1 failed, 2 the call is wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from parvis.commands import (
    bench,
    compare,
    convert,
    data,
    demo,
    doctor,
    edit,
    encode,
    estimate,
    evaluate,
    export,
    generate,
    listing,
    order,
    results,
    sample,
    serve,
    show,
    tokenizer,
    train,
    verify,
)  # fmt: skip
from parvis.errors import ParvisError, UnknownName, UsageError

GROUPS = (
    ("draw", (generate, edit, compare, demo), 'parvis generate "red apple" -n 4 -o out'),
    ("serve", (serve,), "parvis serve --model emoji"),
    ("look", (listing, show, order), "parvis order lpd --grid 16x16 --steps 20 -o order.gif"),
    ("measure", (bench, sample, evaluate, results, verify), "parvis bench --batch 1,8"),
    ("move", (convert, export), "parvis convert lpd_l_256.pth --system lpd-l-256 --tokenizer vq_ds16_c2i.pt -o lpd"),
    ("train", (data, tokenizer, encode, doctor, estimate, train), "parvis data fetch emoji"),
)
"""What ``parvis --help`` shows together: a word, the commands, an example."""


class Parser(argparse.ArgumentParser):
    """Wrong arguments are a :class:`UsageError` like any other; :func:`main` prints it."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; `{self.prog} --help` says what is expected")


class Version(argparse.Action):
    """Prints the version; looks it up only then, because that takes longer than all the rest of ``--help``."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata

        print("parvis", metadata.version("parvis"))
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Errors that Parvis raises on purpose are one line on stderr."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _note
            args = parse(sys.argv[1:] if argv is None else argv)
            code: int = args.run(args)
            sys.stdout.flush()
            return code
    except ParvisError as error:
        _say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except BrokenPipeError:  # `parvis list | head -1`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, with the function to call in ``run``. Raises :class:`UsageError`, naming what is near."""
    parser = Parser(
        prog="parvis",
        usage="parvis COMMAND ...",
        description="Autoregressive visual generation, made parallel.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, help=argparse.SUPPRESS, prog="parvis")
    parts = []
    for title, modules, example in GROUPS:
        before = len(commands._choices_actions)
        for module in modules:
            module.add(commands)
        lines = [f"  {action.dest:10} {action.help}" for action in commands._choices_actions[before:]]
        parts.append("\n".join([f"{title}:", *lines, f"    {example}"]))
    parser.epilog = "\n\n".join([*parts, "`parvis COMMAND --help` says more, with examples."])
    name = next((word for word in argv if not word.startswith("-")), None)
    if name is not None and name not in commands.choices:
        raise UnknownName("command", name, commands.choices)
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        shown = commands.choices[name].format_usage() if name else ""
        option = unknown[0].split("=")[0]
        raise UnknownName("argument", option, re.findall(r"--?[a-z-]+", shown))
    return args


def _note(message: Warning | str, *_: object, **__: object) -> None:
    _say(f"note: {message}")


def _say(text: str) -> None:
    """In one line; names from files may hold what a terminal obeys, which is shown as ``?``."""
    line = " ".join(text.split())
    print("parvis:", "".join(sign if sign.isprintable() else "?" for sign in line), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
