"""Round everything: the request's id, the security headers, the log line, and the envelope of what went wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parvis.serve.errors import refusal
from parvis.serve.service import Service

log = logging.getLogger("parvis.serve")
LINGER = 0.5
"""Seconds for which the body of a request that is refused is taken and dropped."""
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Guard:
    """The outermost middleware. No error leaves it but as an answer in the envelope, none unlogged."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request_id = given_id(Headers(scope=scope).get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        said: dict[str, Any] = scope["state"].setdefault("log", {})
        start, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _protect(MutableHeaders(scope=message), request_id)
            await send(message)

        body = _Body(receive)
        try:
            await self.app(scope, body, answer)
        except Exception as error:
            refused = refusal(error)
            said["code"] = refused.code
            self.service.rejected[refused.code] += 1
            if refused.status == 500 or status:
                log.exception("failed", extra={"said": {"id": request_id}})
            if status:  # too late for an answer: the connection is cut
                raise
            if refused.status != 408:
                await body.discard(Headers(scope=scope), self.service.settings.limits.body_bytes)
            await refused.response()(scope, receive, answer)
        finally:
            seconds = round(time.perf_counter() - start, 4)
            said = {"id": request_id, "method": scope["method"], "path": scope["path"], "status": status} | said
            log.info("request", extra={"said": said | {"seconds": seconds}})


class _Body:
    """``receive`` that knows whether the client has sent all of its body."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._whole = receive, False

    async def __call__(self) -> Message:
        message = await self._receive()
        self._whole = not message.get("more_body", False)
        return message

    async def discard(self, headers: Headers, most: int) -> None:
        """Take what else is on its way, so that the answer is not lost: a connection that is closed with bytes unread
        is reset, and what the client had not read is gone."""
        length = headers.get("content-length", "0")
        if "expect" in headers or (length == "0" and "transfer-encoding" not in headers):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while not self._whole and most > 0:
                    most -= len((await self()).get("body", b""))


def given_id(given: str | None) -> str:
    """The client's id of a request if it is harmless, else a new one."""
    return given if given and _ID.fullmatch(given) else uuid.uuid4().hex


def _protect(headers: MutableHeaders, request_id: str) -> None:
    headers["x-request-id"] = request_id
    headers["x-content-type-options"] = "nosniff"
    headers["referrer-policy"] = "no-referrer"
    headers["content-security-policy"] = PAGE_POLICY
    headers.setdefault("cache-control", "no-store")


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, what, and what ``extra={"said": {...}}`` adds."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        line = {"time": when, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "said", {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
