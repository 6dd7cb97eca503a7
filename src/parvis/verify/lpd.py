"""LPD, with its own orders and group tables and with others."""

from __future__ import annotations

from collections.abc import Iterator

from parvis import guidance
from parvis.grid import Grid
from parvis.guidance import Guidance
from parvis.model.context import LatentNullCondition
from parvis.model.transformer import Size
from parvis.order import Order
from parvis.systems import lpd
from parvis.verify.case import Case
from parvis.verify.compare import Check, bundle, decoded, load_state, taught
from parvis.weights import maps


def check(case: Case) -> Iterator[Check]:
    c = case.config
    size, grid = Size(c["layers"], c["dim"], c["heads"], 4 * c["dim"]), Grid.square(c["grid"])
    model = lpd.transformer(size, grid, vocabulary=c["vocab"], condition=LatentNullCondition(c["classes"], size.width))
    load_state(model, maps.LPD, case.weights(), "LPD")
    sizes = tuple(c["group_sizes"])
    planned = Order(case.inputs("orders"), sizes)
    system, labels = bundle(case, model, planned), case.inputs("labels")
    orders = {"": planned}
    modes: dict[str, tuple[Order, Guidance | None]] = {
        "cfg_linear": (planned, guidance.linear(c["cfg"])),
        "cfg_constant": (planned, guidance.constant(c["cfg"])),
        "no_cfg": (planned, None),
    }
    if "inputs.random_orders" in case.tensors:
        orders["_random_order"] = Order(case.inputs("random_orders"), sizes)
        other = Order(case.inputs("random_orders"), tuple(c["group_sizes_2"]))
        modes["cfg_linear_random_order"] = (other, guidance.linear(c["cfg"]))
    yield from taught(case, system, labels, orders)
    yield from decoded(case, system, labels, modes)
