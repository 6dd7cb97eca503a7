"""RandAR, in its schedule's groups and one by one."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from parvis import guidance
from parvis.grid import Grid
from parvis.guidance import Guidance
from parvis.model.context import ClassCondition
from parvis.order import Order
from parvis.schedule import one_then_cosine
from parvis.systems import llamagen, randar
from parvis.verify.case import Case
from parvis.verify.compare import Check, bundle, decoded, load_state, taught, tokens
from parvis.weights import maps


def check(case: Case) -> Iterator[Check]:
    c = case.config
    size, grid = llamagen.size(c["layers"], c["dim"], c["heads"]), Grid.square(c["grid"])
    model = randar.transformer(size, grid, vocabulary=c["vocab"], condition=ClassCondition(c["classes"], size.width))
    load_state(model, maps.RANDAR, case.weights(), "RandAR")
    orders, labels = case.inputs("orders"), case.inputs("labels")
    sequence = Order(orders, (1,) * grid.tokens)  # what the paper trains on
    grouped = Order(orders, one_then_cosine(grid.tokens, c["steps"]))
    system = bundle(case, model, grouped)
    yield from taught(case, system, labels, {"": sequence})
    modes: dict[str, tuple[Order, Guidance | None]] = {
        "cfg_linear": (grouped, guidance.before_step(c["cfg"])),
        "cfg_constant": (grouped, guidance.constant(c["cfg"])),
        "no_cfg": (grouped, None),
        "no_cfg_one_by_one": (sequence, None),
    }
    for mode, (order, _) in modes.items():
        lengths = case.outputs(f"step_input_lengths.{mode}")
        if lengths is not None:
            ours = torch.tensor([len(rows) for rows in model.plan(order.sizes).passes])
            yield tokens(f"rows of every pass, {mode}", ours, lengths)
    yield from decoded(case, system, labels, modes)
