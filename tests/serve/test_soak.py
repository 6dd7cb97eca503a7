"""Requests of every kind, many at once, for a few seconds and at length: nothing fails, and the memory stays.

The long tests print what they measured as one line of JSON; docs/reliability.md has what it was.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from apart import Apart, apart, ask, report, settled, share, slope
from hostile import RED
from served import EDIT, file

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads memory and sockets in /proc")
CLIENTS = 32
LONG = pytest.mark.slow


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    with apart(models / "toy", tmp_path_factory.mktemp("server") / "log", "--deadline", "60") as server:
        yield server


def wanted(number: int, model: str) -> tuple[int, dict[str, Any]]:
    """The status that the ``number``-th request should get, and what it asks for: every kind, some wrong."""
    prompts = ("red apple", "green", "red") if model == "toy" else ("red apple", "dog", "blue heart")
    plain = {"prompt": prompts[number % 3], "seed": number}
    kind = number % 10
    if kind == 3:
        return 200, {"body": plain | {"stream": True, "partial_images": 2}}
    if kind == 5:
        return 200, {"body": plain | {"stream": True, "x_partials": "all", "steps": 2 + number % 14}}
    if kind == 6:
        return 200, {"body": plain | {"n": 2, "steps": 1 + number % 15, "guidance_scale": 2.0}}
    if kind == 7:
        return 200, {"body": plain | {"order": ("lpd", "random", "halton")[number // 10 % 3], "steps": 4}}
    if kind == 8:
        return 400, {"body": plain | {"stepz": 3}}
    if kind == 9 and model == "toy":
        return 200, edit(number)
    return 200, {"body": plain}


def edit(number: int) -> dict[str, Any]:
    """A form with a mask that no other has."""
    draw = random.Random(number)
    tokens = Image.new("L", (4, 4))
    tokens.putdata([255, 0, *(255 * (draw.random() < 0.5) for _ in range(14))])
    mask = tokens.resize((16, 16), Image.Resampling.NEAREST)
    parts = {"prompt": b"red", "seed": str(number).encode(), "image": file(RED), "mask": file(mask)}
    body = b""
    for name, data in parts.items():
        which = f'; filename="{name}.png"' if name in ("image", "mask") else ""
        body += f'--b\r\nContent-Disposition: form-data; name="{name}"{which}\r\n\r\n'.encode() + data + b"\r\n"
    return {"path": EDIT, "body": body + b"--b--", "headers": ["Content-Type: multipart/form-data; boundary=b"]}


async def soak(server: Apart, model: str, warm: int, requests: int) -> dict[str, Any]:
    """``requests`` requests from 32 clients, each asking for the next when it has the last one; what was seen."""
    numbers, points, wrong = iter(range(warm + requests)), list[tuple[float, float]](), list[str]()
    seconds, done, start = list[float](), 0, 0.0

    async def client() -> None:
        nonlocal done, start
        for number in numbers:
            status, what = wanted(number, model)
            answer = await ask(server.port, **what)
            if answer.status != status or answer.failure or (status == 200 and answer.code):
                wrong.append(f"{number}: {answer.status} {answer.failure} {answer.body[:200]!r}")
            done += 1
            if done == warm:
                start = time.perf_counter()
            if done > warm:
                seconds.append(answer.seconds)
                if done % 10 == 0:
                    points.append((done / 1000, server.memory))

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return {
        "requests": requests, "warm_up": warm, "wrong": wrong, "per_second": requests / (time.perf_counter() - start),
        "p50_s": share(seconds, 0.5), "p95_s": share(seconds, 0.95),
        "slope_mib_per_1000": slope(points), "memory_mib": [round(points[i][1]) for i in range(0, len(points), 25)],
    }  # fmt: skip


def test_a_little_of_everything(server: Apart) -> None:
    found = asyncio.run(soak(server, "toy", 10, 110))
    assert found["wrong"] == []
    counts = settled(server)
    assert counts['request_success_total{finished_reason="failed"}'] == 0


@LONG
@pytest.mark.parametrize(("model", "warm"), [("toy", 6500), ("emoji-64", 500)])
def test_two_thousand_requests(model: str, warm: int, models: Path, tmp_path: Path) -> None:
    folder = models / "toy" if model == "toy" else model
    with apart(folder, tmp_path / "log") as server:
        found = asyncio.run(soak(server, model, warm, 2000))
        counts = settled(server)
    report("soak", model=model, **found, failed=counts['request_success_total{finished_reason="failed"}'])
    assert found["wrong"] == []
    assert found["slope_mib_per_1000"] < 1
