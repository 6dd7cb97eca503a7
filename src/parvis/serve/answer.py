"""From the engine's events to answers in OpenAI's words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from parvis.engine.ticket import Cancelled, Done, Ending, Event, Failed, Partial, Queued, Step, Ticket
from parvis.errors import RequestCancelled
from parvis.serve.asking import Errand
from parvis.serve.pictures import encode


async def events(tickets: Sequence[Ticket], steps: bool = False) -> AsyncGenerator[tuple[int, Event], None]:
    """What happens to several requests, as it happens, with the number of the request; ends when all have ended.

    Leaving early cancels them. ``steps``: whether passes are told as well; of those that nobody takes only the latest
    of each request waits here, so that a slow client costs nothing.
    """
    told: asyncio.Queue[tuple[int, Event | None]] = asyncio.Queue()
    latest: dict[int, Step] = {}

    async def listen(index: int, ticket: Ticket) -> None:
        async for event in ticket.follow(quiet=(Queued,) if steps else (Queued, Step)):
            if isinstance(event, Partial | Ending):
                told.put_nowait((index, event))
            elif steps and isinstance(event, Step):
                if index not in latest:
                    told.put_nowait((index, None))
                latest[index] = event

    listeners = [asyncio.create_task(listen(index, ticket)) for index, ticket in enumerate(tickets)]
    left = len(tickets)
    try:
        while left:
            index, event = await told.get()
            left -= isinstance(event, Ending)
            yield index, latest.pop(index) if event is None else event
    finally:
        for ticket in tickets:
            ticket.cancel()
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)


def fault(event: Failed | Cancelled) -> Exception:
    """What to tell a client whose request ended so."""
    return event.error if isinstance(event, Failed) else RequestCancelled("the request was cancelled")


async def pictures(errand: Errand, tickets: Sequence[Ticket]) -> dict[str, Any]:
    """The answer to a request without events. Raises what made a picture fail; the others are then cancelled."""
    start, done = time.perf_counter(), dict[int, Done]()
    async with aclosing(events(tickets)) as happening:
        async for index, event in happening:
            if isinstance(event, Failed | Cancelled):
                raise fault(event)
            if isinstance(event, Done):
                done[index] = event
    finished = [done[index] for index in range(len(tickets))]
    data = [await asyncio.to_thread(picture, errand, index, event) for index, event in enumerate(finished)]
    return {
        "created": int(time.time()),
        "data": data,
        "background": "opaque",
        "output_format": errand.asked.output_format or "png",
        "size": errand.size,
        "usage": usage(errand, sum(event.tokens for event in finished), len(finished)),
        "x_model": errand.model,
        "x_seeds": errand.seeds,
        "x_seconds": round(time.perf_counter() - start, 4),
        "x_note": errand.note,
    }


def picture(errand: Errand, index: int, event: Done) -> dict[str, Any]:
    """One entry of ``data``."""
    return {"b64_json": encoded(errand, index, event), "url": None, "revised_prompt": None} | facts(
        errand, index, event
    )


def encoded(errand: Errand, index: int, event: Done | Partial) -> str:
    """Its picture in the format that was asked for; only a finished one says how it was made."""
    quality = 100 if errand.asked.output_compression is None else errand.asked.output_compression
    origin = errand.origins[index] if isinstance(event, Done) else None
    return encode(event.image, errand.asked.output_format or "png", quality, origin)


def facts(errand: Errand, index: int, event: Done) -> dict[str, Any]:
    """What Parvis says of a finished picture beside what OpenAI does."""
    return {
        "x_seed": errand.seeds[index],
        "x_steps": event.passes,
        "x_seconds": round(event.timings.total, 4),
        "x_queued_seconds": round(event.timings.queued, 4),
    }


def usage(errand: Errand, drawn: int, count: int) -> dict[str, Any]:
    """Tokens that ``count`` pictures were drawn from, and those that were drawn."""
    text, image = errand.text_tokens * count, errand.image_tokens * count
    return {
        "input_tokens": text + image,
        "input_tokens_details": {"text_tokens": text, "image_tokens": image},
        "output_tokens": drawn,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": drawn},
        "total_tokens": text + image + drawn,
    }
