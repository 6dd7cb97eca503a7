"""Clients that dawdle: answers read a byte a second, headers sent a byte a second. They are cut off, and cost nobody.

With short limits in the quick test. In the slow one the readers are let for 60 s, so that there is time to see what
others notice of them; it prints what it measured as one line of JSON (docs/reliability.md).
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from apart import Apart, apart, ask, report, request, settled, share
from served import GENERATE
from toys import save_toy

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads memory and sockets in /proc")
RED = {"prompt": "red apple", "steps": 16}
READERS = (RED | {"n": 4, "stream": True, "x_partials": "all"}, RED | {"n": 10})
"""Each gets more than the socket between takes in: pictures of 64 x 64 that look like noise."""


async def reader(port: int, body: dict[str, Any]) -> None:
    """Asks, and reads a byte a second until it is cancelled or cut off (what has reached its own machine is there to be
    read for hours)."""
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.setblocking(False)
        await loop.sock_connect(connection, ("127.0.0.1", port))
        await loop.sock_sendall(connection, request(GENERATE, body))
        try:
            while await loop.sock_recv(connection, 1):
                await asyncio.sleep(1)
        except ConnectionError:
            pass


async def trickle(port: int, first: float) -> tuple[float, bytes]:
    """Sends a header byte by byte, the first after ``first`` seconds, then one a second: how long it is let, and what
    it is told (where that is not lost to the byte that it sends just then)."""
    start = time.perf_counter()
    stream, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /v1/images/generations HTTP/1.1\r\nX-Slow: ")
    reading = asyncio.create_task(stream.read())
    await asyncio.wait((reading,), timeout=first)
    while not reading.done():
        writer.write(b"x")
        await asyncio.wait((reading,), timeout=1)
    writer.close()
    try:
        return time.perf_counter() - start, reading.result()
    except ConnectionError:
        return time.perf_counter() - start, b""


async def ordinary(port: int, count: int, clients: int = 4) -> list[float]:
    """The seconds of ``count`` pictures for clients that do not dawdle."""
    numbers, seconds = iter(range(count)), list[float]()

    async def client() -> None:
        for number in numbers:
            answer = await ask(port, RED | {"seed": number})
            assert answer.status == 200 and not answer.failure
            seconds.append(answer.seconds)

    await asyncio.gather(*(client() for _ in range(clients)))
    return seconds


async def dawdling(server: Apart, readers: int, trickles: int, count: int) -> dict[str, Any]:
    """Readers and trickles beside ordinary clients, measured before, and while the pictures of all are drawn and only
    the dawdling goes on."""
    await ordinary(server.port, 4 * count, clients=32)
    before, memory = await ordinary(server.port, count), server.memory
    start = time.perf_counter()
    reading = [asyncio.create_task(reader(server.port, READERS[which % 2])) for which in range(readers)]
    await asyncio.sleep(0.5)
    while not await asyncio.to_thread(lambda: server.idle):
        await asyncio.sleep(0.1)
    trickling = [asyncio.create_task(trickle(server.port, which / trickles)) for which in range(trickles)]
    await asyncio.sleep(0.2)
    most = server.sockets
    beside = await ordinary(server.port, count)
    still, grown = server.sockets, server.memory - memory
    told = await asyncio.gather(*trickling)
    await asyncio.to_thread(settled, server)
    let = time.perf_counter() - start
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    return {
        "readers": readers, "trickles": trickles, "sockets": [most, still],
        "p50_s": [share(before, 0.5), share(beside, 0.5)], "p95_s": [share(before, 0.95), share(beside, 0.95)],
        "all_gone_s": let, "trickles_let_s": [min(s for s, _ in told), max(s for s, _ in told)],
        "told_408": sum(b" 408 " in text for _, text in told), "memory_growth_mib": grown,
    }  # fmt: skip


@pytest.fixture
def large(tmp_path: Path) -> Path:
    save_toy(tmp_path / "large", resolution=64)
    return tmp_path / "large"


def test_dawdlers_are_cut_off(large: Path, tmp_path: Path) -> None:
    with apart(large, tmp_path / "log", trouble={"limits": {"header_seconds": 2, "write_seconds": 6}}) as server:
        found = asyncio.run(dawdling(server, 4, 20, 4))
    assert found["told_408"] > 0 and found["sockets"][0] >= 20 + 4
    assert found["trickles_let_s"][1] < 14  # 2 s until they are told, 6 s for what they do not read, and a busy machine


@pytest.mark.slow
def test_fifty_readers_and_two_hundred_trickles(large: Path, tmp_path: Path) -> None:
    limits = {"limits": {"write_seconds": 60}}
    with apart(large, tmp_path / "log", "--queue", "1000", trouble=limits) as server:
        found = asyncio.run(dawdling(server, 50, 200, 60))
    report("dawdling", **found)
    assert found["told_408"] > 0 and found["sockets"][0] >= 200 + 40 and found["trickles_let_s"][1] < 15
    assert found["memory_growth_mib"] < 64
