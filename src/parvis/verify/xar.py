"""xAR: training velocities and loss, and whole generations with the recorded noise."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from parvis.canvas import Canvas
from parvis.decode.denoise import denoise
from parvis.decode.job import Job
from parvis.engine.runner import Runner, run
from parvis.flow import times
from parvis.grid import Grid
from parvis.meta import without_memory
from parvis.model.transformer import Size
from parvis.order import Order, cells
from parvis.sampling import Sampling
from parvis.system import System
from parvis.systems import xar
from parvis.tokenizer.kl import KL, KLConfig
from parvis.train.latents import noisy_context, velocities
from parvis.verify.case import Case
from parvis.verify.compare import PIXELS, Check, Recorded, bundle, close, load_state
from parvis.weights import maps


def check(case: Case) -> Iterator[Check]:
    c, latents = case.config, case.inputs("latents")
    grid = Grid.image(*latents.shape[2:])
    parts, _, inside, channels = case.inputs("noise").shape
    cell = int(inside**0.5)
    classes = len(case.tensors["weights.class_emb.weight"]) - 1
    size = Size(c["enc_layers"], c["dim"], c["heads"], int(c["dim"] * 8 / 3))
    model = xar.transformer(size, grid, cell, channels=channels, classes=classes)
    load_state(model, maps.XAR, case.weights(), "xAR")
    order = cells(grid, cell)
    yield from _rotary(case, model.rotary.at(order.positions))
    values, noise = latents.flatten(2).transpose(1, 2), _by_position(case.inputs("noise")[None], order)[0]
    taught = case.inputs("times").view(parts, -1).T
    velocity = velocities(model, values, case.inputs("labels"), order, taught, noise)
    yield close("velocity", velocity, case.tensors["outputs.velocity"])
    loss = noisy_context(model, values, case.inputs("labels"), order, taught, noise)
    yield close("loss", loss[None], case.tensors["outputs.loss"])
    with without_memory():
        tokenizer = KL(KLConfig(channels=32, multipliers=(1,), z_channels=channels))
    system = bundle(case, model, order, tokenizer)
    for mode, scale in (("cfg", float(c["cfg"])), ("no_cfg", 1.0)):
        yield from _drawn(case, system, order, mode, scale)


def _rotary(case: Case, ours: tuple[Tensor, Tensor]) -> Iterator[Check]:
    """Their tables hold every angle twice, in the order of the cells."""
    for name, table in zip(("cos", "sin"), ours, strict=True):
        theirs = case.tensors[f"weights.encoder_blocks.0.attn.rope.freqs_{name}"]
        yield close(f"rotary {name}", table.repeat_interleave(2, -1), theirs)


def _by_position(normals: Tensor, order: Order) -> Tensor:
    """Numbers [draws, cells, B, inside, C] as [draws, B, N, C], by position."""
    by_rank = normals.movedim(2, 1).flatten(2, 3)
    return by_rank[:, :, order.inverse()]


def _drawn(case: Case, system: System, order: Order, mode: str, scale: float) -> Iterator[Check]:
    c = case.config
    drawn = torch.cat([case.inputs("init_noise")[None], case.inputs("step_noise").movedim(1, 0)])
    canvas = Canvas.empty(c["batch"], order.tokens, channels=system.tokenizer.channels)
    scales = None if scale == 1.0 else xar.by_cell(scale)(order.sizes)
    job = Job(order, canvas, Recorded(_by_position(drawn, order)), Sampling(), scales)
    runner = Runner(system, order, case.inputs("labels"), c["batch"], guided=scales is not None)
    for _ in run(denoise(times(c["steps"])), job, runner):
        pass
    theirs = case.tensors[f"outputs.latents.{mode}"].flatten(2).transpose(1, 2)
    yield close(f"latents, {mode}", canvas.values, theirs, PIXELS, 0.0)
    by_cell = torch.stack([canvas.read(order.group(index)) for index in job.groups])
    yield close(f"cells, {mode}", by_cell, case.tensors[f"outputs.cells.{mode}"], PIXELS, 0.0)
