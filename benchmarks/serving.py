"""Continuous batching against one at a time and against static batches, on the bundled models.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/serving.py

Closed loop: as many clients as ``--clients``, each asking for the next picture when it has the last one. Open loop:
arrivals at random (Poisson), the same for both sides. Traffic is "same" (all under the preset) or "mixed" (some in
twice and some in three times the passes, some without guidance): a static batch holds what shares its settings, and
runs to its end before the next begins. Both sides run at once, piece by piece, so that a machine whose speed wanders
slows both. Time is virtual: it goes on by what each piece was measured to take (see ``clock.py``: the wall's, on one
thread the processor's).
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clock import clock, machine

from parvis.engine.engine import Engine
from parvis.engine.ticket import Ticket
from parvis.engine.work import Budget, Work
from parvis.pipeline import Pipeline, load
from parvis.request import Request

PROMPTS = ("red apple", "dog", "cat face", "smiling face", "blue heart", "automobile", "tree", "fish", "house", "sun")


@dataclass(frozen=True)
class Asked:
    """What a client asks for: the arguments of ``Pipeline.generate``."""

    prompt: str
    seed: int
    steps: int | None = None
    guidance: float | None = None

    def request(self, pipeline: Pipeline) -> Request:
        return pipeline.requests(self.prompt, seed=self.seed, steps=self.steps, guidance=self.guidance)[0]


def asked(pipeline: Pipeline, count: int, mixed: bool = False) -> list[Asked]:
    """Requests of different prompts and seeds, under the preset or under several settings."""
    chance, steps = random.Random(1), pipeline.system.preset.steps
    assert steps is not None
    ways = [(None, None), (None, None), (2 * steps, None), (3 * steps, None), (None, 1.0), (2 * steps, 1.0)]
    each = [chance.choice(ways) if mixed else (None, None) for _ in range(count)]
    return [Asked(PROMPTS[i % len(PROMPTS)], i, *way) for i, way in enumerate(each)]


def took(act: Callable[[], object]) -> float:
    now = clock()
    start = now()
    act()
    return now() - start


def abreast(*sides: Iterator[float]) -> None:
    """Run what yields its own time after every piece of work, always the one that is behind, until the first ends: so
    all of them meet the machine in the same moods."""
    clocks = dict.fromkeys(sides, 0.0)
    while True:
        side = min(clocks, key=clocks.__getitem__)
        now = next(side, None)
        if now is None:
            return
        clocks[side] = now


def one_at_a_time(pipeline: Pipeline, seconds: list[float]) -> Iterator[float]:
    """``Pipeline.generate``, one request after the other, without end; how long each took."""
    for one in asked(pipeline, 1000):
        seconds.append(took(lambda one=one: pipeline.generate(one.prompt, seed=one.seed)))  # type: ignore[misc]
        yield sum(seconds)


def closed_loop(engine: Engine, pipeline: Pipeline, clients: int, count: int, seconds: list[float]) -> Iterator[float]:
    """``clients`` that each wait for a picture, until ``count`` are drawn; how long each step took."""
    left, live = asked(pipeline, count), list[Ticket]()
    while left or live:
        while left and len(live) < clients:
            live.append(engine.submit(Work(pipeline.name, left.pop().request(pipeline))))
        seconds.append(took(engine.step))
        live[:] = [ticket for ticket in live if ticket.final is None]
        yield sum(seconds)


def arrivals(count: int, rate: float, seed: int = 0) -> list[float]:
    """``count`` moments, ``rate`` a second."""
    chance, now, moments = random.Random(seed), 0.0, []
    for _ in range(count):
        now += chance.expovariate(rate)
        moments.append(now)
    return moments


Arrivals = Sequence[tuple[float, Asked]]


def open_loop(engine: Engine, pipeline: Pipeline, coming: Arrivals, latencies: list[float]) -> Iterator[float]:
    """The latency of every request."""
    now, left = 0.0, list(coming)
    live: list[tuple[float, Ticket]] = []
    while left or live:
        if not live:
            now = max(now, left[0][0])
        while left and left[0][0] <= now:
            moment, one = left.pop(0)
            live.append((moment, engine.submit(Work(pipeline.name, one.request(pipeline)))))
        now += took(engine.step)
        latencies += [now - moment for moment, ticket in live if ticket.final is not None]
        live = [(moment, ticket) for moment, ticket in live if ticket.final is None]
        yield now
    yield math.inf


def static(pipeline: Pipeline, coming: Arrivals, most: int, latencies: list[float]) -> Iterator[float]:
    """The same where the first in line and all who wait and share its settings (at most ``most``) run to their end."""
    now, left = 0.0, list(coming)
    while left:
        now = max(now, left[0][0])
        first = left[0][1]
        alike = [e for e in left if e[0] <= now and (e[1].steps, e[1].guidance) == (first.steps, first.guidance)]
        batch = alike[:most]
        left = [entry for entry in left if entry not in batch]
        now += took(lambda b=batch, f=first: drawn(pipeline, [one for _, one in b], f, most))  # type: ignore[misc]
        latencies += [now - moment for moment, _ in batch]
        yield now
    yield math.inf


def drawn(pipeline: Pipeline, batch: Sequence[Asked], how: Asked, most: int) -> None:
    """A batch under the settings of ``how``."""
    prompts, seeds = [one.prompt for one in batch], [one.seed for one in batch]
    pipeline.generate(prompts, seed=seeds, steps=how.steps, guidance=how.guidance, batch=most)


def work_of(pipeline: Pipeline, requests: Sequence[Asked]) -> float:
    """Mean number of passes, over the preset's: by how much less of such traffic an engine bears."""
    steps = pipeline.system.preset.steps
    assert steps is not None
    return statistics.mean((one.steps or steps) / steps for one in requests)


def p95(latencies: Sequence[float]) -> float:
    return statistics.quantiles(latencies, n=20)[-1]


def measure(
    name: str, clients: int, pictures: int, rounds: int, kinds: Sequence[str], loads: Sequence[float], count: int
) -> Iterator[dict[str, Any]]:
    """All of one model, piece by piece; ``kinds`` of traffic, ``loads`` as shares of what the closed loop reached."""
    pipeline = load(name)
    engine = Engine({pipeline.name: pipeline}, budget=Budget(slots=clients))
    abreast(closed_loop(engine, pipeline, 1, 1, []))
    alone, many = [], []
    for _ in range(rounds):
        single, steps = list[float](), list[float]()
        abreast(one_at_a_time(pipeline, single), closed_loop(engine, pipeline, clients, pictures, steps))
        alone.append(statistics.mean(single))
        many.append(sum(steps) / pictures)
    yield {
        "model": name,
        "clients": clients,
        "seconds_per_image": {"one at a time": statistics.median(alone), "engine": statistics.median(many)},
        "engine over one at a time": [round(a / b, 2) for a, b in zip(alone, many, strict=True)],
    }
    for traffic in kinds:
        each = statistics.median(many) * work_of(pipeline, asked(pipeline, count, traffic == "mixed"))
        for share in loads:
            ours, theirs = list[float](), list[float]()
            for turn in range(rounds):
                wanted = asked(pipeline, count, traffic == "mixed")
                coming = list(zip(arrivals(count, share / each, turn), wanted, strict=True))
                abreast(open_loop(engine, pipeline, coming, ours), static(pipeline, coming, clients, theirs))
            yield {
                "model": name,
                "traffic": traffic,
                "load": share,
                "p95": {"engine": p95(ours), "static": p95(theirs), "ratio": round(p95(ours) / p95(theirs), 2)},
                "median": {"engine": statistics.median(ours), "static": statistics.median(theirs)},
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["emoji-64", "emoji-128"])
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--pictures", type=int, default=64, help="of one round of the closed loop")
    parser.add_argument("--rounds", type=int, default=3, help="turns that both sides take")
    parser.add_argument("--traffic", nargs="+", choices=("same", "mixed"), default=["same", "mixed"])
    parser.add_argument("--loads", nargs="+", type=float, default=[0.3, 0.6])
    parser.add_argument("--requests", type=int, default=60, help="of one turn of the open loop")
    given = parser.parse_args()
    print(machine())
    for name in given.models:
        for told in measure(
            name, given.clients, given.pictures, given.rounds, given.traffic, given.loads, given.requests
        ):
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
