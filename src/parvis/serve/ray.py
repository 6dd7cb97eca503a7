"""The server as a deployment of Ray Serve: replicas on as many machines as Ray has (extra ``ray``, docs/ray_serve.md).

    serve run parvis.serve.ray:app model=emoji replicas=2 api_key_file=/run/secrets/parvis

A replica is a process with an engine, models and limits of its own, under the application that ``parvis serve`` runs.
Ray's proxy stands in front: it takes the connections and gives each request to the replica with fewer of them.
"""

# Ray converts the arguments of app() by its annotation, which must be a class: no `from __future__ import annotations`.

import importlib
import threading
import time
from pathlib import Path
from typing import Any

import torch
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parvis.engine.work import Budget
from parvis.errors import EngineStopped, UsageError
from parvis.serve.app import create_app
from parvis.serve.metrics import Counts
from parvis.serve.run import to_stderr
from parvis.serve.service import Service, load_all
from parvis.serve.settings import KEY, Limits, Settings, find_key

SPARE = 64
"""Requests that a replica is given beyond those that it answers, so that it refuses them itself, in its envelope."""
EVERY = 5.0
"""Seconds between what Ray's metrics are told."""


class Args(BaseModel):
    """What ``serve run`` takes as NAME=VALUE and a Serve config under ``args``. The key is not among them: Ray shows
    arguments in its dashboard and keeps them in its logs.

    Attributes:
        model: names or folders that every machine has, with commas between them; the first is the default.
        replicas: processes. cpus, gpus: that each of them reserves; it computes with as many threads.
        api_key_file: on every machine; without it the key is in the environment of Ray's own processes.
        device, precision, slots, cache_mb, queue, lanes, deadline, grace, log_prompts: of each replica, as ``parvis
            serve``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    model: tuple[str, ...] = Field(("emoji",), min_length=1)
    replicas: int = Field(1, ge=1)
    cpus: float = Field(1, gt=0, allow_inf_nan=False)
    gpus: float = Field(0, ge=0, allow_inf_nan=False)
    device: str | None = None
    precision: str | None = None
    slots: int = Field(32, ge=1)
    cache_mb: int | None = Field(None, ge=1)
    queue: int = Field(256, ge=1)
    lanes: int | None = Field(None, ge=1)
    deadline: float = Field(120, gt=0, allow_inf_nan=False)
    grace: float = Field(30, ge=0, allow_inf_nan=False)
    api_key_file: Path | None = None
    log_prompts: bool = False

    @field_validator("model", mode="before")
    @classmethod
    def _several(cls, given: object) -> object:
        return tuple(given.split(",")) if isinstance(given, str) else given


class Replica:
    """What Ray asks of a replica beside its requests."""

    app: FastAPI
    """Set by Ray's wrapper of this class: what :func:`begin` made."""

    def check_health(self) -> None:
        """Ray replaces a replica for which this raises three times in a row."""
        if not self.app.state.service.ready:
            raise EngineStopped("the engine of this replica broke down; it takes no more requests")

    def __del__(self) -> None:
        """Called when the replica's last request is done, or ``grace`` is over."""
        application = getattr(self, "app", None)
        if application is not None:
            application.state.service.engine.stop(0)


class Named:
    """Middleware: answers say which replica they are from. The request's id is left to Ray's proxy, which writes it
    into every answer: twice would be one too many."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self.app, self.name = app, name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        known = Headers(scope=scope).get("x-request-id")

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-replica"] = self.name
                if known is not None and headers.get("x-request-id") == known:
                    del headers["x-request-id"]
            await send(message)

        await self.app(scope, receive, answer)


def app(args: Args) -> Any:
    """The application, not yet running: for ``serve run``, a config file, or ``ray.serve.run(app(Args()))``.

    Raises:
        UsageError: Ray Serve is not installed.
    """
    serve = _serve()

    def build() -> FastAPI:
        """Runs in the replica."""
        torch.set_num_threads(max(1, int(args.cpus)))
        to_stderr()
        application = begin(args, serve.get_replica_context().replica_id.unique_id)
        counts = Counts(application.state.service)
        threading.Thread(target=_publish, args=(counts,), name="parvis-metrics", daemon=True).start()
        return application

    limit = Limits().requests
    made = serve.deployment(
        name="parvis",
        num_replicas=args.replicas,
        ray_actor_options={"num_cpus": args.cpus, "num_gpus": args.gpus},
        max_ongoing_requests=limit + SPARE,
        max_queued_requests=limit,
        health_check_period_s=5,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=args.grace + 5,
    )
    return made(serve.ingress(build)(Replica)).bind()


def begin(args: Args, name: str) -> FastAPI:
    """Load the models, start the engine, and give the application over them; ``state.service`` is its service.

    Raises:
        UsageError: there is no key. Whether others can reach Ray's proxy is not known here, so there must be one.
    """
    key = find_key(args.api_key_file)
    if key is None:
        raise UsageError(
            f"a deployment on Ray wants a key: give api_key_file=FILE, on every machine, or set {KEY} where Ray is "
            "started (`ray start`)"
        )
    settings = Settings(
        host="0.0.0.0", key=key, grace=args.grace, log_prompts=args.log_prompts, limits=Limits(seconds=args.deadline)
    )
    models = load_all(list(args.model), args.device or ("cuda" if args.gpus else "cpu"), args.precision)
    budget = Budget(args.slots, None if args.cache_mb is None else args.cache_mb << 20)
    service = Service(models, settings, budget=budget, queue=args.queue, lanes=args.lanes)
    application = create_app(service)
    application.state.service = service
    application.add_middleware(Named, name=name)
    service.engine.start()
    return application


def _publish(counts: Counts) -> None:
    """Tell Ray's metrics what ``/metrics`` says, for as long as the replica is there. All of it as gauges, since Ray's
    counters count for themselves; Ray adds the replica's name."""
    metrics, gauges = importlib.import_module("ray.serve.metrics"), dict[str, Any]()
    while True:
        for family in counts.collect():
            for sample in family.samples:
                if sample.name not in gauges:
                    gauges[sample.name] = metrics.Gauge(sample.name, family.documentation, tuple(sample.labels))
                gauges[sample.name].set(sample.value, tags=dict(sample.labels))
        time.sleep(EVERY)


def _serve() -> Any:
    try:
        return importlib.import_module("ray.serve")
    except ImportError as error:
        raise UsageError(f"Ray Serve is not there ({error}): pip install 'parvis[ray]'") from error
