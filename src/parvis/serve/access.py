"""Who may ask: the key, and without one only this machine's own programs.

Open to all are the two health routes and the page's files, which hold nothing but the page: a browser shows no key when
it opens an address, so the page asks for the key and sends it with every call. Every other address, known or not, wants
the key.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from parvis.serve.errors import Refused
from parvis.serve.settings import Settings, local

OPEN = ("/health", "/ready", "/")
OPEN_UNDER = "/page/"


class Access:
    """Middleware: with a key it wants ``Authorization: Bearer KEY``; without one it wants to be called by a name of
    this machine, and by no other site's page (DNS rebinding, forged forms)."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if self.settings.key is None:
                self._check_names(headers)
            elif not _open(scope):
                _check_key(self.settings.key, headers.get("authorization", ""))
        elif scope["type"] != "lifespan":
            raise Refused(404, "only HTTP is spoken here")
        await self.app(scope, receive, send)

    def _check_names(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if not self._own(f"//{host}"):
            raise Refused(
                403, f"this server has no key and answers only under its own name, not {host[:80]!r}", code="wrong_host"
            )
        origin = headers.get("origin")
        if (origin is not None and not self._own(origin)) or headers.get("sec-fetch-site") == "cross-site":
            raise Refused(403, "pages of other sites may not use this server", code="wrong_origin")

    def _own(self, address: str) -> bool:
        try:
            name = urlsplit(address).hostname or ""
        except ValueError:
            return False
        return local(name) or name in self.settings.names


def _open(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["method"] in ("GET", "HEAD") and (path in OPEN or path.startswith(OPEN_UNDER))


def _check_key(key: str, authorization: str) -> None:
    scheme, _, given = authorization.partition(" ")
    same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), key.encode())
    if scheme.lower() != "bearer" or not same:
        raise Refused(
            401,
            "this server wants its API key: Authorization: Bearer KEY",
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )
