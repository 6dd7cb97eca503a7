"""A service on a socket, and how it stops."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from types import FrameType

import uvicorn

from parvis.errors import ServingError
from parvis.serve.app import create_app
from parvis.serve.guard import JsonLines, log
from parvis.serve.protocol import LONGEST_HEADERS, protocol
from parvis.serve.service import Service

UNREAD = 128 << 10
"""Bytes that the system takes in for a client that does not read; left alone it would be megabytes for each."""


class Server(uvicorn.Server):
    """uvicorn that stops in two ways. The first SIGTERM or SIGINT: not ready any more, no new pictures, those asked for
    are finished within ``grace`` seconds, exit code 0. The second: the end at once, exit code 128 + the signal.

    It stops by itself where the engine broke down (``broken``), so that whoever watches over it starts another one.

    Raises:
        ServingError: nothing can listen at that host and port.
    """

    def __init__(self, service: Service) -> None:
        self.service, settings = service, service.settings
        self._socket = _bound(settings.host, settings.port)
        self.port: int = self._socket.getsockname()[1]
        self._stopping: float | None = None
        self.broken = False
        super().__init__(
            uvicorn.Config(
                create_app(service), http=protocol(settings.limits), ws="none", lifespan="off", log_config=None,
                access_log=False, server_header=False, timeout_keep_alive=5, timeout_graceful_shutdown=2,
                h11_max_incomplete_event_size=LONGEST_HEADERS, proxy_headers=False,
            )
        )  # fmt: skip

    @property
    def url(self) -> str:
        """Where it answers."""
        host = self.service.settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        super().run(sockets or [self._socket])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._stopping is not None:
            os._exit(128 + sig)
        self._stopping = time.monotonic()
        self.service.drain()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether it is time to close."""
        if self._stopping is None and not self.service.engine.alive:
            self._stopping, self.broken = time.monotonic(), True
        if self._stopping is not None and not self.should_exit:
            late = time.monotonic() - self._stopping > self.service.settings.grace
            self.should_exit = late or not self.service.here
        return await super().on_tick(counter)


def serve(service: Service) -> None:
    """Run the engine and answer until told to stop.

    Raises:
        ServingError: nothing can listen there, or the engine broke down.
    """
    to_stderr()
    server = Server(service)
    service.engine.start()
    log.info("listening", extra={"said": {"url": server.url, "models": list(service.models)}})
    try:
        server.run()
    finally:
        service.engine.stop(0)
    log.info("stopped", extra={"said": {"unfinished": service.here}})
    if server.broken:
        raise ServingError("the engine broke down, and the server with it; the log says why: start it again")


def to_stderr() -> None:
    """The log, one JSON object a line; of uvicorn only what went wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in (("parvis", logging.INFO), ("uvicorn", logging.WARNING), ("sse_starlette", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def _bound(host: str, port: int) -> socket.socket:
    try:
        bound = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        raise ServingError(f"cannot listen at {host}, port {port}: {error.strerror}; give another --port") from error
    # Connections have these from here. Without the second, which asyncio sets only on sockets that name their protocol,
    # the body of a short answer waits 40 ms for the client to confirm its headers.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound
