"""NAR on images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from parvis import guidance
from parvis.grid import Grid
from parvis.guidance import Guidance
from parvis.order import Order, diagonals
from parvis.systems import llamagen, nar
from parvis.verify.case import Case
from parvis.verify.compare import Check, bundle, decoded, load_state, taught, tokens
from parvis.verify.llamagen import conditioned
from parvis.weights import maps


def check(case: Case) -> Iterator[Check]:
    c = case.config
    size, grid = llamagen.size(c["layers"], c["dim"], c["heads"]), Grid.square(c["grid"])
    condition, given = conditioned(case, size.width)
    model = nar.transformer(size, grid, vocabulary=c["vocab"], condition=condition)
    load_state(model, maps.NAR, case.weights(), "NAR")
    order = diagonals(grid)
    yield tokens("order", order.positions, case.inputs("order"))
    theirs = case.outputs("mask")
    if theirs is not None:  # in raster order, with a row for the last token, which nothing sees
        prefix = condition.prefix
        fed = torch.cat([torch.arange(prefix), prefix + order.positions[:-1]])
        rows = model.plan(order.sizes).whole(model.rule, fed.device)
        ours = torch.ones_like(theirs[fed][:, fed]) if rows.mask is None else rows.mask
        yield tokens("training mask", ours, theirs[fed][:, fed])
    system = bundle(case, model, order)
    yield from taught(replace(case, order=order.positions), system, given, {"": order})
    modes: dict[str, tuple[Order, Guidance | None]] = {
        "cfg": (order, guidance.constant(c["cfg"])),
        "no_cfg": (order, None),
    }
    if "cfg_interval" in c:
        modes["cfg_interval"] = (order, nar.until(c["cfg"], c["cfg_interval"]))
    yield from decoded(case, system, given, modes)
