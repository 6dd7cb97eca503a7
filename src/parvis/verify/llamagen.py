"""LlamaGen, class- and text-conditional."""

from __future__ import annotations

from collections.abc import Iterator

from parvis import guidance
from parvis.grid import Grid
from parvis.model.context import ClassCondition, Condition, Features, FeaturesCondition, Given
from parvis.order import raster
from parvis.systems import llamagen
from parvis.verify.case import Case
from parvis.verify.compare import Check, bundle, decoded, load_state, taught
from parvis.weights import maps


def conditioned(case: Case, width: int) -> tuple[Condition, Given]:
    """The condition of a case of LlamaGen's family, class or text, and what it is given."""
    c = case.config
    if "text_len" in c:
        given = Features(case.inputs("text_features"), case.inputs("text_mask").bool())
        return FeaturesCondition(c["caption_dim"], c["text_len"], width), given
    return ClassCondition(c["classes"], width), case.inputs("labels")


def check(case: Case) -> Iterator[Check]:
    c = case.config
    size, grid = llamagen.size(c["layers"], c["dim"], c["heads"]), Grid.square(c["grid"])
    condition, given = conditioned(case, size.width)
    model = llamagen.transformer(size, grid, vocabulary=c["vocab"], condition=condition)
    load_state(model, maps.LLAMAGEN, case.weights(), "LlamaGen")
    order = raster(grid)
    system = bundle(case, model, order)
    interval = guidance.until(c["cfg"], c["cfg_interval"] + 2) if "cfg_interval" in c else None
    yield from taught(case, system, given, {"": order})
    modes = {"cfg": (order, guidance.constant(c["cfg"])), "no_cfg": (order, None), "cfg_interval": (order, interval)}
    yield from decoded(case, system, given, modes)
