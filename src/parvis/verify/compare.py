"""The comparisons of a case: tokens and indices must be identical, the rest must agree within the tolerances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvis import guidance
from parvis.canvas import Canvas
from parvis.decode.job import Job
from parvis.decode.parallel import parallel
from parvis.engine.runner import Runner, content_of, run
from parvis.guidance import Guidance
from parvis.meta import without_memory
from parvis.model.base import Model
from parvis.model.context import Given
from parvis.noise import Noise
from parvis.order import Order
from parvis.predict import Categorical, Prediction
from parvis.sampling import Sampling
from parvis.system import Preset, System
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.multiscale import MultiScaleVQ
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.train.objective import teacher_logits
from parvis.verify.case import Case
from parvis.weights.folder import expectation
from parvis.weights.keys import KeyMap

LOGITS, PIXELS = 1e-5, 1e-4
"""max |a - b| <= LOGITS * max(1, max |b|) for logits and latents; PIXELS * max |b| for pixels."""


@dataclass(frozen=True)
class Check:
    """One comparison: what, the share of equal entries (tokens) or ``None``, the largest difference or ``None``,
    passed."""

    what: str
    agreement: float | None
    difference: float | None
    passed: bool


def load_state(module: nn.Module, key_map: KeyMap, state: Mapping[str, Tensor], source: str) -> None:
    """Fill ``module`` from the authors' state dict; anything missing or unexplained is a WeightsError."""
    shapes = {name: shape for name, (shape, _) in expectation(module).items()}
    tensors, report = key_map.apply(state, shapes)
    report.require_complete(source)
    module.load_state_dict(tensors)
    module.eval()


def tokens(what: str, ours: Tensor, theirs: Tensor) -> Check:
    same = (ours == theirs).float().mean().item() if ours.shape == theirs.shape else 0.0
    return Check(what, same, None, same == 1.0)


def close(what: str, ours: Tensor, theirs: Tensor, relative: float = LOGITS, least: float = 1.0) -> Check:
    largest = (ours - theirs).abs().max().item()
    return Check(what, None, largest, largest <= relative * max(least, theirs.abs().max().item()))


def logits_of(prediction: Prediction) -> Tensor:
    assert isinstance(prediction, Categorical), "only laws over codes have logits"
    return prediction.logits


def decoded(
    case: Case, system: System, given: Given, modes: Mapping[str, tuple[Order, Guidance | None]]
) -> Iterator[Check]:
    """Greedy decoding in every mode of the case that is in ``modes``."""
    batch = int(case.config["batch"])
    for mode, (order, rule) in modes.items():
        theirs = case.outputs(f"tokens_generation_order.{mode}")
        if theirs is None:
            continue
        canvas = Canvas.empty(batch, system.grid.tokens)
        scales = None if rule is None else rule(order.sizes)
        job = Job(order, canvas, Noise(range(batch)), Sampling(top_k=1), scales)
        runner = Runner(system, order, given, batch, guided=rule is not None)
        logits = [logits_of(prediction) for _, prediction in run(system.decoder, job, runner)]
        yield tokens(f"tokens, {mode}", canvas.read(order.positions), theirs)
        in_place = case.outputs(f"tokens_raster.{mode}")
        if in_place is not None:
            yield tokens(f"tokens in raster order, {mode}", canvas.values, in_place)
        yield close(f"step logits, {mode}", torch.cat(logits, 1), case.tensors[f"outputs.step_logits.{mode}"])
        f_hat = case.outputs(f"f_hat.{mode}")
        if f_hat is not None and isinstance(system.tokenizer, MultiScaleVQ):
            *_, ours = system.tokenizer.quantize.sums(canvas.values, system.grid, len(system.grid.scales))
            yield close(f"f_hat, {mode}", ours, f_hat)


class Recorded(Noise):
    """Noise that is read from a record: normals [draws, B, N, C], by draw and position."""

    def __init__(self, normals: Tensor) -> None:
        super().__init__(range(normals.shape[1]))
        self.normals = normals

    def normal(self, positions: Tensor, draw: int = 0, width: int | None = None) -> Tensor:
        table_BNC = self.normals[draw]
        return Canvas(table_BNC, table_BNC.isnan()).read(positions)


def taught(case: Case, system: System, given: Given, orders: Mapping[str, Order]) -> Iterator[Check]:
    """Teacher-forced logits and loss, under each order that the case has outputs for."""
    codes = case.inputs("codes")
    for suffix, order in orders.items():
        theirs = case.outputs(f"teacher_logits{suffix}")
        if theirs is None:
            continue
        model = system.models["main"]
        rows = model.plan(order.sizes).whole(model.rule, codes.device)
        view = content_of(system, rows, Canvas(codes, torch.ones_like(codes, dtype=torch.bool)))
        logits = teacher_logits(model, codes, given, order, view_BnC=view)
        yield close(f"teacher logits{suffix}", logits, theirs if case.order is None else theirs[:, case.order])
        loss = case.outputs(f"teacher_loss{suffix}")
        if loss is not None:
            targets = codes.gather(1, order.batch(len(codes)))
            yield close(f"teacher loss{suffix}", F.cross_entropy(logits.flatten(0, 1), targets.flatten()), loss)


def bundle(case: Case, model: Model, order: Order, tokenizer: Tokenizer | None = None) -> System:
    """A system around a bare transformer; without a tokenizer of its own it gets an empty one of the right
    vocabulary."""
    if tokenizer is None:
        with without_memory():
            tokenizer = VQGAN(VQConfig(channels=32, multipliers=(1,), codes=int(case.config["vocab"])))
    return System(
        name=str(case.facts["system"]),
        cite="",
        grid=model.grid,
        tokenizer=tokenizer,
        models={"main": model},
        order=lambda grid, steps, noise: order,
        decoder=parallel,
        guidance=guidance.constant,
        preset=Preset(steps=1),
    )
