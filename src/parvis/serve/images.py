"""``POST /v1/images/generations`` and ``/v1/images/edits``."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from parvis.serve.answer import pictures
from parvis.serve.asking import Errand, prepare
from parvis.serve.body import read_form, read_json
from parvis.serve.errors import Refused
from parvis.serve.schema import Asked, Editing, Generation, checked, from_form
from parvis.serve.service import Service
from parvis.serve.sse import stream

T = TypeVar("T")
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The pictures; events with stream",
        "content": {"application/json": {}, "text/event-stream": {}},
    }
}
GONE = 499
"""What the log says of a client that left; nobody reads it as an answer."""


def images(service: Service) -> APIRouter:
    """The routes that draw."""
    router, limits = APIRouter(prefix="/v1/images"), service.settings.limits

    @router.post("/generations", responses=ANSWERS, openapi_extra=_body("application/json", Generation))
    async def generations(request: Request) -> Response:
        """Draw pictures of a prompt."""
        service.welcome()
        fields = await read_json(request, limits.json_bytes, limits.depth)
        return await _draw(service, request, checked(Generation, fields))

    @router.post("/edits", responses=ANSWERS, openapi_extra=_body("multipart/form-data", Editing, "image", "mask"))
    async def edits(request: Request) -> Response:
        """Draw part of a picture anew: where ``mask`` (or the picture itself) is transparent."""
        service.welcome()
        fields, files = await read_form(request, lists=("margins",))
        for name in ("image", "mask"):
            if name in fields:
                raise Refused(400, f"{name} is a file of the form; nothing is fetched from addresses", param=name)
        for name in files.keys() - {"image", "mask"}:
            raise Refused(400, f"unknown file {name[:80]!r}; known: image, mask", param=name[:80])
        return await _draw(service, request, from_form(Editing, fields), files)

    return router


async def _draw(service: Service, request: Request, asked: Asked, files: Mapping[str, bytes] | None = None) -> Response:
    key = request.client.host if request.client else ""
    with service.place():
        errand = await asyncio.to_thread(prepare, service, asked, key, files)
        _note(service, request, errand)
        tickets = service.submit(errand.works)
    if asked.stream:
        return stream(service, errand, tickets, request.state.request_id)
    answer = await unless_gone(request, pictures(errand, tickets))
    return Response(status_code=GONE) if answer is None else JSONResponse(answer)


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """What ``work`` comes to; ``None`` if the client leaves before, which cancels it."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        return await working if working.done() else None
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _note(service: Service, request: Request, errand: Errand) -> None:
    """What the log says of it."""
    asked = errand.asked
    said: dict[str, Any] = {"model": errand.model, "n": len(errand.works), "stream": bool(asked.stream)}
    if service.settings.log_prompts:
        said["prompt"] = errand.origins[0].prompt
    request.state.log.update(said)


def _body(kind: str, model: type[Asked], *files: str) -> dict[str, Any]:
    """What OpenAPI is told of a body that is read by hand."""
    schema = model.model_json_schema()
    for name in files:
        schema["properties"][name] = {"type": "string", "format": "binary"}
    if files:
        schema["required"] = [files[0]]
    return {"requestBody": {"required": True, "content": {kind: {"schema": schema}}}}
