"""ARPG: both schedules, both kinds of guidance."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from parvis import guidance, schedule
from parvis.grid import Grid
from parvis.guidance import Guidance
from parvis.order import Order
from parvis.systems import arpg, llamagen
from parvis.verify.case import Case
from parvis.verify.compare import Check, bundle, decoded, load_state, taught, tokens
from parvis.weights import maps


def check(case: Case) -> Iterator[Check]:
    c = case.config
    size, grid = llamagen.size(c["layers"], c["dim"], c["heads"]), Grid.square(c["grid"])
    model = arpg.transformer(size, grid, vocabulary=c["vocab"], classes=c["classes"])
    load_state(model, maps.ARPG, case.weights(), "ARPG")
    labels, shared = case.inputs("labels"), case.inputs("shared_order")
    sequence = Order(case.inputs("orders"), (1,) * grid.tokens)  # what the paper trains on
    system = bundle(case, model, sequence)
    yield from taught(case, system, labels, {"": sequence})
    rules = {
        "linear": guidance.after_step(c["cfg"]),
        "constant": guidance.constant(c["cfg"]),
        "scale1": guidance.constant(1.0),
    }
    schedules = {"arccos": schedule.remaining_arccos, "cosine": schedule.remaining_cosine}
    modes: dict[str, tuple[Order, Guidance | None]] = {
        f"{strength}_{name}": (Order(shared, sizes(grid.tokens, c["steps"])), rule)
        for strength, rule in rules.items()
        for name, sizes in schedules.items()
    }
    for mode, (order, _) in modes.items():
        theirs = case.outputs(f"step_sizes.{mode}")
        if theirs is not None:
            yield tokens(f"group sizes, {mode}", torch.tensor(order.sizes), theirs)
    yield from decoded(case, system, labels, modes)
