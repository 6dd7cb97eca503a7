"""More than a server can do, and clients that leave in the middle: nobody else notices, nothing is left behind.

Each in a few seconds, and at length (slow), with what was measured as one line of JSON; docs/reliability.md has it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from apart import Answer, Apart, apart, ask, report, settled, share, slope
from served import GENERATE, listening, running, stepped, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads memory and sockets in /proc")
CLIENTS = 32
RED = {"prompt": "red apple", "steps": 16}


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    """Its passes take 10 ms longer, so that clients can leave between them; a short queue is soon full."""
    log = tmp_path_factory.mktemp("server") / "log"
    with apart(models / "toy", log, "--slots", "8", "--queue", "32", trouble={"delay": 0.01}) as server:
        yield server


async def capacity(server: Apart, seconds: float) -> float:
    """Pictures a second while 32 clients each wait for one."""
    seeds, end, done = itertools.count(10**6), time.perf_counter() + seconds, 0

    async def client() -> None:
        nonlocal done
        while time.perf_counter() < end:
            answer = await ask(server.port, RED | {"seed": next(seeds)})
            assert answer.status == 200, answer
            done += 1

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return done / (time.perf_counter() - start)


async def flood(server: Apart, rate: float, seconds: float) -> dict[str, Any]:
    """Requests that come at random, ``rate`` a second, whether or not there are answers; what was seen."""
    chance, tasks, memory = random.Random(0), list[asyncio.Task[Answer]](), list[tuple[float, float]]()
    start = moment = time.perf_counter()
    while (moment := moment + chance.expovariate(rate)) < start + seconds:
        await asyncio.sleep(max(0.0, moment - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(server.port, RED | {"seed": len(tasks)})))
        if len(tasks) % 20 == 0 and moment > start + seconds / 5:
            memory.append((len(tasks) / 1000, server.memory))
    answers = await asyncio.gather(*tasks)
    took = time.perf_counter() - start
    drawn, full = ([one for one in answers if one.status == status] for status in (200, 429))
    assert all(int(one.headers["retry-after"]) >= 1 for one in full)
    assert {one.code for one in full} <= {"queue_full", "too_many_requests"}
    return {
        "seconds": seconds, "asked_per_second": len(answers) / seconds, "requests": len(answers),
        "statuses": {str(status): count for status, count in sorted(Counter(a.status for a in answers).items())},
        "failures": [one.failure for one in answers if one.failure], "drawn_per_second": len(drawn) / took,
        "p50_s": share([one.seconds for one in drawn], 0.5), "p95_s": share([one.seconds for one in drawn], 0.95),
        "refused_p50_ms": 1000 * share([one.seconds for one in full], 0.5),
        "refused_p99_ms": 1000 * share([one.seconds for one in full], 0.99),
        "slope_mib_per_1000": slope(memory), "memory_mib": [round(memory[0][1]), round(memory[-1][1])],
    }  # fmt: skip


def overload(server: Apart, seconds: float, times: float = 2) -> dict[str, Any]:
    """An open loop at ``times`` the capacity; whoever comes afterwards is served as if nothing had been."""
    most = asyncio.run(capacity(server, min(seconds, 20)))
    found = asyncio.run(flood(server, times * most, seconds))
    own = [1000 * line["seconds"] for line in server.lines() if line.get("status") == 429]
    found |= {"refused_by_server_p50_ms": share(own, 0.5), "refused_by_server_p99_ms": share(own, 0.99)}
    counts = settled(server)
    assert asyncio.run(ask(server.port, RED)).status == 200
    assert found["failures"] == [] and set(found["statuses"]) == {"200", "429"}
    assert counts['request_success_total{finished_reason="failed"}'] == 0
    return {"capacity_per_second": most} | found


def test_more_than_the_capacity(server: Apart) -> None:
    overload(server, 3, times=4)


@pytest.mark.slow
def test_twice_the_capacity_for_five_minutes(models: Path, tmp_path: Path) -> None:
    with apart(models / "toy", tmp_path / "log") as server:
        found = overload(server, 300)
    report("open loop", **found)
    assert found["slope_mib_per_1000"] < 1
    assert found["drawn_per_second"] > 0.3 * found["capacity_per_second"]


async def cuts(server: Apart, count: int) -> dict[str, Any]:
    """``count`` streams that are cut after a number of events drawn at random, beside pictures that nobody cuts."""
    chance, left, checked = random.Random(1), count, 0
    plans = [RED | {"seed": seed, "steps": 9 + seed, "order": ("lpd", "random")[seed % 2]} for seed in range(6)]
    expected = [(await ask(server.port, plan)).picture for plan in plans]
    cut: Counter[int] = Counter()

    async def leaving() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            events = chance.randrange(0, 16)
            body = RED | {"seed": left, "stream": True, "x_partials": "all", "n": chance.choice((1, 1, 2))}
            answer = await ask(server.port, body, leave_after=events)
            assert not answer.failure, answer
            cut[len(answer.events)] += not any(one["type"].endswith("completed") for one in answer.events)

    async def staying(which: int) -> None:
        nonlocal checked
        for number in itertools.count(which):
            body = plans[number % len(plans)]
            answer = await ask(server.port, body if number % 2 else body | {"stream": True, "partial_images": 2})
            assert answer.status == 200 and answer.picture == expected[number % len(plans)], "a neighbour has changed"
            checked += 1
            if left <= 0:
                return

    await asyncio.gather(*(leaving() for _ in range(16)), *(staying(which) for which in range(6)))
    return {
        "cut": sum(cut.values()),
        "streams": count,
        "after_events": dict(sorted(cut.items())),
        "neighbours": checked,
    }


def test_streams_that_are_cut(server: Apart) -> None:
    before = server.counts()['request_success_total{finished_reason="cancelled"}']
    found = asyncio.run(cuts(server, 40))
    after = settled(server)['request_success_total{finished_reason="cancelled"}']
    assert found["cut"] >= 30 and found["neighbours"] >= 6
    assert after - before >= 10  # a busy machine has drawn many of them before it hears that the reader has left


@pytest.mark.slow
def test_five_hundred_streams_that_are_cut(server: Apart) -> None:
    before, memory = settled(server), server.memory
    found = asyncio.run(cuts(server, 500))
    start, after = time.perf_counter(), settled(server)
    name = 'request_success_total{finished_reason="cancelled"}'
    report("cuts", **found, cancelled=after[name] - before[name], running=after["requests_running"],
           idle_after_s=time.perf_counter() - start, memory_mib=[round(memory), round(server.memory)])  # fmt: skip
    assert found["cut"] >= 400 and after[name] - before[name] >= 400


def test_a_stream_that_is_cut_frees_its_slot_within_one_step(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(models) as service, listening(service) as server:
        passes = stepped(service, monkeypatch)
        for events in range(1, 6):
            with (
                httpx.Client(base_url=server.url, timeout=60) as client,
                client.stream("POST", GENERATE, json=RED | {"stream": True, "x_partials": "all"}) as answer,
            ):
                lines = answer.iter_lines()
                for _ in range(events):
                    passes.release()
                    assert json.loads(next(line for line in lines if line.startswith("data: "))[6:])["x_pass"]
                assert service.engine.metrics().running == 1
                (task,) = service.engine._companies[0].tasks
            until(lambda ticket=task.ticket: ticket.cancelled)
            steps = service.engine.metrics().steps
            passes.release()
            until(lambda: service.engine.metrics().running == 0)
            assert service.engine.metrics().steps <= steps + 1
