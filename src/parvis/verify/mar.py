"""MAR: encoder, decoder and diffusion head one by one, and whole generations with the recorded noise."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from parvis.canvas import Canvas
from parvis.decode.job import Job
from parvis.diffusion import Schedule, spread_out, step, strided
from parvis.engine.runner import Runner, run
from parvis.grid import Grid
from parvis.guidance import constant
from parvis.meta import without_memory
from parvis.model.masked import MaskedAutoencoder
from parvis.model.transformer import Size
from parvis.order import Order
from parvis.sampling import Sampling
from parvis.schedule import remaining_cosine
from parvis.system import System
from parvis.systems import mar
from parvis.tokenizer.kl import KL, KLConfig
from parvis.verify.case import Case
from parvis.verify.compare import LOGITS, PIXELS, Check, Recorded, bundle, close, load_state, tokens
from parvis.weights import maps


def check(case: Case) -> Iterator[Check]:
    c = case.config
    size, grid = Size(c["enc_layers"], c["dim"], c["heads"], 4 * c["dim"]), Grid.square(c["grid"])
    schedule = Schedule(spread_out(c["diff_steps"]))
    model = mar.transformer(
        size,
        grid,
        (c["diff_layers"], c["diff_width"]),
        schedule,
        channels=c["channels"],
        classes=c["classes"],
        buffer=c["buffer"],
    )
    load_state(model, maps.MAR, case.weights(), "MAR")
    yield from _tables(case, schedule)
    yield from _halves(case, model)
    yield from _head(case, model)
    even = Schedule(strided(int(str(c["even_spacing"]).removeprefix("ddim"))))
    yield tokens("timesteps, even", torch.tensor(even.timesteps), case.tensors["outputs.timestep_map_even"])
    with without_memory():
        tokenizer = KL(KLConfig(channels=32, multipliers=(1,), z_channels=c["channels"]))
    system = bundle(case, model, _order(case), tokenizer)
    for name, steps in (("latents", schedule), ("latents_even", even)):
        model.head.schedule = steps
        for mode in ("cfg_linear", "cfg_constant", "no_cfg", "cfg_linear_temp0"):
            theirs = case.outputs(f"{name}.{mode}")
            if theirs is not None:
                yield from _drawn(case, system, name, mode, theirs)


def _tables(case: Case, schedule: Schedule) -> Iterator[Check]:
    yield tokens("timesteps", torch.tensor(schedule.timesteps), case.tensors["outputs.timestep_map"])
    for what, ours in (("betas", schedule.betas), ("alphas_cumprod", schedule.bars), ("train_betas", Schedule().betas)):
        yield close(what, torch.tensor(ours, dtype=torch.float64), case.tensors[f"outputs.{what}"], 1e-12)


def _halves(case: Case, model: MaskedAutoencoder) -> Iterator[Check]:
    """Encoder and decoder under the recorded mask, with the class and with the null class."""
    latents, mask, labels = case.inputs("latents"), case.inputs("mask").bool(), case.inputs("labels")
    order_BN = mask.long().argsort(dim=1, stable=True)  # known positions first, in raster order, as theirs
    known = int((~mask[0]).sum())
    rows = model.plan((known, mask.shape[1] - known)).step(1, model.rule, latents.device)
    for suffix, context in (("", model.context(labels, False)), ("_uncond", model.condition.null(labels))):
        encoded = model.encode(rows, order_BN, latents, context)
        if not suffix:
            yield close("encoder", encoded, case.tensors["outputs.encoder"])
        hidden = model.decode(rows, order_BN, encoded, context)
        theirs = case.tensors[f"outputs.decoder_z{suffix}"]
        yield close(f"decoder{suffix}", hidden, Canvas(theirs, mask).read(order_BN[:, known:]))


def _head(case: Case, model: MaskedAutoencoder) -> Iterator[Check]:
    """The diffusion network, its guidance, one step of the chain with the learned variance."""
    head, x, z, time = model.head, case.inputs("x_t"), case.inputs("z"), case.inputs("t")
    half, scale = len(x) // 2, float(case.config["cfg"])
    yield close("denoiser", _raw(*head(x, time, head.prepare(z))), case.tensors["outputs.denoiser"])
    twice = torch.cat([x[:half], x[:half]])
    eps, share = head(twice, torch.cat([time[:half]] * 2), head.prepare(z))
    real, null = eps.chunk(2)
    guided = (null + scale * (real - null)).repeat(2, 1)
    yield close("denoiser, guided", _raw(guided, share), case.tensors["outputs.denoiser_cfg"])
    rows: dict[str, list[Tensor]] = {"p_mean": [], "p_log_variance": [], "pred_xstart": [], "ddim_eta0": []}
    for i, index in enumerate(case.inputs("t_spaced").tolist()):
        timestep = torch.tensor([head.schedule.timesteps[index]])
        eps, share = head(x[i : i + 1], timestep, head.prepare(z[i : i + 1]))
        mean, log_variance = step(head.schedule.at(index), x[i : i + 1], eps, share)
        a, b = head.schedule.to_clean[index]
        clean = a * x[i : i + 1] - b * eps
        before = (1.0, *head.schedule.bars)[index]
        said = (a * x[i : i + 1] - clean) / b  # theirs takes the noise out of the clean latent again
        rows["p_mean"].append(mean)
        rows["p_log_variance"].append(log_variance)
        rows["pred_xstart"].append(clean)
        rows["ddim_eta0"].append(before**0.5 * clean + (1 - before) ** 0.5 * said)
    for what, parts in rows.items():
        yield _relative(what, torch.cat(parts), case.tensors[f"outputs.{what}"])


def _raw(eps: Tensor, share: Tensor) -> Tensor:
    """The network's output as theirs has it: the share of the log variance in -1..1."""
    return torch.cat([eps, 2 * share - 1], -1)


def _relative(what: str, ours: Tensor, theirs: Tensor) -> Check:
    """Row by row, relative to the largest value of the row: rows differ by 10^4 in size."""
    largest = theirs.abs().amax(-1, keepdim=True).clamp_min(1.0)
    worst = ((ours - theirs).abs() / largest).max().item()
    return Check(what, None, worst, worst <= LOGITS)


def _order(case: Case) -> Order:
    """Theirs is masked from the front, so it is generated from the back."""
    orders = case.inputs("orders").flip(1)
    return Order(orders, remaining_cosine(orders.shape[1], int(case.config["steps"])))


def _drawn(case: Case, system: System, name: str, mode: str, theirs: Tensor) -> Iterator[Check]:
    """A whole generation with their noise; the guidance of every pass as they handed it to the head."""
    c, order = case.config, _order(case)
    sizes = case.tensors[f"outputs.step_sizes.{mode}"]
    yield tokens(f"{name}, group sizes, {mode}", torch.tensor(order.sizes), sizes)
    rule = None if mode == "no_cfg" else constant(c["cfg"]) if mode == "cfg_constant" else mar.linear(c["cfg"])
    scales = None if rule is None else rule(order.sizes)
    ours = torch.ones(len(order.sizes)) if scales is None else scales[list(order.bounds[:-1])]
    yield close(f"{name}, guidance, {mode}", ours, case.tensors[f"outputs.step_cfg.{mode}"])
    noise = Recorded(torch.cat([case.inputs("init_noise")[None], case.inputs("step_noise")]))
    how = Sampling(temperature={"cfg_constant": 0.9, "cfg_linear_temp0": 0.0}.get(mode, 1.0))
    canvas = Canvas.empty(c["batch"], system.grid.tokens, channels=c["channels"])
    job = Job(order, canvas, noise, how, scales)
    runner = Runner(system, order, case.inputs("labels"), c["batch"], guided=scales is not None)
    for _ in run(system.decoder, job, runner):
        pass
    yield close(f"{name}, {mode}", canvas.values, theirs.flatten(2).transpose(1, 2), PIXELS, 0.0)
