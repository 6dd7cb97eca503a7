"""The server as one ASGI application: routes, and what they go through."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from parvis.serve.access import Access
from parvis.serve.errors import Refused, refusal
from parvis.serve.guard import Guard
from parvis.serve.health import health
from parvis.serve.images import images
from parvis.serve.limits import Bounded
from parvis.serve.models import models
from parvis.serve.service import Service

PAGE = Path(__file__).parent / "page"
_ENVELOPE = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"description": what, "content": {"application/json": {"schema": _ENVELOPE}}}
    for status, what in (("4XX", "The request is wrong, or comes at a wrong time"), ("5XX", "The server failed"))
}


def create_app(service: Service) -> FastAPI:
    """The application over ``service``, whose engine whoever runs it starts and stops.

    The framework's documentation pages are left out, because they load scripts from elsewhere; ``/openapi.json`` is
    there.
    """
    app = FastAPI(
        title="Parvis", version=metadata.version("parvis"), docs_url=None, redoc_url=None, redirect_slashes=False,
        responses=_FAULTS,
    )  # fmt: skip
    for part in (images(service), models(service), health(service)):
        app.include_router(part)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "index.html")

    app.mount("/page", StaticFiles(directory=PAGE))
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_middleware(Bounded, service=service)
    app.add_middleware(Access, settings=service.settings)
    app.add_middleware(Guard, service=service)
    return app


async def _refuse(request: Request, error: Exception) -> Response:
    """Errors of the framework go where all others go: to the guard."""
    if isinstance(error, HTTPException) and error.status_code == 404:
        where = f"{request.method} {request.url.path[:80]}"
        raise Refused(404, f"there is nothing at {where}; /openapi.json says what there is") from None
    raise refusal(error) from None


async def _invalid(request: Request, error: Exception) -> Response:
    """A parameter of the address that is wrong."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    raise Refused(400, f"{name}: {first['msg']}", param=name) from None
