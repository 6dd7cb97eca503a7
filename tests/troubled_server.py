"""``parvis serve`` with something wrong inside, for tests of faults.

    python tests/troubled_server.py '{"delay": 0.02}' serve --model toy

What can be wrong: ``delay``, seconds that every pass takes longer; ``rows``, above how many requests a run finds no
memory; ``every``, each how many-th run of one request finds none either; ``breaks``, in which step the engine itself
breaks down; ``memory``, MiB of address space that the process may have beyond what it has once the models are loaded;
``limits``, other ones than the server's own; ``audit``, a file that gets one line for every connection, program or
foreign file opened.
"""

from __future__ import annotations

import itertools
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from parvis import cli
from parvis.engine import company
from parvis.engine.company import Company
from parvis.engine.engine import Engine
from parvis.model.base import Model
from parvis.model.feed import Gather, Question
from parvis.predict import Prediction
from parvis.serve import settings


def trouble(delay: float = 0.0, rows: int | None = None, every: int | None = None, breaks: int | None = None) -> None:
    """Put it in."""
    advance, answered, numbers = Company.advance, company.answered, itertools.count(1)

    def advancing(self: Company) -> None:
        if breaks is not None and next(numbers) >= breaks:
            raise RuntimeError("the engine was told to break down")
        advance(self)
        time.sleep(delay)

    runs = itertools.count(1)

    def short(model: Model, questions: Sequence[Question], gather: Gather) -> Sequence[Prediction]:
        many = rows is not None and len(questions) > rows
        if many or (every is not None and len(questions) == 1 and next(runs) % every == 0):
            raise torch.OutOfMemoryError("CUDA out of memory: told to say so")
        return answered(model, questions, gather)

    Company.advance = advancing  # type: ignore[method-assign]
    if rows is not None or every is not None:
        company.answered = short


def narrow(mebibytes: int) -> Callable[[Engine], None]:
    """``Engine.start`` that first forbids the process to grow by more."""
    start = Engine.start

    def starting(self: Engine) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + (mebibytes << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        start(self)

    return starting


def watch(file: Path) -> None:
    """Note what is opened from now on, but for what Python and the server's own files are."""
    out = file.open("a", buffering=1)
    own = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[1]), "/proc/self", "/usr/share/zoneinfo")
    told = ("socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.system", "os.exec",
            "os.posix_spawn", "pickle.find_class", "os.remove", "os.rename", "urllib.Request")  # fmt: skip

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if event in told or (event == "open" and isinstance(given[0], str) and not given[0].startswith(own)):
            out.write(json.dumps([event, *map(str, given)]) + "\n")

    sys.addaudithook(hook)


def main() -> int:
    given = json.loads(sys.argv[1])
    memory, audit = given.pop("memory", None), given.pop("audit", None)
    settings.Limits = partial(settings.Limits, **given.pop("limits", {}))  # type: ignore[assignment,misc]
    trouble(**given)
    if memory is not None:
        Engine.start = narrow(memory)  # type: ignore[method-assign]
    if audit is not None:
        start = Engine.start
        Engine.start = lambda self: (start(self), watch(Path(audit)))[0]  # type: ignore[method-assign]
    return cli.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
