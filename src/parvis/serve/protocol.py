"""HTTP/1.1 with the patience of a server that strangers talk to: time limits for headers and for unread answers."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from parvis.serve.errors import Refused
from parvis.serve.settings import Limits

LONGEST_HEADERS = 32 << 10


def protocol(limits: Limits) -> type[H11Protocol]:
    """uvicorn's protocol under these limits."""

    class Patient(H11Protocol):
        """One connection. ``_headers`` runs while a request's headers have not all come, ``_unread`` while more is
        written than the client reads."""

        _headers: asyncio.TimerHandle | None = None
        _unread: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            transport.set_write_buffer_limits(0)  # else a connection that closes waits for ever for what is never read
            self._headers = self.loop.call_later(limits.header_seconds, self._too_slow)

        def connection_lost(self, exc: Exception | None) -> None:
            self._headers, self._unread = _off(self._headers), _off(self._unread)
            super().connection_lost(exc)

        def handle_events(self) -> None:
            super().handle_events()
            if self.conn.their_state is not h11.IDLE:
                self._headers = _off(self._headers)
            elif self._headers is None and self.conn.trailing_data[0]:
                self._headers = self.loop.call_later(limits.header_seconds, self._too_slow)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self._unread or self.loop.call_later(limits.write_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._unread = _off(self._unread)

        def send_400_response(self, msg: str) -> None:
            self._refuse(Refused(400, msg, code="invalid_http"))

        def _too_slow(self) -> None:
            if self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE:
                self._refuse(Refused(408, f"no request came within {limits.header_seconds:g} s", code="timeout"))
            self.transport.close()

        def _refuse(self, refused: Refused) -> None:
            """An answer from below the application."""
            answer = refused.response()
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                headers = [*answer.raw_headers, (b"connection", b"close")]
                reason = STATUS_PHRASES[refused.status]
                head = h11.Response(status_code=refused.status, headers=headers, reason=reason)
                for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                    self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

    return Patient


def _off(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Stop it; what is left of it is nothing."""
    if timer is not None:
        timer.cancel()
    return None
