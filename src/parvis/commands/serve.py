"""``parvis serve``: models over HTTP, as OpenAI's image API."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from parvis.commands import add_machine, command
from parvis.errors import UsageError
from parvis.serve.settings import KEY, Limits, Settings, find_key

if TYPE_CHECKING:
    from parvis.commands import Commands

EXAMPLES = (
    "parvis serve --model emoji",
    "parvis serve --model emoji-64 ./my-model --port 9000 --slots 16",
    "parvis serve --host 0.0.0.0 --api-key-file /run/secrets/parvis",
)


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "serve",
        "answer over HTTP, as OpenAI's image API",
        f"Requests share the model pass by pass. The key is in {KEY} or in a file; without one only this machine is "
        "answered. docs/server.md says what can be asked.",
        EXAMPLES,
    )
    parser.add_argument(
        "--model", nargs="+", action="extend", metavar="MODEL",
        help="names or folders (emoji); the first is the default. May be given several times",
    )  # fmt: skip
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any that is free (%(default)s)")
    parser.add_argument("--api-key-file", type=Path, metavar="FILE", help=f"a file with the key, in place of {KEY}")
    parser.add_argument(
        "--allow-host", nargs="+", default=[], metavar="NAME", help="without a key: further names to be called by"
    )
    parser.add_argument("--slots", type=int, default=32, help="pictures drawn together (%(default)s)")
    parser.add_argument("--cache-mb", type=int, metavar="MB", help="memory for their caches; no limit unless given")
    parser.add_argument("--queue", type=int, default=256, help="pictures that may wait (%(default)s)")
    parser.add_argument(
        "--lanes", type=int, metavar="N",
        help="threads that draw beside each other, each with its part of the cores; 2 for small models on a processor, "
        "1 for others, unless given",
    )  # fmt: skip
    parser.add_argument("--deadline", type=float, default=120.0, help="seconds for a request (%(default)s)")
    parser.add_argument("--grace", type=float, default=30.0, help="seconds to finish when told to stop (%(default)s)")
    parser.add_argument("--log-prompts", action="store_true", help="say in the log what is drawn")
    add_machine(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        from parvis.serve import run as server
        from parvis.serve.service import Service, load_all
    except ModuleNotFoundError as error:
        raise UsageError(f"the server needs the extra ({error}): pip install 'parvis[serve]'") from error
    from parvis.engine.work import Budget

    settings = Settings(
        host=args.host, port=args.port, key=find_key(args.api_key_file), names=tuple(args.allow_host),
        grace=args.grace, log_prompts=args.log_prompts, limits=Limits(seconds=args.deadline),
    )  # fmt: skip
    budget = Budget(args.slots, None if args.cache_mb is None else args.cache_mb << 20)
    if args.queue < 1:
        raise UsageError(f"--queue is 1 or more; got {args.queue}")
    if args.lanes is not None and args.lanes < 1:
        raise UsageError(f"--lanes is 1 or more; got {args.lanes}")
    models = load_all(args.model or ["emoji"], args.device, args.precision)
    server.serve(Service(models, settings, budget=budget, queue=args.queue, lanes=args.lanes))
    return 0
