"""How much may come in: requests at once, and bytes and seconds of a body, counted while it is read."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parvis.serve.access import OPEN
from parvis.serve.errors import Refused
from parvis.serve.service import Service


class Bounded:
    """Middleware over the service's ``Limits``. Health and the page are always answered."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service, self.limits = app, service, service.settings.limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            return await self.app(scope, receive, send)
        if self.service.here >= self.limits.requests:
            raise Refused(
                429,
                f"{self.service.here} requests are being answered, the most at once; ask again",
                code="too_many_requests",
                headers={"Retry-After": "1"},
            )
        self._check_announced(Headers(scope=scope))
        self.service.here += 1
        try:
            await self.app(scope, self._counted(receive), send)
        finally:
            self.service.here -= 1

    def _check_announced(self, headers: Headers) -> None:
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused(415, "the body must not be compressed", param="content-encoding")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise Refused(400, f"content-length is a number of bytes; got {length[:40]!r}", param="content-length")
        if len(length) > 18 or int(length) > self.limits.body_bytes:
            raise self._too_large()

    def _counted(self, receive: Receive) -> Receive:
        """``receive`` that raises when there is more, or it takes longer, than may be. Once the body is there it waits
        for ever: for the client to leave."""
        size, whole = 0, False
        end = asyncio.get_running_loop().time() + self.limits.body_seconds

        async def counted() -> Message:
            nonlocal size, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                raise Refused(
                    408, f"the body did not come within {self.limits.body_seconds:g} s", code="timeout",
                    headers={"Connection": "close"},
                ) from None  # fmt: skip
            size += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if size > self.limits.body_bytes:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> Refused:
        return Refused(
            413,
            f"the body has more than {self.limits.body_bytes} bytes, the most that it may have",
            headers={"Connection": "close"},
        )
