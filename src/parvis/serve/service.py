"""What the routes share: the models, the engine, the settings, and what has been counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from parvis.engine.engine import Engine
from parvis.engine.ticket import Ticket
from parvis.engine.work import Budget, Work
from parvis.errors import EngineStopped, UsageError
from parvis.pipeline import Pipeline, load
from parvis.serve.errors import Refused
from parvis.serve.settings import Settings


class Service:
    """Models behind an engine.

    Args:
        models: name -> pipeline; the first draws where a request names none. budget, queue, lanes: of the engine.

    Attributes:
        here: requests that are being answered. rejected: reason -> how many were.
    """

    def __init__(
        self,
        models: Mapping[str, Pipeline],
        settings: Settings | None = None,
        *,
        budget: Budget | None = None,
        queue: int = 256,
        lanes: int | None = None,
    ) -> None:
        self.models, self.settings = dict(models), settings or Settings()
        self.engine = Engine(self.models, budget=budget, queue=queue, lanes=lanes)
        self.here = 0
        self.rejected: Counter[str] = Counter()
        self._draining, self._coming = False, 0

    @property
    def ready(self) -> bool:
        """Whether it takes requests for pictures."""
        return self.engine.alive and not self._draining

    def drain(self) -> None:
        """Take no more; those who are here go on."""
        self._draining = True

    def model(self, name: str | None) -> tuple[str, Pipeline]:
        """The model that is meant. Refuses names that are not served."""
        if name is None:
            return next(iter(self.models.items()))
        if name not in self.models:
            served = ", ".join(self.models)
            raise Refused(
                404,
                f"the model {name!r} is not served here; there are: {served}",
                param="model",
                code="model_not_found",
            )
        return name, self.models[name]

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue for one who is about to be prepared and submitted, so that nobody is prepared in vain:
        under load that takes all the time that those would need who are drawn. Raises as :meth:`welcome`."""
        self.welcome()
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    def welcome(self) -> None:
        """Refuses at once, before a request is read, what :meth:`submit` would refuse.

        Raises:
            EngineStopped: nothing is taken any more. QueueFull: too many wait already.
        """
        if not self.ready:
            raise EngineStopped("the server is starting, stopping or broken and takes no requests; ask again later")
        self.engine.check_room(self._coming)

    def submit(self, works: Sequence[Work]) -> list[Ticket]:
        """Queue all of them, or none.

        Raises:
            QueueFull, EngineStopped, UsageError: as ``Engine.submit``. Refused: more than may ever wait.
        """
        if len(works) > self.engine.limit:
            most = f"this server lets {self.engine.limit} wait"
            raise Refused(400, f"n asks for {len(works)} pictures at once; {most}, so ask for fewer", param="n")
        tickets: list[Ticket] = []
        try:
            for work in works:
                tickets.append(self.engine.submit(work))
        except Exception:
            for ticket in tickets:
                ticket.cancel()
            raise
        return tickets


def load_all(names: list[str], device: str | None, precision: str | None) -> dict[str, Pipeline]:
    """Name -> model; a folder is called by its last part.

    Raises:
        UsageError: two of one name.
    """
    models: dict[str, Pipeline] = {}
    for given in names:
        name = Path(given).resolve().name if os.sep in given else given
        if name in models:
            raise UsageError(f"two models are called {name!r}; rename a folder")
        models[name] = load(given, device=device, precision=precision)
    return models
