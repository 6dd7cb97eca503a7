"""Races: turns, warm-up, ratios."""

from __future__ import annotations

import time

import pytest

from parvis.errors import UsageError
from parvis.evaluate import latency
from parvis.evaluate.latency import Latency, race, split


class Clocks:
    """A wall clock and a processor clock that move only when told."""

    def __init__(self) -> None:
        self.wall = self.processor = 0.0

    def work(self, wall: float, processor: float) -> None:
        self.wall += wall
        self.processor += processor


def test_contestants_take_turns_and_the_warm_up_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks, calls = Clocks(), list[tuple[str, int]]()
    monkeypatch.setattr(time, "perf_counter", lambda: clocks.wall)
    monkeypatch.setattr(time, "process_time", lambda: clocks.processor)

    def contestant(name: str, seconds: float):  # type: ignore[no-untyped-def]
        def run(batch: int) -> None:
            calls.append((name, batch))
            slow = 100 if len(calls) <= 2 else 1
            clocks.work(seconds * batch * slow * (2 if len(calls) > 6 else 1), seconds)

        return run

    found = race({"a": contestant("a", 1.0), "b": contestant("b", 3.0)}, batches=(1,), repeats=3)
    assert calls == [(name, 1) for name in "abbaabba"]
    a, b = found
    assert (a.name, a.wall, a.processor) == ("a", (1, 1, 2), (1, 1, 1))
    assert (a.seconds, b.seconds) == (1, 3)
    times = b.over(a)
    assert (times.wall, times.least, times.greatest, times.processor) == (3, 3, 3, 3)


def test_every_batch_is_timed_for_all() -> None:
    found = race({"a": lambda batch: None, "b": lambda batch: None}, batches=(1, 8), repeats=2, warm_up=0)
    assert [(one.batch, one.name, len(one.wall)) for one in found] == [
        (1, "a", 2),
        (1, "b", 2),
        (8, "a", 2),
        (8, "b", 2),
    ]


def test_a_processor_clock_that_stands_still_gives_no_ratio() -> None:
    still = Latency("a", 1, (1.0,), (0.0,))
    assert still.over(still).processor is None


@pytest.mark.parametrize("bad", [{"repeats": 0}, {"batches": (0,)}, {"batches": ()}, {"warm_up": -1}])
def test_a_race_without_runs_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="a race needs"):
        latency.race({"a": lambda batch: None}, **bad)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="a race needs"):
        race({})


class Worker:
    def cook(self, seconds: float) -> str:
        time.sleep(seconds)
        return "dish"

    def wash(self) -> None:
        time.sleep(0.02)


def test_a_split_gives_every_part_its_time_and_takes_its_clocks_away() -> None:
    worker = Worker()

    def evening() -> str:
        time.sleep(0.03)
        worker.wash()
        return worker.cook(0.01) + worker.cook(seconds=0.04)

    made, seconds = split(evening, {"cooking": [(worker, "cook")], "washing": [(worker, "wash")]})
    assert made == "dishdish" and vars(worker) == {}
    assert list(seconds) == ["cooking", "washing", "rest"]
    assert seconds["cooking"] >= 0.05 and seconds["washing"] >= 0.02 and seconds["rest"] >= 0.03


def test_the_clocks_go_also_when_the_run_fails() -> None:
    worker = Worker()
    with pytest.raises(TypeError):
        split(lambda: worker.cook("long"), {"cooking": [(worker, "cook")]})  # type: ignore[arg-type]
    assert vars(worker) == {}
