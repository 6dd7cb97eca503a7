"""A server of toy models, for the tests of ``parvis.serve``: called in process, or over a socket."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

import parvis
from parvis.engine.work import Budget
from parvis.serve.app import create_app
from parvis.serve.run import Server
from parvis.serve.service import Service
from parvis.serve.settings import Settings

KEY = "0123456789abcdef0123"
GENERATE, EDIT = "/v1/images/generations", "/v1/images/edits"


@contextmanager
def running(models: Path, settings: Settings | None = None, slots: int = 8, queue: int = 64) -> Iterator[Service]:
    """A service of ``toy`` (words, any order) and ``toy-raster`` whose engine runs; in one lane, for tests that count
    passes."""
    pipelines = {name: parvis.load(models / name) for name in ("toy", "toy-raster")}
    service = Service(pipelines, settings, budget=Budget(slots=slots), queue=queue, lanes=1)
    service.engine.start()
    try:
        yield service
    finally:
        service.engine.stop(5)


def slow(service: Service, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.1) -> None:
    """Let every pass of the engine take that long."""
    (company,) = service.engine._companies
    advance = company.advance
    monkeypatch.setattr(company, "advance", lambda: (advance(), time.sleep(seconds))[0])


def gated(service: Service, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Hold the engine before its next pass until the event is set."""
    gate, step = threading.Event(), service.engine._step
    monkeypatch.setattr(service.engine, "_step", lambda company: (gate.wait(60), step(company))[1])
    return gate


def stepped(service: Service, monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Let the engine make as many passes as are released."""
    (company,) = service.engine._companies
    passes, advance = threading.Semaphore(0), company.advance
    monkeypatch.setattr(company, "advance", lambda: (passes.acquire(timeout=60), advance())[1])
    return passes


def call(service: Service, method: str, path: str, **what: Any) -> httpx.Response:
    """One call, in process."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            return await client.request(method, path, **what)

    return asyncio.run(ask())


@contextmanager
def listening(service: Service) -> Iterator[Server]:
    """The service on a socket of this machine, in a thread."""
    service.settings = replace(service.settings, port=0)
    server = Server(service)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        yield server
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def until(what: Any, seconds: float = 60.0) -> None:
    """Wait for ``what()`` to be true; raises where it does not come."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(0.01)


def error(answer: httpx.Response) -> dict[str, Any]:
    """What is in the envelope, which every error has and nothing else is in."""
    told = answer.json()
    assert set(told) == {"error"} and set(told["error"]) == {"message", "type", "param", "code"}, told
    assert told["error"]["message"] and answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    inside: dict[str, Any] = told["error"]
    return inside


def picture(b64: str) -> Image.Image:
    """A picture out of an answer."""
    return Image.open(io.BytesIO(base64.b64decode(b64)))


def file(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def events(text: str) -> list[dict[str, Any]]:
    """The data of every event of a stream, whose name is that of its type."""
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append(json.loads(lines["data"]))
            assert lines["event"] == found[-1]["type"]
    return found
