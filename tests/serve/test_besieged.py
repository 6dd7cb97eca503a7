"""The wrong requests of ``hostile.py`` over a socket, and larger ones: refused quickly, in bounded memory.

The server opens no connection, runs nothing, and reads no file that is not its own.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from apart import MIB, Apart, apart, ask, report, settled, share
from hostile import GROUPS
from served import EDIT, GENERATE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads memory in /proc")
OCTETS = ["Content-Type: application/octet-stream"]
JSON = ["Content-Type: application/json"]
FORM = ["Content-Type: multipart/form-data; boundary=b"]
LARGE: dict[str, tuple[str, list[str], Any]] = {
    "100 MB of JSON": (GENERATE, JSON, lambda: b'{"prompt": "' + b"x" * (100 * MIB) + b'"}'),
    "100 MB of a file": (EDIT, FORM, lambda: PART + b"x" * (100 * MIB) + b"\r\n--b--"),
    "8 MB of a file": (EDIT, FORM, lambda: PART + b"x" * (8 * MIB - 200) + b"\r\n--b--"),
    "100000 lists": (GENERATE, JSON, lambda: b"[" * 100_000 + b"]" * 100_000),
    "100000 objects": (GENERATE, JSON, lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "lists in a small body": (GENERATE, JSON, lambda: b"[" * 30_000 + b"]" * 30_000),
    "nothing known": (GENERATE, OCTETS, lambda: b"\0" * MIB),
}
UPLOAD = re.compile(re.escape(tempfile.gettempdir()) + r"(/[a-z0-9_]{8})?")
"""Where a large file lies while it is read."""
PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="i.png"\r\n\r\n'


async def small(server: Apart, rounds: int) -> tuple[list[tuple[float, str]], Counter[int], list[str]]:
    """Every case so often: seconds, statuses, and what was wrong."""
    seconds, statuses, wrong = list[tuple[float, str]](), Counter[int](), list[str]()
    url = f"http://localhost:{server.port}"
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        for name, method, path, what in [case for make in GROUPS.values() for case in make()] * rounds:
            try:
                answer = await client.request(method, path, **what)
            except httpx.TransportError as error:
                wrong.append(f"{name}: {error!r}")
                continue
            seconds.append((answer.elapsed.total_seconds(), name))
            statuses[answer.status_code] += 1
            if not 400 <= answer.status_code < 500:
                wrong.append(f"{name}: {answer.status_code}")
            elif method != "HEAD" and set(answer.json()["error"]) != {"message", "type", "param", "code"}:
                wrong.append(f"{name}: {answer.text[:200]}")
    return seconds, statuses, wrong


async def large(server: Apart, rounds: int) -> tuple[list[float], list[str]]:
    seconds, wrong = list[float](), list[str]()
    for name, (path, headers, made) in LARGE.items():
        for _ in range(rounds):
            answer = await ask(server.port, made(), path=path, headers=headers)
            seconds.append(answer.seconds)
            # who goes on sending 100 MB after the answer may find the connection cut
            if not (400 <= answer.status < 500 or (answer.status == 0 and "MB" in name)):
                wrong.append(f"{name}: {answer.status} {answer.failure}")
    return seconds, wrong


@pytest.mark.parametrize("rounds", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_wrong_requests(models: Path, tmp_path: Path, rounds: int) -> None:
    audit = tmp_path / "audit"
    with apart(models / "toy", tmp_path / "log", trouble={"audit": str(audit)}) as server:
        assert asyncio.run(ask(server.port, {"prompt": "red"})).status == 200
        before, most = server.memory, server.most
        seconds, statuses, wrong = asyncio.run(small(server, rounds))
        slow, faults = asyncio.run(large(server, rounds))
        counts, grown, peak = settled(server), server.memory - before, server.most - most
        assert asyncio.run(ask(server.port, {"prompt": "red"})).status == 200
    opened = [json.loads(line) for line in audit.read_text().splitlines()]
    took = [one for one, _ in seconds]
    report(
        "wrong requests", requests=len(took) + len(slow), statuses={str(s): n for s, n in sorted(statuses.items())},
        p50_s=share(took, 0.5), max_s=max(took), slowest=max(seconds)[1], max_large_s=max(slow), growth_mib=grown,
        peak_growth_mib=peak, opened=Counter(entry[0] for entry in opened),
    )  # fmt: skip
    assert [*wrong, *faults] == []
    assert counts['request_success_total{finished_reason="failed"}'] == 0
    assert grown < 64 and peak < 64
    assert opened, "nobody was watching: a large file is read by way of the disk"
    assert [entry for entry in opened if not UPLOAD.fullmatch(entry[1])] == []
