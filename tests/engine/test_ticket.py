"""Tickets: every event reaches its reader, whoever it is and however slow."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing

import pytest
import torch
from PIL import Image

from parvis.canvas import Canvas
from parvis.engine.ticket import Cancelled, Done, Event, Failed, Partial, Queued, Step, Ticket, Timings
from parvis.engine.work import Budget, Work
from parvis.errors import QueueFull, RequestCancelled, UsageError
from parvis.request import Request

PICTURE = Image.new("RGB", (1, 1))
DONE = Done(PICTURE, 2, 4, Timings(0, 0, 0, 0))


def step(done: int) -> Step:
    return Step(done, 2, Canvas.empty(1, 4), torch.zeros(4, dtype=torch.int32))


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_a_slow_reader_gets_the_latest_step_and_every_picture() -> None:
    ticket = Ticket()
    for event in (Queued(2), Queued(1), step(1), step(2), Partial(PICTURE, 0, 2), step(3), step(4), DONE):
        ticket.put(event)
    events = list(ticket)
    assert kinds(events) == ["Step", "Partial", "Step", "Done"]
    assert [event.done for event in events if isinstance(event, Step)] == [2, 4]


@pytest.mark.parametrize("last", [DONE, Failed(ValueError("no")), Cancelled()])
def test_nothing_follows_the_end(last: Done | Failed | Cancelled) -> None:
    ticket = Ticket()
    ticket.put(last)
    ticket.put(step(1))
    assert list(ticket) == [last] and ticket.final is last
    assert list(ticket) == []


def test_a_reader_in_another_thread_sees_all_that_it_waits_for() -> None:
    ticket, seen = Ticket(), list[Event]()
    reader = threading.Thread(target=lambda: seen.extend(ticket))
    reader.start()
    ticket.put(Partial(PICTURE, 0, 1))
    ticket.put(Partial(PICTURE, 1, 2))
    ticket.put(DONE)
    reader.join(10)
    assert kinds(seen) == ["Partial", "Partial", "Done"]


def test_results() -> None:
    good, bad, gone, slow = Ticket(), Ticket(), Ticket(), Ticket()
    good.put(DONE)
    bad.put(Failed(KeyError("broken")))
    gone.put(Cancelled())
    assert good.result() is DONE and list(good) == [DONE]
    with pytest.raises(KeyError, match="broken"):
        bad.result()
    with pytest.raises(RequestCancelled):
        gone.result()
    with pytest.raises(TimeoutError, match="goes on unless cancelled"):
        slow.result(0.01)


def test_cancelling_wakes_the_engine() -> None:
    woken = threading.Event()
    ticket = Ticket(woken.set)
    assert not ticket.cancelled
    ticket.cancel()
    assert ticket.cancelled and woken.is_set() and ticket.final is None


def test_following_in_asyncio() -> None:
    async def read() -> list[Event]:
        ticket = Ticket()
        asyncio.get_running_loop().call_later(0.01, lambda: threading.Thread(target=act, args=(ticket,)).start())
        return [event async for event in ticket.follow()]

    def act(ticket: Ticket) -> None:
        for event in (step(1), Partial(PICTURE, 0, 1), DONE):
            ticket.put(event)

    assert kinds(asyncio.run(asyncio.wait_for(read(), 10)))[-2:] == ["Partial", "Done"]


def test_quiet_events_wake_nobody_and_are_told_with_the_next() -> None:
    async def main() -> None:
        ticket, woken, told = Ticket(), list[None](), list[Event]()

        async def read() -> None:
            async for event in ticket.follow(quiet=(Queued, Step)):
                told.append(event)

        reading = asyncio.create_task(read())
        await asyncio.sleep(0)
        heard = ticket._heard
        ticket._heard = lambda: (woken.append(None), heard())
        for position in range(9, 0, -1):
            ticket.put(Queued(position))
        ticket.put(step(1))
        await asyncio.sleep(0.02)
        assert not woken and not told
        ticket.put(DONE)
        await asyncio.wait_for(reading, 10)
        assert len(woken) == 1 and kinds(told) == ["Step", "Done"]

    asyncio.run(main())


def test_a_reader_that_leaves_cancels() -> None:
    async def leave(ticket: Ticket) -> None:
        ticket.put(step(1))
        async with aclosing(ticket.follow()) as events:
            async for _ in events:
                return

    async def interrupted(ticket: Ticket) -> None:
        async for _ in ticket.follow():
            pass

    async def stop(ticket: Ticket) -> None:
        task = asyncio.create_task(interrupted(ticket))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for way in (leave, stop):
        ticket = Ticket()
        asyncio.run(way(ticket))
        assert ticket.cancelled
        ticket.put(Cancelled())  # the loop is closed: the engine must not notice


def test_a_reader_that_reads_to_the_end_does_not_cancel() -> None:
    async def read(ticket: Ticket) -> None:
        async for _ in ticket.follow():
            pass

    ticket = Ticket()
    ticket.put(DONE)
    asyncio.run(asyncio.wait_for(read(ticket), 10))
    assert not ticket.cancelled


def test_what_cannot_be_asked() -> None:
    one, two = (Request(torch.zeros(n, dtype=torch.long), tuple(range(n))) for n in (1, 2))
    for wrong in (
        lambda: Work("m", two),
        lambda: Work("m", one, partials=-1),
        lambda: Work("m", one, deadline=0),
        lambda: Work("m", one, deadline=float("nan")),
        lambda: Budget(slots=0),
        lambda: Budget(cache_bytes=0),
    ):
        with pytest.raises(UsageError):
            wrong()


def test_a_full_queue_says_when_to_come_again() -> None:
    assert QueueFull(8, 2.4).retry_after == 2.4 and "8 requests" in str(QueueFull(8, 2.4))
