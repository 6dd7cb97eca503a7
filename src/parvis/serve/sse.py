"""Server-sent events while pictures are drawn: OpenAI's, and one for every pass (``x_partials``)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import torch
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from parvis.engine.ticket import Cancelled, Done, Failed, Partial, Step, Ticket
from parvis.serve.answer import encoded, events, facts, fault, usage
from parvis.serve.asking import Errand
from parvis.serve.errors import refusal
from parvis.serve.pictures import encode
from parvis.serve.schema import Editing
from parvis.serve.service import Service

KEEP_ALIVE = 15


def stream(service: Service, errand: Errand, tickets: Sequence[Ticket], request_id: str) -> EventSourceResponse:
    """The answer to a request with ``stream``. A client that leaves cancels what it asked for."""
    return Stream(
        told(service, errand, tickets, request_id),
        tickets,
        ping=KEEP_ALIVE,
        ping_message_factory=lambda: ServerSentEvent(comment="keepalive", sep="\n"),
        sep="\n",
        send_timeout=service.settings.limits.write_seconds,
    )


class Stream(EventSourceResponse):
    """Events whose end, whatever it is, is the end of what they tell of: a client that is gone before the first event
    is asked for leaves ``content`` unopened, and nothing in it could cancel the tickets."""

    def __init__(self, content: AsyncIterator[ServerSentEvent], tickets: Sequence[Ticket], **how: Any) -> None:
        super().__init__(content, **how)
        self._tickets = tickets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            for ticket in self._tickets:
                ticket.cancel()


async def told(
    service: Service, errand: Errand, tickets: Sequence[Ticket], request_id: str
) -> AsyncIterator[ServerSentEvent]:
    """The events. After an error there are no others."""
    scribe = Scribe(service, errand)
    try:
        async with aclosing(events(tickets, errand.asked.x_partials == "all")) as happening:
            async for index, event in happening:
                if isinstance(event, Failed | Cancelled):
                    raise fault(event)
                if isinstance(event, Done):
                    yield await scribe.completed(index, event)
                elif isinstance(event, Partial):
                    yield await scribe.partial(index, event)
                elif isinstance(event, Step):
                    scribe.note(index, event)
                    if event.done != event.passes:
                        yield await scribe.passed(index, event)
    except Exception as error:
        refused = refusal(error)
        service.rejected[str(refused.code)] += 1
        about = {"type": "error", "status": refused.status, "request_id": request_id}
        yield _event("error", refused.body | about)


class Scribe:
    """Writes the events of one request."""

    def __init__(self, service: Service, errand: Errand) -> None:
        self._service, self._errand = service, errand
        self._what = "image_edit" if isinstance(errand.asked, Editing) else "image_generation"
        self._shown = [0] * len(errand.works)
        self._wrote: dict[int, torch.Tensor] = {}
        self._told: dict[int, torch.Tensor] = {}

    def note(self, index: int, event: Step) -> None:
        """A pass is done: which one wrote what so far."""
        self._wrote[index] = event.written.cpu()

    async def completed(self, index: int, event: Done) -> ServerSentEvent:
        """The picture is done."""
        image = await asyncio.to_thread(encoded, self._errand, index, event)
        more: dict[str, Any] = {"usage": usage(self._errand, event.tokens, 1), "x_note": self._errand.note}
        if self._errand.asked.x_partials:
            more |= self._written(index)
        return self._write("completed", index, image, more | facts(self._errand, index, event))

    async def partial(self, index: int, event: Partial) -> ServerSentEvent:
        """An unfinished picture, as ``partial_images`` asks for."""
        image = await asyncio.to_thread(encoded, self._errand, index, event)
        return self._unfinished(index, image, {"x_pass": event.done})

    async def passed(self, index: int, event: Step) -> ServerSentEvent:
        """A pass, as ``x_partials`` asks for: the unfinished picture, and the positions written since the last event.
        Of two passes that follow each other too fast to be told, only the second is shown."""
        image = await asyncio.to_thread(self._drawn, index, event)
        return self._unfinished(index, image, {"x_pass": event.done, "x_passes": event.passes} | self._written(index))

    def _written(self, index: int) -> dict[str, list[int]]:
        """The positions (row by row, from 0) that were written and not told yet, and the pass that wrote each."""
        wrote = self._wrote[index]
        fresh = (wrote > 0) & ~self._told.get(index, torch.zeros_like(wrote, dtype=torch.bool))
        self._told[index] = wrote > 0
        return {"x_positions": fresh.nonzero()[:, 0].tolist(), "x_position_passes": wrote[fresh].tolist()}

    def _drawn(self, index: int, event: Step) -> str:
        image = self._service.engine.picture(self._errand.works[index], event.canvas)
        return encode(image, self._errand.asked.output_format or "png", 100)

    def _unfinished(self, index: int, image: str, more: dict[str, Any]) -> ServerSentEvent:
        number = self._shown[index]
        self._shown[index] += 1
        seed = {"x_seed": self._errand.seeds[index]}
        return self._write("partial_image", index, image, {"partial_image_index": number} | more | seed)

    def _write(self, kind: str, index: int, image: str, more: dict[str, Any]) -> ServerSentEvent:
        name = f"{self._what}.{kind}"
        said = {
            "type": name,
            "b64_json": image,
            "created_at": int(time.time()),
            "size": self._errand.size,
            "quality": "auto",
            "background": "opaque",
            "output_format": self._errand.asked.output_format or "png",
            "x_index": index,
        }
        return _event(name, said | more)


def _event(name: str, said: dict[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(said), event=name, sep="\n")
