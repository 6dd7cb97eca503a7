"""One envelope for every error: ``{"error": {"message", "type", "param", "code"}}``, as OpenAI has it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import torch
from starlette.exceptions import HTTPException
from starlette.responses import Response

from parvis.errors import (
    DataError,
    DeadlinePassed,
    EngineStopped,
    ParvisError,
    QueueFull,
    RequestCancelled,
    UnknownName,
    UsageError,
)

LONGEST = 600
_FIELDS = "steps|order|temperature|top_k|top_p|mask|keep|margins|feather"
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}


class Refused(Exception):
    """An answer that is an error.

    Args:
        status: of HTTP. param: the field that is wrong. code: a word for programs. headers: that go with it.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param = status, message, param
        self.code = code or _CODES.get(status, "invalid_value" if status < 500 else "server_error")
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The envelope."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        message = self.message if len(self.message) <= LONGEST else self.message[:LONGEST] + " ..."
        return {"error": {"message": message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """The envelope with its status. Written in ASCII, since a message may quote what is no valid Unicode."""
        content = json.dumps(self.body)
        return Response(content, self.status, self.headers, media_type="application/json")


def refusal(error: BaseException) -> Refused:
    """What to answer to any error. What nobody foresaw is not shown to the client: the log has it."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, HTTPException):
        return Refused(error.status_code, str(error.detail), headers=error.headers)
    if isinstance(error, ParvisError):
        return _known(error)
    if _short_of_memory(error):
        return Refused(503, "not enough memory for this request; ask again later", code="engine_oom", headers=_again(5))
    return Refused(500, "the server failed; its log has more under the x-request-id of this answer")


def _short_of_memory(error: BaseException) -> bool:
    """PyTorch's allocator for the CPU has no error of its own."""
    told = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    return told or isinstance(error, torch.OutOfMemoryError | MemoryError)


def _known(error: ParvisError) -> Refused:
    message = str(error)
    if isinstance(error, QueueFull):
        return Refused(429, message, code="queue_full", headers=_again(error.retry_after))
    if isinstance(error, EngineStopped):
        return Refused(503, message, code="stopping", headers=_again(5))
    if isinstance(error, DeadlinePassed):
        return Refused(504, message, code="deadline_passed")
    if isinstance(error, RequestCancelled):
        return Refused(409, message, code="cancelled")
    if isinstance(error, UnknownName):
        param = message.split()[1] if message.startswith("unknown ") else None
        return Refused(400, message, param=param if param in ("order", "class") else None, code="unknown_name")
    if isinstance(error, UsageError | DataError):
        return Refused(400, message, param=_field(message))
    return Refused(500, "the server failed; its log has more under the x-request-id of this answer")


def _field(message: str) -> str | None:
    """The field that a message begins with, or says what it got for."""
    found = re.match(rf"(?:the )?({_FIELDS})\b", message) or re.search(rf"\bgot ({_FIELDS})=", message)
    return found[1] if found else None


def _again(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, round(seconds)))}
