"""VAR's transformer, with its own or shared adaptive norms."""

from __future__ import annotations

from collections.abc import Iterator

from parvis import guidance
from parvis.grid import Grid
from parvis.model.transformer import Size
from parvis.order import scales
from parvis.systems import var
from parvis.tokenizer.multiscale import MultiScaleConfig, MultiScaleVQ
from parvis.verify.case import Case
from parvis.verify.compare import Check, bundle, close, decoded, load_state, taught
from parvis.weights import maps


def check(case: Case) -> Iterator[Check]:
    c = case.config
    sides, size = tuple(c["patch_nums"]), Size(c["layers"], c["dim"], c["heads"], 4 * c["dim"])
    grid = Grid.pyramid(sides)
    model = var.transformer(
        size, grid, vocabulary=c["vocab"], channels=c["z_channels"], classes=c["classes"], shared=c["shared_aln"]
    )
    load_state(model, maps.VAR, case.weights(), "VAR")
    tokenizer = MultiScaleVQ(
        MultiScaleConfig(sides=sides, channels=32, multipliers=(1,), z_channels=c["z_channels"], codes=c["vocab"])
    )
    load_state(tokenizer.quantize, maps.VAR_QUANTIZER, case.weights("weights_vae."), "VAR's quantizer")
    order, labels = scales(grid), case.inputs("labels")
    system = bundle(case, model, order, tokenizer)
    if (fed := case.outputs("teacher_input")) is not None:
        yield close("teacher input", tokenizer.teacher_input(case.inputs("codes"), grid), fed)
    yield from taught(case, system, labels, {"": order})
    yield from decoded(case, system, labels, {"cfg": (order, guidance.by_group(1 + c["cfg"])), "no_cfg": (order, None)})
