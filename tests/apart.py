"""A real server in a process of its own, its memory and counts, and clients that ask it over sockets.

The clients speak HTTP by hand: they are cheap beside the server, may leave in the middle of anything, and see when the
first byte came. ``tests/troubled_server.py`` is the same server with a fault inside.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from served import GENERATE, until

TESTS = Path(__file__).parent
TROUBLED = TESTS / "troubled_server.py"
JSON = "Content-Type: application/json"
MIB, THREADS = 1 << 20, 2


@dataclass
class Apart:
    """A server that runs apart. ``log``: what it wrote to standard error."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int = 0

    @property
    def memory(self) -> float:
        """MiB that it has in memory now."""
        return self._status("VmRSS")

    @property
    def most(self) -> float:
        """MiB, the most that it ever had."""
        return self._status("VmHWM")

    def _status(self, name: str) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{name}:")[1].split()[0]) / 1024

    @property
    def sockets(self) -> int:
        """Open sockets, its own listening one among them."""
        found = 0
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                found += os.readlink(entry).startswith("socket:")
            except OSError:  # closed meanwhile
                continue
        return found

    def lines(self) -> list[dict[str, Any]]:
        """What it logged, but for lines that are no JSON."""
        return [json.loads(line) for line in self.log.read_text().split("\n")[:-1] if line.startswith("{")]

    def counts(self) -> dict[str, float]:
        """``/metrics``: name (with its labels) -> number."""
        text = asyncio.run(ask(self.port, path="/metrics")).body.decode()
        rows = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
        return {name.removeprefix("parvis_"): float(value) for name, value in rows}

    @property
    def idle(self) -> bool:
        """Whether nothing is drawn or waits."""
        now = self.counts()
        return now["requests_running"] == now["requests_waiting"] == 0


@contextmanager
def apart(
    folder: Path | str, log: Path, *options: str, port: int = 0, trouble: dict[str, Any] | None = None
) -> Iterator[Apart]:
    """``parvis serve --model FOLDER OPTIONS`` until the block ends, two lanes of one thread; with ``trouble`` as
    ``troubled_server.py`` takes it."""
    head = [str(TROUBLED), json.dumps(trouble)] if trouble else ["-m", "parvis.cli"]
    command = [sys.executable, *head, "serve", "--model", str(folder), "--port", str(port), *options]
    paths = [str(TESTS), str(TESTS.parent / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = {"OMP_NUM_THREADS": str(THREADS), "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": os.pathsep.join(paths)}
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stderr=errors, stdout=errors, env=os.environ | threads)
    server = Apart(process, log)
    try:
        until(lambda: process.poll() is not None or any("url" in line for line in server.lines()))
        assert process.poll() is None, log.read_text()
        (url,) = [line["url"] for line in server.lines() if "url" in line]
        server.port = int(url.rsplit(":", 1)[1])
        until(lambda: ready(server.port))
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(30)


def settled(server: Apart) -> dict[str, float]:
    """The counts once nothing runs, no socket is open but the listening one (and two of the event loop's own)."""
    until(lambda: server.idle, 60)
    until(lambda: server.sockets <= 3, 120)
    return server.counts()


def ready(port: int) -> bool:
    """Whether a new connection is told that pictures may be asked for."""
    return asyncio.run(ask(port, path="/ready", patience=5)).status == 200


@dataclass
class Answer:
    """``status`` 0: none came, ``failure`` says why. ``seconds``: to the whole of it. ``events``: of a stream."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0
    failure: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def picture(self) -> str:
        """The (first) picture that was asked for, in base64."""
        if self.events:
            return str(next(one["b64_json"] for one in self.events if one["type"].endswith(".completed")))
        return str(json.loads(self.body)["data"][0]["b64_json"])

    @property
    def code(self) -> str | None:
        """Of the error, in an answer or in the last event."""
        told = self.events[-1] if self.events else json.loads(self.body)
        return told["error"]["code"] if "error" in told else None


async def ask(
    port: int,
    body: dict[str, Any] | bytes | None = None,
    *,
    path: str = GENERATE,
    headers: Sequence[str] = (JSON,),
    patience: float = 120.0,
    leave_after: int | None = None,
) -> Answer:
    """One request over a connection of its own; never raises for what a server may do.

    Args:
        body: of a POST; ``None`` is a GET. leave_after: close the connection after so many events of the stream; 0 is
            before the answer begins.
    """
    answer, start = Answer(), time.perf_counter()
    try:
        async with asyncio.timeout(patience), _connected(port) as (reader, writer):
            writer.write(request(path, body, headers))
            if leave_after == 0:
                await writer.drain()
                return answer
            answer.status, answer.headers = await _head(reader)
            async for piece in _pieces(reader, answer.headers):
                answer.body += piece
                if "text/event-stream" in answer.headers["content-type"]:
                    answer.body = _told(answer.body, answer.events)
                if leave_after is not None and len(answer.events) >= leave_after:
                    break
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        answer.failure = f"{type(error).__name__}: {error}"
        if not isinstance(error, TimeoutError) and not answer.body and not answer.events:
            answer.status = 0
    answer.seconds = time.perf_counter() - start
    return answer


def request(path: str, body: dict[str, Any] | bytes | None, headers: Sequence[str] = (JSON,)) -> bytes:
    """A request as it goes over the wire."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    more = [] if body is None else [*headers, f"Content-Length: {len(data)}"]
    first = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1"
    return "\r\n".join([first, "Host: localhost", "Connection: close", *more, "", ""]).encode() + data


@asynccontextmanager
async def _connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4 * MIB)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
    pairs = [line.split(":", 1) for line in lines]
    return int(first.split()[1]), {name.lower(): value.strip() for name, value in pairs}


async def _pieces(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """The body as it comes, without the marks of chunks."""
    if "content-length" in headers:
        yield await reader.readexactly(int(headers["content-length"]))
        return
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]


def _told(text: bytes, events: list[dict[str, Any]]) -> bytes:
    """Takes the whole events out of ``text``; what is left."""
    *blocks, rest = text.split(b"\n\n")
    for block in blocks:
        events.extend(json.loads(line[6:]) for line in block.split(b"\n") if line.startswith(b"data: "))
    return rest


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line that fits best."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def share(values: Sequence[float], part: float) -> float:
    """The value below which ``part`` of them are; 0 where there are none."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))] if values else 0.0


def report(name: str, **figures: Any) -> None:
    """One line of JSON: what was measured, and where."""
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in figures.items()}
    print(json.dumps({"test": name} | rounded | machine()))


def machine() -> dict[str, Any]:
    """Processor, cores, load and versions."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    about = {"processor": names[0] if names else platform.processor(), "cores": os.cpu_count(), "threads": THREADS}
    return about | {
        "load": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
