"""Continuous batching against one at a time and against static batches, on the bundled models.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/serving.py

Closed loop: as many clients as ``--clients``, each asking for the next picture when it has the last one. Open loop:
arrivals at random (Poisson), the same for both sides. Traffic is "same" (all under the preset) or "mixed" (some in
twice and some in three times the passes, some without guidance): a static batch holds what shares its settings, takes
all that wait, and runs to its end before the next begins. Both sides run in real time, each in a process of its own,
in turns of a tenth of a second (see ``turns.py``), so that a machine whose speed wanders slows both. Arrivals come as
fast as the machine is just then, and latencies are in the time that one picture then takes alone.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clock import machine
from turns import Clock, abreast, sides

from parvis.engine.engine import Engine
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


def arrivals(count: int, rate: float, seed: int = 0) -> list[float]:
    """``count`` moments, ``rate`` a second."""
    chance, now, moments = random.Random(seed), 0.0, []
    for _ in range(count):
        now += chance.expovariate(rate)
        moments.append(now)
    return moments


Arrivals = Sequence[tuple[float, Asked]]


class Continuous:
    """The engine, started as a server has it."""

    def __init__(self, clock: Clock, name: str, slots: int, lanes: int | None) -> None:
        self.clock, self.pipeline = clock, load(name)
        self.engine = Engine({name: self.pipeline}, budget=Budget(slots=slots), lanes=lanes)
        self.engine.start()
        self.closed_loop(slots, slots)

    def closed_loop(self, clients: int, count: int) -> float:
        """Seconds a picture, drawn for ``clients`` that each wait for one, ``count`` in all."""
        left, start = iter(asked(self.pipeline, count)), self.clock()

        def client() -> None:
            for one in left:
                self.engine.submit(Work(self.pipeline.name, one.request(self.pipeline))).result()

        together([threading.Thread(target=client) for _ in range(clients)])
        return (self.clock() - start) / count

    def open_loop(self, coming: Arrivals) -> list[float]:
        """Seconds from every arrival to its picture."""
        start, seconds = self.clock(), list[float]()

        def client(moment: float, one: Asked) -> None:
            self.clock.sleep_until(start + moment)
            self.engine.submit(Work(self.pipeline.name, one.request(self.pipeline))).result()
            seconds.append(self.clock() - start - moment)

        together([threading.Thread(target=client, args=arrival) for arrival in coming])
        return seconds


class Static:
    """``Pipeline.generate``: one at a time, or in batches that run to their end."""

    def __init__(self, clock: Clock, name: str, slots: int) -> None:
        self.clock, self.pipeline, self.most = clock, load(name), slots
        for many in (1, 2, 4, 8):
            self._draw(asked(self.pipeline, many))

    def one_at_a_time(self, count: int) -> float:
        """Seconds a picture."""
        start = self.clock()
        for one in asked(self.pipeline, count):
            self._draw([one])
        return (self.clock() - start) / count

    def open_loop(self, coming: Arrivals) -> list[float]:
        """Seconds from every arrival to its picture, where the first in line and all who wait and share its settings
        run to their end."""
        start, left, seconds = self.clock(), list(coming), list[float]()
        while left:
            self.clock.sleep_until(start + left[0][0])
            now, first = self.clock() - start, left[0][1]
            alike = [e for e in left if e[0] <= now and (e[1].steps, e[1].guidance) == (first.steps, first.guidance)]
            batch = alike[: self.most]
            left = [entry for entry in left if entry not in batch]
            self._draw([one for _, one in batch])
            seconds += [self.clock() - start - moment for moment, _ in batch]
        return seconds

    def _draw(self, batch: Sequence[Asked]) -> None:
        """A batch under the settings of the first."""
        prompts, seeds = [one.prompt for one in batch], [one.seed for one in batch]
        how = batch[0]
        self.pipeline.generate(prompts, seed=seeds, steps=how.steps, guidance=how.guidance, batch=self.most)


def together(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def work_of(pipeline: Pipeline, requests: Sequence[Asked]) -> float:
    """Mean number of passes, over the preset's: by how much less of such traffic an engine bears."""
    steps = pipeline.system.preset.steps
    assert steps is not None
    return statistics.mean((one.steps or steps) / steps for one in requests)


def p95(seconds: Sequence[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1]


def measure(
    name: str,
    clients: int,
    lanes: int | None,
    pictures: int,
    rounds: int,
    kinds: Sequence[str],
    loads: Sequence[float],
    count: int,
) -> Iterator[dict[str, Any]]:
    """All of one model; ``kinds`` of traffic, ``loads`` as shares of what the closed loop reached, told by how much
    longer than then a picture takes alone."""
    pipeline = load(name)
    with sides((Continuous, name, clients, lanes), (Static, name, clients)) as (ours, theirs):
        closed = [
            abreast([(ours, "closed_loop", clients, pictures), (theirs, "one_at_a_time", pictures // 4)])
            for _ in range(rounds)
        ]
        many, alone = (statistics.median(times) for times in zip(*closed, strict=True))
        yield {
            "model": name,
            "clients": clients,
            "seconds_per_image": {"one at a time": alone, "engine": many},
            "engine over one at a time": [round(b / a, 2) for a, b in closed],
        }
        for traffic in kinds:
            wanted = asked(pipeline, count, traffic == "mixed")
            each = many / alone * work_of(pipeline, wanted)
            for share in loads:
                found: tuple[list[float], list[float]] = [], []
                for turn in range(rounds):
                    (now,) = abreast([(theirs, "one_at_a_time", 6)])
                    coming = list(zip(arrivals(count, share / each / now, turn), wanted, strict=True))
                    both = abreast([(ours, "open_loop", coming), (theirs, "open_loop", coming)])
                    for times, seconds in zip(found, both, strict=True):
                        times += [one / now for one in seconds]
                yield {
                    "model": name,
                    "traffic": traffic,
                    "load": share,
                    "p95": told(p95(found[0]), p95(found[1])),
                    "median": told(statistics.median(found[0]), statistics.median(found[1])),
                }


def told(ours: float, theirs: float) -> dict[str, float]:
    return {"engine": round(ours, 2), "static": round(theirs, 2), "ratio": round(ours / theirs, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["emoji-64", "emoji-128"])
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--lanes", type=int, help="of the engine; the usual unless given")
    parser.add_argument("--pictures", type=int, default=64, help="of one turn of the closed loop")
    parser.add_argument("--rounds", type=int, default=3, help="turns that both sides take")
    parser.add_argument("--traffic", nargs="+", choices=("same", "mixed"), default=["same", "mixed"])
    parser.add_argument("--loads", nargs="+", type=float, default=[0.3, 0.6])
    parser.add_argument("--requests", type=int, default=60, help="of one turn of the open loop")
    given = parser.parse_args()
    print(machine(time.monotonic))
    for name in given.models:
        for line in measure(
            name, given.clients, given.lanes, given.pictures, given.rounds, given.traffic, given.loads, given.requests
        ):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
