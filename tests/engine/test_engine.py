"""The engine: turns, budgets, deadlines, faults, and that nothing is left behind."""

from __future__ import annotations

import gc
import random
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from parvis.engine.company import FEW, GROUPS, Company
from parvis.engine.engine import Engine, usual_lanes
from parvis.engine.ticket import Cancelled, Done, Event, Failed, Partial, Queued, Step, Ticket
from parvis.engine.work import Budget, Work
from parvis.errors import DeadlinePassed, EngineStopped, QueueFull, UnknownName, UsageError
from parvis.model.context import Context
from parvis.model.transformer import Transformer
from parvis.packed import weight_bytes
from parvis.request import Request
from parvis.tokenizer.vqgan import VQGAN
from serving import Drawer, alone, drawn, request
from toys import toy

NAME = "lpd"


def engine(**options: Any) -> Engine:
    return Engine({NAME: Drawer(toy(NAME))}, **options)


def work(chance: int = 0, **options: Any) -> Work:
    return Work(NAME, request(toy(NAME), chance), **options)


def run(one: Engine, steps: int = 1000) -> None:
    for _ in range(steps):
        if not one.step():
            return


def settled(one: Engine) -> bool:
    metrics = one.metrics()
    return metrics.running == metrics.waiting == metrics.cache_bytes == 0


def ended(ticket: Ticket) -> str:
    return type(ticket.final).__name__


def test_events_of_a_request() -> None:
    one = engine()
    ticket = one.submit(work(0, partials=2))
    seen: list[Event] = ticket.poll()
    while one.step():
        seen += ticket.poll()
    assert seen[:2] == [Queued(0), seen[1]] and isinstance(seen[-1], Done)
    steps = [event for event in seen if isinstance(event, Step)]
    assert [step.done for step in steps] == list(range(1, 7)) and {step.passes for step in steps} == {6}
    known = [int(step.canvas.known.sum()) for step in steps]
    assert known == sorted(set(known)) and known[-1] == 24  # copies: each as it stood then
    partials = [event for event in seen if isinstance(event, Partial)]
    assert [(event.index, event.done) for event in partials] == [(0, 2), (1, 4)]
    shown = one.picture(work(0), steps[1].canvas)
    assert shown.tobytes() == partials[0].image.tobytes() != seen[-1].image.tobytes()
    timings = seen[-1].timings
    assert seen[-1].tokens == 24 and timings.queued + timings.running + timings.decoding == pytest.approx(timings.total)


def test_keys_take_turns() -> None:
    one = engine(budget=Budget(slots=1))
    many = [one.submit(work(i, key="many")) for i in range(4)]
    other = one.submit(work(9, key="other"))
    assert [ticket.poll() for ticket in many] == [[Queued(i)] for i in range(4)] and other.poll() == [Queued(1)]
    order = []
    while one.step():
        order += [t for t in (*many, other) if t.final is not None and t not in order]
    assert order == [many[0], other, *many[1:]]


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again() -> None:
    one = engine(queue=2)
    tickets = [one.submit(work(i)) for i in range(2)]
    with pytest.raises(QueueFull) as refused:
        one.submit(work(3))
    assert refused.value.retry_after >= 1
    run(one)
    assert [ended(t) for t in tickets] == ["Done", "Done"]
    metrics = one.metrics()
    assert (metrics.submitted, metrics.rejected, metrics.done) == (2, 1, 2)


def test_what_does_not_fit_is_refused_before_it_is_queued() -> None:
    one = engine()
    with pytest.raises(UnknownName, match="lpd"):
        one.submit(replace(work(), model="lpdd"))
    with pytest.raises(UsageError, match="steps is 99"):
        one.submit(replace(work(), request=replace(work().request, steps=99)))
    assert one.metrics().submitted == 0


def test_caches_stay_within_the_budget_and_nobody_starves() -> None:
    """Room for two unguided requests or one that is guided: the guided one is not passed over for ever."""
    one = engine()
    costs = []
    for scale in (1.0, 2.0):
        one.submit(Work(NAME, Request(torch.tensor([1]), (1,), guidance=scale)))
        one.step()
        costs.append(one.metrics().cache_bytes)
        run(one)
    assert costs[1] == 2 * costs[0] > 0
    one = engine(budget=Budget(cache_bytes=costs[1]))
    scales = (1.0, 2.0, 1.0, 1.0, 1.0)
    tickets = [one.submit(Work(NAME, Request(torch.tensor([1]), (i,), guidance=s))) for i, s in enumerate(scales)]
    most, done = 0, list[Ticket]()
    while one.step():
        most = max(most, one.metrics().cache_bytes)
        done += [t for t in tickets if t.final is not None and t not in done]
    assert most == costs[1] and done[:2] == tickets[:2] and len(done) == 5
    tight = engine(budget=Budget(cache_bytes=costs[0]))
    large, small = (tight.submit(Work(NAME, Request(torch.tensor([1]), (1,), guidance=s))) for s in (2.0, 1.0))
    run(tight)
    assert isinstance(large.final, Failed) and "all together may take" in str(large.final.error)
    assert ended(small) == "Done" and settled(tight)


def test_cancelling_frees_the_slot_within_a_step() -> None:
    one = engine(budget=Budget(slots=1))
    running, waiting, last = (one.submit(work(i)) for i in range(3))
    one.step()
    running.cancel()
    waiting.cancel()
    one.step()
    assert ended(running) == ended(waiting) == "Cancelled" and one.metrics().running == 1
    run(one)
    assert ended(last) == "Done" and settled(one) and one.metrics().cancelled == 2


def test_cancelling_while_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    one, tickets = engine(), list[Ticket]()
    decode = VQGAN.decode
    monkeypatch.setattr(VQGAN, "decode", lambda *given: (tickets[0].cancel(), decode(*given))[1])
    tickets.append(one.submit(work(0)))
    run(one)
    assert isinstance(tickets[0].final, Cancelled) and settled(one)


def test_deadlines() -> None:
    one = engine(budget=Budget(slots=1))
    patient, hasty = one.submit(work(0)), one.submit(work(1, deadline=0.02))
    one.step()
    time.sleep(0.03)
    run(one)
    late = one.submit(work(2, deadline=0.02))
    one.step()
    time.sleep(0.03)
    run(one)
    assert ended(patient) == "Done" and one.metrics().expired == 2
    for ticket, where in ((hasty, "while it waited"), (late, "after 1 passes")):
        assert isinstance(ticket.final, Failed) and isinstance(ticket.final.error, DeadlinePassed)
        assert where in str(ticket.final.error)


class Faulty:
    """Patches a method so that it raises for one seed, alone or in company; counts how often it did."""

    def __init__(self, error: Callable[[], Exception], seed: int) -> None:
        self.error, self.seed, self.raised = error, seed, 0

    def answers(self, whole: Callable[..., Any]) -> Callable[..., Any]:
        def answers(model: Any, questions: Any, gather: Any) -> Any:
            if any(abs(said - self.seed) < 1 for q in questions for said in said_by(q.context)):
                self.raised += 1
                raise self.error()
            return whole(model, questions, gather)

        return answers


ERRORS = {
    "bug": lambda: ValueError("broken"),
    "device": lambda: torch.OutOfMemoryError("CUDA out of memory"),
    "host": lambda: MemoryError(),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_a_pass_that_raises_fails_its_request_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system = toy(NAME)
    culprit = request(system, 3)
    rows = steady_rows(system, culprit)
    fault = Faulty(ERRORS[kind], rows)
    monkeypatch.setattr(Transformer, "answers", fault.answers(Transformer.answers))
    one = engine()
    tickets = {chance: one.submit(work(chance)) for chance in (1, 2, 3, 4, 6)}
    run(one)
    monkeypatch.undo()
    final = tickets.pop(3).final
    assert isinstance(final, Failed) and type(final.error) is type(ERRORS[kind]()) and fault.raised >= 2
    assert final.error.__traceback__ is None
    for chance, ticket in tickets.items():
        assert torch.equal(drawn(ticket)[0], alone(NAME, chance)[0])
    assert settled(one) and one.metrics().failed == 1 and one.metrics().done == 4


def steady_rows(system: Any, asked: Request) -> int:
    guided = asked.guidance != 1.0
    with torch.inference_mode():
        (said,) = said_by(system.models["main"].context(asked.given, guided))
        return int(said)


def said_by(context: Context) -> list[float]:
    """A number for the condition of every image."""
    each = context.rows.unflatten(0, (context.copies, -1)).abs().sum((0, 2, 3)) * 1e3
    return [float(number) for number in each]


def test_no_memory_for_all_is_memory_for_some(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, sizes = Transformer.answers, list[int]()

    def answers(model: Any, questions: Any, gather: Any) -> Any:
        images = sum(len(question.order_BN) for question in questions)
        if images > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(images)
        return whole(model, questions, gather)

    monkeypatch.setattr(Transformer, "answers", answers)
    one = engine()
    tickets = {chance: one.submit(work(chance)) for chance in (0, 1, 2, 4, 6)}
    run(one)
    monkeypatch.undo()
    assert set(sizes) == {1, 2}
    for chance, ticket in tickets.items():
        assert torch.equal(drawn(ticket)[0], alone(NAME, chance)[0])


@pytest.mark.parametrize("where", ["decode", "sample", "order", "copy"])
def test_what_goes_wrong_beside_the_passes(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from parvis.engine import studio as module

    def broken(*given: Any, **options: Any) -> Any:
        raise MemoryError("no room")

    one = engine()
    if where == "order":
        bad = one.submit(replace(work(0), request=replace(work(0).request, order=broken)))
    else:
        bad = one.submit(work(0))
    good = one.submit(work(1))
    if where == "decode":
        decode, calls = module.pixels, list[int]()
        monkeypatch.setattr(module, "pixels", lambda *a: broken() if calls.append(0) or len(calls) == 1 else decode(*a))
    if where == "sample":
        one.step()
        going = one._companies[0].tasks[0]._now
        going.job.noise = None  # type: ignore[assignment]
    if where == "copy":
        one.step()
        monkeypatch.setattr(one._companies[0].tasks[0], "step", broken)
    run(one)
    ends = {ended(bad), ended(good)}
    assert ends == {"Failed", "Done"} and settled(one)


def test_nothing_is_left_behind() -> None:
    """Whatever the ending: no task, canvas or cache outlives its ticket's reader, nor does an error hold them."""
    one = engine()
    tickets = [one.submit(work(i)) for i in range(3)]
    one.step()
    tasks = [weakref.ref(task) for task in one._companies[0].tasks]
    caches = [weakref.ref(seat.cache) for t in one._companies[0].tasks for seat in t._now.runner.seats.values()]
    tickets[0].cancel()
    one._companies[0].tasks[1]._now.job.noise = None  # type: ignore[assignment]
    run(one)
    assert [ended(t) for t in tickets] == ["Cancelled", "Failed", "Done"]
    gc.collect()
    assert [ref() for ref in (*tasks, *caches)] == [None] * 6 and settled(one)


@pytest.fixture
def started() -> Iterator[Engine]:
    one = engine(budget=Budget(slots=4))
    one.start()
    yield one
    one.stop(0)


def test_many_threads(started: Engine) -> None:
    assert started.alive
    results: dict[int, bytes] = {}

    def client(first: int) -> None:
        for chance in (first, first + 1):
            results[chance] = started.submit(work(chance, key=str(first))).result(60).image.tobytes()

    clients = [threading.Thread(target=client, args=(2 * i,)) for i in range(5)]
    for one in clients:
        one.start()
    for one in clients:
        one.join(60)
    assert results == {chance: alone(NAME, chance)[1] for chance in range(10)}
    with pytest.raises(UsageError, match="make another one"):
        started.start()


def test_stopping_lets_finish_who_is_here() -> None:
    one = engine()
    one.start()
    tickets = [one.submit(work(i)) for i in range(3)]
    one.stop(60)
    assert [ended(t) for t in tickets] == ["Done"] * 3 and not one.alive
    with pytest.raises(EngineStopped):
        one.submit(work(0))


@pytest.mark.parametrize("threaded", [False, True])
def test_stopping_without_grace(threaded: bool) -> None:
    one = engine(budget=Budget(slots=1))
    tickets = [one.submit(work(i)) for i in range(30)]
    if threaded:
        one.start()
    one.stop(0)
    with pytest.raises(EngineStopped):
        tickets[-1].result(1)
    assert settled(one) and not one.alive


def test_an_engine_that_breaks_down_tells_everyone(monkeypatch: pytest.MonkeyPatch) -> None:
    one = engine()
    monkeypatch.setattr(one, "_admit", lambda company: 1 / 0 if len(one._waiting) else None)
    one.start()
    ticket = one.submit(work(0))
    with pytest.raises(EngineStopped):
        ticket.result(30)
    assert not one.alive


def test_an_idle_engine_wakes(started: Engine) -> None:
    for chance in range(2):
        time.sleep(0.02)
        assert started.submit(work(chance)).result(60).passes
    metrics = started.metrics()
    assert metrics.steps == metrics.step_seconds.count >= 2 and metrics.tokens == 48
    assert metrics.passes >= metrics.steps and metrics.batch.mean == 1


def test_lanes_have_equal_parts() -> None:
    one = engine(lanes=2)
    one._companies.append(one._company())
    left, right = one._companies
    tickets = [one.submit(work(0)) for _ in range(5)]
    for company, count in ((left, 3), (right, 2)):
        one._step(company)
        assert len(company.tasks) == count
    tickets.append(one.submit(work(0)))
    for company, count in ((left, 3), (right, 3)):
        one._step(company)
        assert len(company.tasks) == count, "a newcomer goes where there are fewer"
    for _ in range(10):
        one._step(right)
    tickets += [one.submit(work(0)) for _ in range(2)]
    for company, count in ((left, 3), (right, 2)):
        one._step(company)
        assert len(company.tasks) == count, "a lane with work leaves them to one that has none"
    while any([one._step(company) for company in one._companies]):
        pass
    assert {ended(ticket) for ticket in tickets} == {"Done"} and settled(one) and one.metrics().done == 8


def test_lanes_share_the_budget() -> None:
    one = engine(lanes=3, budget=Budget(slots=4))
    one.start()
    tickets, most = [one.submit(work(i)) for i in range(20)], 0
    while any(ticket.final is None for ticket in tickets):
        most = max(most, one.metrics().running)
        time.sleep(0.001)
    one.stop()
    assert 2 <= most <= 4 and {ended(ticket) for ticket in tickets} == {"Done"} and settled(one)


def test_whoever_leaves_lanes_is_counted_once() -> None:
    one = engine(lanes=3, budget=Budget(slots=6))
    one.start()
    chance, tickets = random.Random(0), list[Ticket]()
    for number in range(60):
        tickets.append(one.submit(work(number % 7, deadline=chance.choice((None, None, 0.05)))))
        if chance.random() < 0.4:
            chance.choice(tickets).cancel()
    for ticket in tickets:
        list(ticket)
    one.stop()
    metrics, ends = one.metrics(), Counter(ended(ticket) for ticket in tickets)
    assert ends["Cancelled"] > 5 and ends["Done"] > 5
    assert (metrics.done, metrics.failed, metrics.cancelled) == (ends["Done"], ends["Failed"], ends["Cancelled"])
    assert settled(one) and metrics.submitted == 60


def test_threads_are_divided_and_given_back() -> None:
    def threads_of_a_new_thread() -> int:
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return found[0]

    before, seen = threads_of_a_new_thread(), set[int]()
    one = engine(lanes=2)
    advance = Company.advance
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Company, "advance", lambda self: (seen.add(torch.get_num_threads()), advance(self))[1])
        one.start()
        one.submit(work(0)).result(60)
        one.stop()
    assert seen == {max(1, before // 2)} and threads_of_a_new_thread() == before


@pytest.mark.parametrize("why", ["small", "large", "one thread", "device"])
def test_small_models_on_a_processor_have_two_lanes(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system, device = toy(NAME), torch.device("meta" if why == "device" else "cpu")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1 if why == "one thread" else 8)
    if why == "large":
        monkeypatch.setattr("parvis.engine.engine.CACHED", weight_bytes(system.models["main"]) - 1)
    assert usual_lanes({NAME: Drawer(system, device)}) == (2 if why == "small" else 1)


def test_an_engine_has_a_lane() -> None:
    with pytest.raises(UsageError, match="1 lane or more"):
        engine(lanes=0)


def test_where_groups_of_a_kind_run_newcomers_wait_and_nobody_else_does() -> None:
    one = engine(budget=Budget(slots=20))

    def like(steps: int = 12) -> Ticket:
        return one.submit(Work(NAME, Request(torch.tensor([1]), (1,), steps)))

    def running() -> int:
        return one.metrics().running

    first = [like()]
    for count in range(1, FEW + 1):
        one.step()
        assert running() == count
        first.append(like())
    first.append(like())
    one.step()
    assert running() == FEW, "a further one waits"
    other = like(steps=5)
    one.step()
    assert running() == FEW + 1 and one.metrics().waiting == 2, "another kind passes by"
    for _ in range(5):
        one.step()
    assert ended(other) == ended(first[0]) == ended(first[1]) == "Done"
    assert running() == FEW and one.metrics().waiting == 0, "the two that waited came in together"
    run(one)
    assert {ended(ticket) for ticket in first} == {"Done"} and settled(one)


def test_groups_run_however_large() -> None:
    one = engine(budget=Budget(slots=20))
    tickets, running = [], 0
    for number in range(GROUPS + 1):
        many = 1 if number else FEW
        tickets += [one.submit(Work(NAME, Request(torch.tensor([1]), (1,), 12))) for _ in range(many)]
        one.step()
        running += many if number < GROUPS else 0
        assert one.metrics().running == running, "further groups come in beside the first, one too many waits"
    run(one)
    assert {ended(ticket) for ticket in tickets} == {"Done"} and settled(one)
