"""Continuous batching against one at a time and against static batches, on the bundled models.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/serving.py

Closed loop: as many clients as ``--clients``, each asking for the next picture when it has the last one. Open loop:
arrivals at random (Poisson), the same for both sides. Time is virtual: it goes on by what each step was measured to
take (see ``clock.py``: processor time on one thread), so a busy machine does not turn latencies into noise, and both
sides are measured in turns.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from clock import clock, machine

from parvis.engine.engine import Engine
from parvis.engine.ticket import Ticket
from parvis.engine.work import Budget, Work
from parvis.pipeline import Pipeline, load
from parvis.request import Request

PROMPTS = ("red apple", "dog", "cat face", "smiling face", "blue heart", "automobile", "tree", "fish", "house", "sun")


def asked(pipeline: Pipeline, count: int, first: int = 0) -> list[tuple[str, Request]]:
    """Requests of different prompts and seeds, under the preset."""
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(first, first + count)]
    return [(prompt, pipeline.requests(prompt, seed=first + i)[0]) for i, prompt in enumerate(prompts)]


def took(act: Callable[[], object]) -> float:
    now = clock()
    start = now()
    act()
    return now() - start


def one_at_a_time(pipeline: Pipeline, count: int) -> float:
    """Seconds a picture of ``Pipeline.generate``, one request after the other."""

    def loop() -> None:
        for prompt, request in asked(pipeline, count):
            pipeline.generate(prompt, seed=request.seeds[0])

    return took(loop) / count


def closed_loop(engine: Engine, pipeline: Pipeline, clients: int, count: int) -> float:
    """Seconds a picture while ``clients`` each wait for one."""
    left, live = asked(pipeline, count), list[Ticket]()

    def loop() -> None:
        while left or live:
            live[:] = [ticket for ticket in live if ticket.final is None]
            while left and len(live) < clients:
                live.append(engine.submit(Work(pipeline.name, left.pop()[1])))
            engine.step()

    return took(loop) / count


def arrivals(count: int, rate: float, seed: int = 0) -> list[float]:
    """``count`` moments, ``rate`` a second."""
    chance, now, moments = random.Random(seed), 0.0, []
    for _ in range(count):
        now += chance.expovariate(rate)
        moments.append(now)
    return moments


def open_loop(engine: Engine, pipeline: Pipeline, moments: Sequence[float]) -> list[float]:
    """The latency of every request."""
    now, left, latencies = 0.0, list(zip(moments, asked(pipeline, len(moments)), strict=True)), list[float]()
    live: list[tuple[float, Ticket]] = []
    while left or live:
        if not live:
            now = max(now, left[0][0])
        while left and left[0][0] <= now:
            moment, (_, request) = left.pop(0)
            live.append((moment, engine.submit(Work(pipeline.name, request))))
        now += took(engine.step)
        latencies += [now - moment for moment, ticket in live if ticket.final is not None]
        live = [(moment, ticket) for moment, ticket in live if ticket.final is None]
    return latencies


def static(pipeline: Pipeline, moments: Sequence[float], most: int) -> list[float]:
    """The same where a batch of all who wait (at most ``most``) runs to its end before the next begins."""
    now, left, latencies = 0.0, list(zip(moments, asked(pipeline, len(moments)), strict=True)), list[float]()
    while left:
        now = max(now, left[0][0])
        batch = [entry for entry in left if entry[0] <= now][:most]
        left = left[len(batch) :]
        prompts, seeds = [p for _, (p, _) in batch], [r.seeds[0] for _, (_, r) in batch]
        now += took(lambda p=prompts, s=seeds: pipeline.generate(p, seed=s, batch=most))  # type: ignore[misc]
        latencies += [now - moment for moment, _ in batch]
    return latencies


def p95(latencies: Sequence[float]) -> float:
    return statistics.quantiles(latencies, n=20)[-1]


def measure(
    name: str, clients: int, pictures: int, rounds: int, loads: Sequence[float], count: int
) -> Iterator[dict[str, Any]]:
    """All of one model, piece by piece; ``loads`` are shares of what the closed loop reached."""
    pipeline = load(name)
    engine = Engine({pipeline.name: pipeline}, budget=Budget(slots=clients))
    closed_loop(engine, pipeline, 1, 1)
    alone, many = [], []
    for _ in range(rounds):
        alone.append(one_at_a_time(pipeline, 3))
        many.append(closed_loop(engine, pipeline, clients, pictures))
    yield {
        "model": name,
        "clients": clients,
        "seconds_per_image": {"one at a time": statistics.median(alone), "engine": statistics.median(many)},
        "engine over one at a time": [round(a / b, 2) for a, b in zip(alone, many, strict=True)],
    }
    for share in loads:
        moments = arrivals(count, share / statistics.median(many))
        ours, theirs = open_loop(engine, pipeline, moments), static(pipeline, moments, clients)
        yield {
            "model": name,
            "load": share,
            "p95": {"engine": p95(ours), "static": p95(theirs), "ratio": p95(ours) / p95(theirs)},
            "median": {"engine": statistics.median(ours), "static": statistics.median(theirs)},
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["emoji-64", "emoji-128"])
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--pictures", type=int, default=64, help="of one round of the closed loop")
    parser.add_argument("--rounds", type=int, default=3, help="of the closed loop, each beside one at a time")
    parser.add_argument("--loads", nargs="+", type=float, default=[0.5, 0.8])
    parser.add_argument("--requests", type=int, default=100, help="of the open loop")
    given = parser.parse_args()
    print(machine())
    for name in given.models:
        for told in measure(name, given.clients, given.pictures, given.rounds, given.loads, given.requests):
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
