"""Does Parvis equal the authors' code? A *case* is a safetensors file (their weights, inputs and outputs) with a JSON
beside it.

:func:`verify` builds the system from the JSON's sizes, converts the weights, runs them and compares: tokens and
codebook indices must be identical; logits, latents and pixels must agree within the tolerances below. Nothing but the
two files is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parvis import guidance
from parvis.canvas import Canvas
from parvis.decode.job import Job
from parvis.decode.parallel import parallel
from parvis.engine.runner import Runner, content_of, run
from parvis.errors import UsageError, WeightsError
from parvis.grid import Grid
from parvis.guidance import Guidance
from parvis.model.context import ClassCondition, Features, FeaturesCondition, Given, LatentNullCondition
from parvis.model.transformer import Size, Transformer
from parvis.noise import Noise
from parvis.order import Order, raster, regions, scales
from parvis.sampling import Sampling
from parvis.system import Preset, System
from parvis.systems import llamagen, lpd, par, var
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.multiscale import MultiScaleConfig, MultiScaleVQ
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.train.objective import teacher_logits
from parvis.weights import maps
from parvis.weights.config import parse_json
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


@dataclass(frozen=True)
class Case:
    """A case read from its two files."""

    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def config(self) -> Mapping[str, Any]:
        config: Mapping[str, Any] = self.facts["config"]
        return config

    def weights(self, prefix: str = "weights.") -> dict[str, Tensor]:
        """The official state dict; half-precision storage is widened to float32."""
        state = {name[len(prefix) :]: t for name, t in self.tensors.items() if name.startswith(prefix)}
        return {name: t.float() if t.is_floating_point() else t for name, t in state.items()}

    def inputs(self, name: str) -> Tensor:
        return self.tensors[f"inputs.{name}"]

    def outputs(self, name: str) -> Tensor | None:
        return self.tensors.get(f"outputs.{name}")


def read_case(path: str | Path) -> Case:
    """Read ``CASE.safetensors`` and ``CASE.json``. Raises WeightsError where either is missing or damaged."""
    place = Path(path)
    beside = place.with_suffix(".json")
    try:
        facts = parse_json(beside.read_bytes(), str(beside))
        tensors = safetensors.torch.load_file(place)
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(
            f"cannot read the case {place}: {error}; it needs a .safetensors file and a .json"
        ) from error
    if not isinstance(facts, dict) or not {"system", "config"} <= set(facts):
        raise WeightsError(f"{beside} does not say which system and config it is for")
    return Case(facts, tensors)


def verify(path: str | Path) -> list[Check]:
    """All comparisons of a case. Raises UsageError for a system Parvis does not know."""
    case = read_case(path)
    known: dict[str, Callable[[Case], Iterator[Check]]] = {
        "LlamaGen class-conditional": _llamagen,
        "LlamaGen text-conditional": _llamagen,
        "LPD": _lpd,
        "VAR transformer": _var,
        "VQ-16 tokenizer": _vq16,
        "VAR multi-scale VQVAE": _var_vq,
    }
    name = str(case.facts["system"])
    check = _par if name.startswith("PAR") else known.get(name)
    if check is None:
        raise UsageError(f"no check for {name!r}; known: {', '.join([*known, 'PAR'])}")
    with torch.inference_mode():
        try:
            return list(check(case))
        except KeyError as error:
            raise WeightsError(f"the case {path} lacks {error}") from error


def load_state(module: nn.Module, key_map: KeyMap, state: Mapping[str, Tensor], source: str) -> None:
    """Fill ``module`` from the authors' state dict; anything missing or unexplained is a WeightsError."""
    shapes = {name: shape for name, (shape, _) in expectation(module).items()}
    tensors, report = key_map.apply(state, shapes)
    report.require_complete(source)
    module.load_state_dict(tensors)
    module.eval()


def _tokens(what: str, ours: Tensor, theirs: Tensor) -> Check:
    same = (ours == theirs).float().mean().item()
    return Check(what, same, None, same == 1.0)


def _close(what: str, ours: Tensor, theirs: Tensor, relative: float = LOGITS, least: float = 1.0) -> Check:
    largest = (ours - theirs).abs().max().item()
    return Check(what, None, largest, largest <= relative * max(least, theirs.abs().max().item()))


def _decoded(
    case: Case, system: System, given: Given, modes: Mapping[str, tuple[Order, Guidance | None]]
) -> Iterator[Check]:
    """Greedy decoding in every mode of the case that is in ``modes``."""
    batch = int(case.config["batch"])
    for mode, (order, rule) in modes.items():
        tokens = case.outputs(f"tokens_generation_order.{mode}")
        if tokens is None:
            continue
        canvas = Canvas.empty(batch, system.grid.tokens)
        scales = None if rule is None else rule(order.sizes)
        job = Job(order, canvas, Noise(range(batch)), Sampling(top_k=1), scales)
        runner = Runner(system, order, given, batch, guided=rule is not None)
        logits = [prediction.logits for _, prediction in run(system.decoder, job, runner)]
        yield _tokens(f"tokens, {mode}", canvas.read(order.positions), tokens)
        yield _close(f"step logits, {mode}", torch.cat(logits, 1), case.tensors[f"outputs.step_logits.{mode}"])
        f_hat = case.outputs(f"f_hat.{mode}")
        if f_hat is not None and isinstance(system.tokenizer, MultiScaleVQ):
            *_, ours = system.tokenizer.quantize.sums(canvas.values, system.grid, len(system.grid.scales))
            yield _close(f"f_hat, {mode}", ours, f_hat)


def _taught(case: Case, system: System, given: Given, orders: Mapping[str, Order]) -> Iterator[Check]:
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
        yield _close(f"teacher logits{suffix}", logits, theirs)
        loss = case.outputs(f"teacher_loss{suffix}")
        if loss is not None:
            targets = codes.gather(1, order.batch(len(codes)))
            yield _close(f"teacher loss{suffix}", F.cross_entropy(logits.flatten(0, 1), targets.flatten()), loss)


def _bundle(case: Case, model: Transformer, order: Order, tokenizer: Tokenizer | None = None) -> System:
    """A system around a bare transformer; without a tokenizer of its own it gets an empty one of the right
    vocabulary."""
    if tokenizer is None:
        with torch.device("meta"):
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


def _llamagen(case: Case) -> Iterator[Check]:
    c = case.config
    size, grid = llamagen.size(c["layers"], c["dim"], c["heads"]), Grid.square(c["grid"])
    given: Given
    condition: ClassCondition | FeaturesCondition
    if "text_len" in c:
        condition = FeaturesCondition(c["caption_dim"], c["text_len"], size.width)
        given = Features(case.inputs("text_features"), case.inputs("text_mask").bool())
    else:
        condition, given = ClassCondition(c["classes"], size.width), case.inputs("labels")
    model = llamagen.transformer(size, grid, vocabulary=c["vocab"], condition=condition)
    load_state(model, maps.LLAMAGEN, case.weights(), "LlamaGen")
    order = raster(grid)
    system = _bundle(case, model, order)
    interval = guidance.until(c["cfg"], c["cfg_interval"] + 2) if "cfg_interval" in c else None
    yield from _taught(case, system, given, {"": order})
    modes = {"cfg": (order, guidance.constant(c["cfg"])), "no_cfg": (order, None), "cfg_interval": (order, interval)}
    yield from _decoded(case, system, given, modes)


def _par(case: Case) -> Iterator[Check]:
    c = case.config
    size, grid, n = llamagen.size(c["layers"], c["dim"], c["heads"]), Grid.square(c["grid"]), c["parallel"]
    model = par.transformer(size, grid, n, vocabulary=c["vocab"], classes=c["classes"])
    load_state(model, maps.PAR, case.weights(), "PAR")
    order, labels = regions(grid, n), case.inputs("labels")
    system = _bundle(case, model, order)
    yield _tokens("order", order.positions, case.inputs("order"))
    yield from _taught(case, system, labels, {"": order})
    interval = par.until(c["cfg"], c["cfg_interval"], n) if "cfg_interval" in c else None
    modes = {"cfg": (order, guidance.constant(c["cfg"])), "no_cfg": (order, None), "cfg_interval": (order, interval)}
    yield from _decoded(case, system, labels, modes)


def _lpd(case: Case) -> Iterator[Check]:
    c = case.config
    size, grid = Size(c["layers"], c["dim"], c["heads"], 4 * c["dim"]), Grid.square(c["grid"])
    model = lpd.transformer(size, grid, vocabulary=c["vocab"], condition=LatentNullCondition(c["classes"], size.width))
    load_state(model, maps.LPD, case.weights(), "LPD")
    sizes = tuple(c["group_sizes"])
    planned = Order(case.inputs("orders"), sizes)
    system, labels = _bundle(case, model, planned), case.inputs("labels")
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
    yield from _taught(case, system, labels, orders)
    yield from _decoded(case, system, labels, modes)


def _var(case: Case) -> Iterator[Check]:
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
    system = _bundle(case, model, order, tokenizer)
    yield from _taught(case, system, labels, {"": order})
    yield from _decoded(
        case, system, labels, {"cfg": (order, guidance.by_group(1 + c["cfg"])), "no_cfg": (order, None)}
    )


def _vq16(case: Case) -> Iterator[Check]:
    c = case.config
    tokenizer = VQGAN(
        VQConfig(
            channels=c["ch"],
            multipliers=tuple(c["ch_mult"]),
            z_channels=c["z_channels"],
            codes=c["codebook"],
            code_dim=c["code_dim"],
        )
    )
    load_state(tokenizer, maps.VQ16, case.weights(), "VQ-16")
    images, codes = case.inputs("images"), case.inputs("codes")
    grid = Grid.image(*c["code_grid"])
    indices = tokenizer.encode(images)
    yield _close("latents", tokenizer.latents(images), case.tensors["outputs.latents"])
    yield _tokens("indices", indices, case.tensors["outputs.indices"])
    yield _close("decoded codes", tokenizer.decode(codes, grid), case.tensors["outputs.decoded_codes"], PIXELS, 0.0)
    rebuilt = tokenizer.decode(indices, tokenizer.grid(*images.shape[-2:]))
    yield _close("reconstruction", rebuilt, case.tensors["outputs.reconstruction"], PIXELS, 0.0)


def _var_vq(case: Case) -> Iterator[Check]:
    c = case.config
    tokenizer = MultiScaleVQ(
        MultiScaleConfig(
            sides=tuple(c["patch_nums"]), multipliers=tuple(c["ch_mult"]), z_channels=c["z_channels"], codes=c["vocab"],
            channels=case.tensors["weights.encoder.conv_in.weight"].shape[0],
        )
    )  # fmt: skip
    load_state(tokenizer, maps.VAR_VQ, case.weights(), "VAR's tokenizer")
    images, codes = case.inputs("images"), case.inputs("codes")
    grid, other = Grid.pyramid(c["patch_nums"]), Grid.pyramid(c["other_patch_nums"])
    yield _close("latents", tokenizer.latents(images), case.tensors["outputs.latents"])
    yield _tokens("indices", tokenizer.encode(images), case.tensors["outputs.indices"])
    yield _tokens(
        "indices, other scales", tokenizer.encode(images, other), case.tensors["outputs.indices_other_schedule"]
    )
    for name, values in (("images", tokenizer.encode(images)), ("codes", codes)):
        stacked = torch.stack(list(tokenizer.quantize.sums(values, grid, len(grid.scales))))
        yield _close(f"f_hat of {name}", stacked, case.tensors[f"outputs.f_hat_per_scale.{name}"])
    yield _close("teacher input", tokenizer.teacher_input(codes, grid), case.tensors["outputs.teacher_input"])
    decoded = tokenizer.decode(codes, grid).clamp(-1, 1)
    yield _close("decoded codes", decoded, case.tensors["outputs.decoded_codes"], PIXELS, 0.0)
    sums = tokenizer.quantize.sums(tokenizer.encode(images), grid, len(grid.scales))
    rebuilt = torch.stack([tokenizer.render(f_hat).clamp(-1, 1) for f_hat in sums])
    yield _close("reconstruction", rebuilt, case.tensors["outputs.reconstruction_per_scale"], PIXELS, 0.0)
