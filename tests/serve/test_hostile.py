"""Requests that are wrong in some 300 ways: refused in the envelope, quickly, in bounded memory, and nothing is opened.

A few cases are harmless variations that the rules let through; they are answered well.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hostile import GROUPS, Case
from parvis.serve.app import create_app
from parvis.serve.service import Service
from served import GENERATE, call, error, running


@pytest.fixture(scope="module")
def service(models: Path) -> Iterator[Service]:
    with running(models) as service:
        yield service


async def refused(service: Service, cases: list[Case]) -> list[str]:
    """What is wrong with the answers."""
    faults = []
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as client:
        for name, method, path, what in cases:
            start = time.process_time()
            answer = await client.request(method, path, **what)
            seconds = time.process_time() - start
            if not 400 <= answer.status_code < 500:
                faults.append(f"{name}: {answer.status_code} {answer.text[:200]}")
            elif method not in ("HEAD",):
                assert error(answer), name
            if seconds > 1:
                faults.append(f"{name}: {seconds:.1f} s of the processor")
    return faults


@pytest.mark.parametrize("group", GROUPS)
def test_they_are_refused(service: Service, group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, where: opened.append(where))
    cases = list(GROUPS[group]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert asyncio.run(refused(service, cases)) == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB
    assert opened == []


def test_there_are_enough_of_them_and_the_server_still_draws(service: Service) -> None:
    assert sum(len(list(make())) for make in GROUPS.values()) >= 300
    assert call(service, "POST", GENERATE, json={"prompt": "red"}).status_code == 200
    assert service.here == 0 and service.engine.metrics().running == 0
