"""How a server ends, and what it lives through: SIGTERM, kill -9, an engine that breaks down, no memory.

Each once in the quick tests; SIGTERM twenty times, and no memory at length, in the slow ones, with what was measured as
one line of JSON (docs/reliability.md). Every test shows that its fault has struck.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from apart import Answer, Apart, apart, ask, report, settled, slope
from served import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and limits as Linux has them")
RED = {"prompt": "red apple", "steps": 16}
SLOW = {"delay": 0.05}
MANY = 16


class Crowd:
    """Clients in a thread, every other one with a stream, all of whose pictures are being drawn by now."""

    def __init__(self, server: Apart) -> None:
        self.answers: list[tuple[Answer, float]] = []
        self._thread = threading.Thread(target=asyncio.run, args=(self._ask(server.port),))
        self._thread.start()
        until(lambda: server.counts()["requests_running"] == MANY)
        assert self.answers == []

    async def _ask(self, port: int) -> None:
        await asyncio.gather(*(self._one(port, number) for number in range(MANY)))

    async def _one(self, port: int, number: int) -> None:
        stream = {"stream": True, "x_partials": "all"} if number % 2 else {}
        answer = await ask(port, RED | {"seed": number} | stream)
        self.answers.append((answer, time.perf_counter()))

    def wait(self, since: float) -> tuple[list[Answer], float]:
        """The answers, and how many seconds after ``since`` the last one ended."""
        self._thread.join(120)
        assert not self._thread.is_alive() and len(self.answers) == MANY
        return [answer for answer, _ in self.answers], max(end for _, end in self.answers) - since


def told(server: Apart, path: str = "/ready", body: dict[str, Any] | None = None) -> Answer:
    return asyncio.run(ask(server.port, body, path=path, patience=10))


def stopped(folder: Path, log: Path) -> dict[str, float]:
    """One server that is told to stop while it draws sixteen pictures."""
    with apart(folder, log, trouble=SLOW) as server:
        crowd, start = Crowd(server), time.perf_counter()
        server.process.send_signal(signal.SIGTERM)
        until(lambda: told(server).status == 503, 5)
        unready = time.perf_counter() - start
        refused = told(server, "/v1/images/generations", RED)
        assert refused.status == 503 and refused.code == "stopping" and "retry-after" in refused.headers
        assert server.counts()["requests_running"] == MANY, "it was too late to see it stop"
        answers, finished = crowd.wait(start)
        assert [(one.status, one.failure, one.code) for one in answers] == [(200, "", None)] * MANY
        assert all(one.picture for one in answers)
        assert server.process.wait(30) == 0
        ended = time.perf_counter() - start
    assert [line["unfinished"] for line in server.lines() if line["event"] == "stopped"] == [0]
    return {"unready_s": unready, "finished_s": finished, "exit_s": ended}


def test_sigterm_under_load(models: Path, tmp_path: Path) -> None:
    stopped(models / "toy", tmp_path / "log")


@pytest.mark.slow
def test_sigterm_under_load_twenty_times(models: Path, tmp_path: Path) -> None:
    found = [stopped(models / "toy", tmp_path / f"log{i}") for i in range(20)]
    worst = {f"{name}_max": max(one[name] for one in found) for name in found[0]}
    report("sigterm", times=len(found), running=MANY, finished=len(found) * MANY, exit_code=0, **worst)
    assert worst["unready_s_max"] < 1 and worst["exit_s_max"] < 30


@pytest.mark.parametrize(("signals", "code"), [((signal.SIGTERM, signal.SIGTERM), 143), ((signal.SIGINT,), 0)])
def test_other_signals(models: Path, tmp_path: Path, signals: tuple[signal.Signals, ...], code: int) -> None:
    with apart(models / "toy", tmp_path / "log", trouble=SLOW) as server:
        crowd, start = Crowd(server), time.perf_counter()
        for which in signals:
            server.process.send_signal(which)
            time.sleep(0.3)
        assert server.process.wait(30) == code
        answers, _ = crowd.wait(start)
        assert {bool(one.failure) for one in answers} == {code != 0}


def test_kill_9_is_seen_at_once_and_another_takes_its_place(models: Path, tmp_path: Path) -> None:
    with apart(models / "toy", tmp_path / "log", trouble=SLOW) as server:
        crowd, start = Crowd(server), time.perf_counter()
        server.process.kill()
        until(lambda: told(server).status == 0, 5)
        unready = time.perf_counter() - start
        answers, ended = crowd.wait(start)
        assert server.process.wait(5) == -signal.SIGKILL
        assert all(one.failure for one in answers)
    start = time.perf_counter()
    with apart(models / "toy", tmp_path / "log2", port=server.port) as second:
        again = time.perf_counter() - start
        assert second.port == server.port and told(second, "/v1/images/generations", RED).status == 200
    report("kill -9", running=MANY, unready_s=unready, last_client_s=ended, ready_again_s=again)
    assert unready < 1 and ended < 1


def test_an_engine_that_breaks_down_ends_the_server(models: Path, tmp_path: Path) -> None:
    with apart(models / "toy", tmp_path / "log", trouble={"delay": 0.3, "breaks": 12}) as server:
        crowd = Crowd(server)
        until(lambda: any("broke down" in line["event"] for line in server.lines()))
        start = time.perf_counter()
        until(lambda: told(server).status != 200, 5)
        unready = time.perf_counter() - start
        answers, ended = crowd.wait(start)
        for one in answers:
            assert one.code == "stopping" and (one.status == 503 or one.events[-1]["status"] == 503)
        assert server.process.wait(30) == 1 and "told to break down" in server.log.read_text()
    report("engine", running=MANY, unready_s=unready, last_client_s=ended, exit_s=time.perf_counter() - start)
    assert unready < 1


async def starved(server: Apart, requests: int) -> dict[str, Any]:
    """Requests from 32 clients of a server that often finds no memory; what became of them."""
    numbers, statuses, memory = iter(range(requests)), Counter[str](), list[tuple[float, float]]()
    pictures: dict[int, set[str]] = {seed: set() for seed in range(8)}

    async def client() -> None:
        for number in numbers:
            stream = {"stream": True, "partial_images": 1} if number % 3 == 0 else {}
            answer = await ask(server.port, RED | {"seed": number % 8} | stream)
            assert answer.status in (200, 503) and not answer.failure, answer
            statuses[answer.code or "drawn"] += 1
            if answer.code is None:
                pictures[number % 8].add(answer.picture)
            if number % 10 == 0 and number > requests / 3:
                memory.append((number / 1000, server.memory))

    await asyncio.gather(*(client() for _ in range(32)))
    return {"requests": requests, "answers": dict(statuses), "slope_mib_per_1000": slope(memory),
            "pictures_per_request": max(map(len, pictures.values()))}  # fmt: skip


@pytest.mark.parametrize("requests", [60, pytest.param(1500, marks=pytest.mark.slow)])
def test_no_memory(models: Path, tmp_path: Path, requests: int) -> None:
    """No run of more than one request finds memory, and each 100th of one finds none."""
    with apart(models / "toy", tmp_path / "log", trouble={"rows": 1, "every": 100}) as server:
        found = asyncio.run(starved(server, requests))
        counts = settled(server)
    report("no memory", **found)
    assert set(found["answers"]) == {"drawn", "engine_oom"} and found["pictures_per_request"] == 1
    assert counts['request_success_total{finished_reason="failed"}'] == found["answers"]["engine_oom"]
