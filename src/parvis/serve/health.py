"""``/health``, ``/ready`` and ``/metrics``."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from parvis.serve.metrics import registry
from parvis.serve.service import Service


def health(service: Service) -> APIRouter:
    """The routes for those who watch over the server."""
    router, counts = APIRouter(), registry(service)

    @router.api_route("/health", methods=["GET", "HEAD"], include_in_schema=False)
    async def alive() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @router.api_route("/ready", methods=["GET", "HEAD"], include_in_schema=False)
    async def ready() -> Response:
        """Whether pictures may be asked for: 200, or 503 while it stops or when the engine broke down."""
        if service.ready:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready"}, status_code=503, headers={"Retry-After": "5"})

    @router.get("/metrics", response_class=Response, include_in_schema=False)
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(generate_latest(counts), media_type=CONTENT_TYPE_LATEST)

    return router
