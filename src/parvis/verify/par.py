"""PAR with any number of parallel tokens."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from parvis import guidance
from parvis.grid import Grid
from parvis.order import regions
from parvis.systems import llamagen, par
from parvis.verify.case import Case
from parvis.verify.compare import Check, bundle, decoded, load_state, taught, tokens
from parvis.weights import maps


def check(case: Case) -> Iterator[Check]:
    c = case.config
    size, grid, n = llamagen.size(c["layers"], c["dim"], c["heads"]), Grid.square(c["grid"]), c["parallel"]
    model = par.transformer(size, grid, n, vocabulary=c["vocab"], classes=c["classes"])
    load_state(model, maps.PAR, case.weights(), "PAR")
    order, labels = regions(grid, n), case.inputs("labels")
    system = bundle(case, model, order)
    yield tokens("order", order.positions, case.inputs("order"))
    sizes = case.outputs("step_sizes")
    if sizes is not None:
        yield tokens("group sizes", torch.tensor(order.sizes), sizes)
    yield from taught(case, system, labels, {"": order})
    interval = par.until(c["cfg"], c["cfg_interval"], n) if "cfg_interval" in c else None
    modes = {"cfg": (order, guidance.constant(c["cfg"])), "no_cfg": (order, None), "cfg_interval": (order, interval)}
    yield from decoded(case, system, labels, modes)
