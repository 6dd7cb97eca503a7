"""From a request to a canvas to pixels: the one way through Parvis.

request -> job (empty canvas, order, noise) -> passes -> canvas -> pixels. :func:`stream` shows the canvas after every
pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from parvis.canvas import Canvas
from parvis.decode.job import Job
from parvis.engine.runner import Runner, run
from parvis.errors import UsageError
from parvis.noise import Noise
from parvis.order import Order
from parvis.planners import planned
from parvis.request import Request
from parvis.schedule import cosine, tail
from parvis.system import System


@dataclass(frozen=True)
class Progress:
    """What :func:`stream` yields: the canvas after pass ``index`` (from 1) of ``total`` (``None``: unknown)."""

    index: int
    total: int | None
    canvas: Canvas


def plan(system: System, request: Request, device: torch.device) -> tuple[Order, Noise]:
    """The order of a request's images, known tokens first, and the noise they are drawn with."""
    noise = Noise(request.seeds, device)
    planner, who = request.order or system.order, f"{system.name} in this order" if request.order else system.name
    order = planned(planner, system.grid, request.steps, noise, usual=system.preset.steps, who=who)
    if order.given and request.known is None:
        raise UsageError(f"the order takes {order.given} positions as given, but no known tokens come with the request")
    if request.known is not None and bool(request.known.any()):
        known = request.known.to(order.positions.device)
        if system.edits != "any":
            order = _continued(order, known, system.name)
        else:
            order = _round_about(system, order, known, request, noise)
    return order.to(device), noise


def _round_about(system: System, order: Order, known: Tensor, request: Request, noise: Noise) -> Order:
    """The order of what is not known: in as many passes as the request says (at most one a token), else in those that
    the schedule has left when that much is known."""
    left = order.without(known)
    tokens = left.tokens - left.given
    sizes = tail(order.sizes, tokens) if request.steps is None else cosine(tokens, min(request.steps, tokens))
    if system.around is not None and request.order is None:
        return system.around(system.grid, sizes, noise, known)
    return Order(left.positions, sizes, left.given)


def _continued(order: Order, known: Tensor, name: str) -> Order:
    """The order from the first group that is not known; the known positions must be whole groups from its start."""
    count, starts = int(known[0].sum()), order.bounds[1:-1]
    first = torch.zeros_like(known).scatter_(1, order.batch(len(known))[:, :count], True)
    if count not in starts or not torch.equal(first, known):
        some = ", ".join(map(str, starts[:3])) + (", ..." if len(starts) > 3 else "")
        raise UsageError(
            f"{name} continues what comes first in its order: the known tokens must be the first {some} of its "
            f"{order.tokens}, in every image alike; got {count} that are not"
        )
    group = order.bounds.index(count)
    return Order(order.positions, order.sizes[group:], count, order.sizes[:group])


def begin(system: System, request: Request, device: torch.device) -> tuple[Job, Runner]:
    """The job of a request, its known tokens on the canvas, and the runner that answers it."""
    request.check(system)
    order, noise = plan(system, request, device)
    canvas = Canvas.empty(request.batch, system.grid.tokens, device, system.tokenizer.channels)
    if request.values is not None and order.given:
        first = order.batch(request.batch)[:, : order.given]
        canvas.write(first, Canvas(request.values.to(device), canvas.known).read(first))
    scale = system.preset.guidance if request.guidance is None else request.guidance
    scales = None if scale == 1.0 else system.guidance(scale)((*order.before, *order.sizes)).to(device)
    job = Job(order, canvas, noise, request.sampling or system.preset.sampling, scales)
    return job, Runner(system, order, request.given, request.batch, guided=scales is not None)


def stream(system: System, request: Request, device: torch.device | str = "cpu") -> Iterator[Progress]:
    """Generate pass by pass; the canvas of every event is the live one, so copy what must be kept."""
    with torch.inference_mode():
        job, runner = begin(system, request, torch.device(device))
    often = system.passes_per_group
    total = None if often is None else often * len(job.order.sizes)
    process = run(system.decoder, job, runner)
    index = 0
    while True:
        with torch.inference_mode():
            if next(process, None) is None:
                return
        index += 1
        yield Progress(index, total, job.canvas)


def generate(system: System, request: Request, device: torch.device | str = "cpu") -> tuple[Canvas, int]:
    """The finished canvas and how many passes it took."""
    *_, last = stream(system, request, device)
    return last.canvas, last.index


def pixels(system: System, canvas: Canvas) -> Tensor:
    """The canvas as pixels, float32 [B, 3, H, W], unclamped. Of a pyramid what is known; on other grids
    unknown positions show whatever value 0 decodes to."""
    with torch.inference_mode():
        return system.tokenizer.show(canvas, system.grid).float()
