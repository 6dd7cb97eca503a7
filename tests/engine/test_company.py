"""A picture is the same to the bit alone and in company, whoever joins, leaves or is taken back (CPU, float32)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parvis.engine.engine import Engine
from parvis.engine.ticket import Cancelled, Ticket
from parvis.engine.work import Budget, Work
from parvis.generate import generate
from serving import Drawer, alone, drawn, request
from toys import EVERY, LATENTS, toy

Schedule = list[tuple[int, int, int, bool]]


def check(names: list[str], schedule: Schedule, slots: int) -> None:
    """Play a schedule of (arrives at step, which system, which request, whether it is taken back half way)."""
    engine = Engine({name: Drawer(toy(name)) for name in names}, budget=Budget(slots=slots))
    tickets: list[tuple[Ticket, str, int, bool]] = []
    step, waiting = 0, sorted(schedule)
    while waiting or engine.metrics().running or engine.metrics().waiting:
        while waiting and waiting[0][0] <= step:
            _, which, chance, leaves = waiting.pop(0)
            name = names[which % len(names)]
            work = Work(name, request(toy(name), chance), key=str(chance % 3))
            tickets.append((engine.submit(work), name, chance, leaves))
        for ticket, _, chance, leaves in tickets:
            if leaves and step % 5 == chance % 5:
                ticket.cancel()
        engine.step()
        step += 1
    for ticket, name, chance, leaves in tickets:
        if leaves and isinstance(ticket.final, Cancelled):
            continue
        values, image = drawn(ticket)
        expected = alone(name, chance)
        assert torch.equal(values, expected[0]) and image == expected[1], (name, chance)
    metrics = engine.metrics()
    assert metrics.running == metrics.waiting == metrics.cache_bytes == 0
    assert metrics.done + metrics.cancelled == metrics.submitted == len(schedule)


ARRIVALS = st.tuples(st.integers(0, 9), st.integers(0, 10), st.integers(0, 11), st.booleans())


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=2)
@given(schedule=st.lists(ARRIVALS, min_size=2, max_size=7), slots=st.integers(2, 8))
def test_a_picture_is_the_same_in_any_company(name: str, schedule: Schedule, slots: int) -> None:
    check([name], schedule, slots)


@settings(max_examples=2)
@given(schedule=st.lists(ARRIVALS, min_size=5, max_size=9), slots=st.integers(2, 8))
def test_models_side_by_side(schedule: Schedule, slots: int) -> None:
    check(["lpd", "raster", "var", *LATENTS], schedule, slots)


def test_a_picture_is_the_same_beside_other_lanes() -> None:
    """Every system in an engine of three lanes: requests one after the other, then all at once."""
    engine = Engine({name: Drawer(toy(name)) for name in EVERY}, budget=Budget(slots=12), lanes=3)
    engine.start()
    works = [Work(name, request(toy(name), chance)) for chance in (1, 2) for name in EVERY]
    expected = [engine.submit(work).result(60).image.tobytes() for work in works]
    tickets = [engine.submit(work) for work in works]
    found = [ticket.result(60).image.tobytes() for ticket in tickets]
    engine.stop()
    assert found == expected


@pytest.mark.parametrize("name", EVERY)
def test_the_engine_draws_what_generate_draws(name: str) -> None:
    """Another way through the layers, the same numbers to rounding: the same codes, and latents close by."""
    for chance in (1, 2, 6):
        expected = generate(toy(name), request(toy(name), chance))[0].values
        torch.testing.assert_close(alone(name, chance)[0], expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", EVERY)
def test_those_at_the_same_pass_are_one_batch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of one plan that came together are asked as one; each gets what it would get alone."""
    system, sizes = toy(name), list[tuple[int, int]]()
    models = {id(type(model)): type(model) for model in system.models.values()}
    for kind in models.values():
        whole = kind.answers

        def counted(model: Any, questions: Any, gather: Any, whole: Any = whole) -> Any:
            sizes.append((len(questions), sum(len(question.order_BN) for question in questions)))
            return whole(model, questions, gather)

        monkeypatch.setattr(kind, "answers", counted)
    engine = Engine({name: Drawer(system)}, budget=Budget(slots=8))
    asked = {chance: request(system, chance) for chance in (0, 3, 6, 7, 9)}  # 0, 3, 6 and 9 leave the steps open
    tickets = {chance: engine.submit(Work(name, one)) for chance, one in asked.items()}
    late = None
    while engine.step():
        late = late or engine.submit(Work(name, asked[0]))
    monkeypatch.undo()
    assert max(images - questions for questions, images in sizes) >= 1, "nothing was merged"
    assert sizes[0][0] < sizes[0][1]
    for chance, ticket in [*tickets.items(), (0, late)]:
        values, image = drawn(ticket)
        expected = alone(name, chance)
        assert torch.equal(values, expected[0]) and image == expected[1], chance
