"""The training loop: one for every model, tokenizer and objective.

Everything that happens at step ``s`` is a function of the weights, the seed and ``s``: the batch, the noise of the
objective, dropout. So a run that is stopped and resumed is the run that was not stopped, to the bit on a CPU in
float32, and a checkpoint holds no hidden state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from parvis.progress import Progress
from parvis.train.checkpoint import load_checkpoint, path_of, save_checkpoint, steps_of
from parvis.train.config import FitConfig
from parvis.train.data import Batches
from parvis.train.ema import Ema
from parvis.train.optim import clip, optimizers, rate, set_rate
from parvis.train.report import Meter, Tracker
from parvis.train.seeds import generator, seed_of

Loss = Callable[[nn.Module, dict[str, Tensor], torch.Generator], Tensor | tuple[Tensor, Mapping[str, Tensor]]]
"""``loss(model, batch, generator)``: a scalar, or a scalar and metrics (scalars too). Its randomness comes from the
generator."""
Sampler = Callable[[nn.Module, int], object]
"""``on_sample(model, step)``: called with the averaged weights in place, in eval mode, without gradients."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """The end of :func:`fit`; the model itself holds the last weights."""

    step: int
    loss: float
    """Mean over the last reported steps."""
    ema: Ema | None
    checkpoint: Path | None


def fit(
    config: FitConfig,
    model: nn.Module,
    loss_fn: Loss,
    batches: Batches,
    on_sample: Sampler | None = None,
    until: int | None = None,
    quiet: bool = False,
) -> Fitted:
    """Trains ``model`` in place, going on from the newest checkpoint in ``config.out`` if there is one.

    ``until`` stops earlier than ``config.steps`` (with a checkpoint) but keeps the rates of the whole run.

    :raises TrainingError: the loss or a gradient is not finite (the last good checkpoint stays), or the checkpoint is
        of another run
    :raises OutputError: a checkpoint could not be written (disk full, ...); the older ones stay
    """
    model.to(config.device)
    opts = optimizers(model, config.optimizer, config.lr, config.weight_decay, config.betas)
    ema = Ema(model, config.ema) if config.ema else None
    run, folder = config.fingerprint(model), config.out and Path(config.out) / "checkpoints"
    start, saved = 0, None
    if folder and (found := steps_of(folder)):
        saved = path_of(folder, found[-1])
        start = load_checkpoint(saved, model, opts, ema, run)
    stop = config.steps if until is None else min(until, config.steps)
    progress = Progress(config.steps, start, batch=config.batch, unit="img", every=30.0, quiet=quiet)
    tracker, meter = Tracker(config.out and Path(config.out)), Meter(config.device)
    last_save = time.monotonic()
    try:
        with torch.random.fork_rng(devices=[]):
            for step in range(start, stop):
                done, end = step + 1, step + 1 == stop
                lr = config.lr * rate(step, config.steps, config.warmup, config.schedule, config.floor, config.decay)
                set_rate(opts, lr)
                meter.add(step, _step(config, model, loss_fn, batches(step), step, opts))
                if ema is not None:
                    ema.update(model, step)
                if end or done % config.log_every == 0:
                    mean = meter.read(saved)
                    tracker.write(done, {**mean, "lr": lr, "images_per_second": progress.speed(done)})
                    progress.tell(done, mean, end)
                late = 0 < config.checkpoint_seconds < time.monotonic() - last_save
                if folder and (end or late or done % config.checkpoint_every == 0):
                    meter.check(saved)
                    saved = save_checkpoint(folder, done, model, opts, ema, run, config.keep)
                    last_save = time.monotonic()
                if on_sample is not None and config.sample_every and (end or done % config.sample_every == 0):
                    _sample(on_sample, model, ema, done)
    finally:
        tracker.close()
    return Fitted(max(start, stop), meter.last.get("loss", float("nan")), ema, saved)


def _step(
    config: FitConfig,
    model: nn.Module,
    loss_fn: Loss,
    batch: dict[str, Tensor],
    step: int,
    opts: Sequence[torch.optim.Optimizer],
) -> dict[str, Tensor]:
    """One optimizer step on the batch's mean loss; returns detached metrics. Parts count by their number of images."""
    model.train()
    torch.manual_seed(seed_of(config.seed, "dropout", step))
    batch = {name: t.to(config.device, non_blocking=True) for name, t in batch.items()}
    size = len(next(iter(batch.values())))
    totals: dict[str, Tensor] = {}
    parts = zip(*(t.chunk(config.accumulate) for t in batch.values()), strict=True)
    for part, tensors in enumerate(parts):
        share = len(tensors[0]) / size
        noise = generator(config.seed, "objective", step, part, device=config.device)
        with torch.autocast(torch.device(config.device).type, torch.bfloat16, enabled=config.precision == "bf16"):
            result = loss_fn(model, dict(zip(batch, tensors, strict=True)), noise)
        loss, metrics = result if isinstance(result, tuple) else (result, {})
        (loss * share).backward()  # type: ignore[no-untyped-call]
        for name, value in {"loss": loss, **metrics}.items():
            scaled = value.detach().float() * share
            totals[name] = totals[name] + scaled if name in totals else scaled
    totals["grad"] = clip(model, config.clip)
    for opt in opts:
        opt.step()
        opt.zero_grad(set_to_none=True)
    return totals


def _sample(on_sample: Sampler, model: nn.Module, ema: Ema | None, step: int) -> None:
    model.eval()
    with torch.no_grad():
        if ema is None:
            on_sample(model, step)
        else:
            with ema.applied(model):
                on_sample(model, step)
