"""The training loop: one for every model, tokenizer and objective, on one process or many.

Everything that happens at step ``s`` is a function of the weights, the seed and ``s``: the batch, the noise of the
objective, dropout. So a run that is stopped and resumed is the run that was not stopped, to the bit on a CPU in
float32, and a checkpoint holds no hidden state.

A step's batch is taken in parts. Each has noise and dropout of its own, and the processes share the parts: what a step
does depends neither on how many processes there are nor on which of them does what.
"""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from signal import Signals

import torch
from torch import Tensor, nn

from parvis.errors import Stopped, TrainingError, UsageError
from parvis.progress import Progress
from parvis.train.checkpoint import load_checkpoint, path_of, save_checkpoint, steps_of, sweep
from parvis.train.config import FitConfig
from parvis.train.data import Batches
from parvis.train.distributed import World, join, lost
from parvis.train.ema import Ema, kept
from parvis.train.interrupt import Interrupt
from parvis.train.optim import clip, optimizers, set_rate
from parvis.train.rates import rate, weight_decay
from parvis.train.report import Meter, Seen, Tracker
from parvis.train.seeds import generator, seed_of
from parvis.train.spread import Step, held_back, spread, tuned, whole

Loss = Callable[[nn.Module, dict[str, Tensor], torch.Generator], Tensor | tuple[Tensor, Mapping[str, Tensor]]]
"""``loss(model, batch, generator)``: a scalar, or a scalar and metrics (scalars too), means over the images of the
batch. Its randomness comes from the generator."""
Sampler = Callable[[nn.Module, int], object]
"""``on_sample(model, step)``: called in the main process, with the averaged weights in place, in eval mode, without
gradients. A :class:`~parvis.train.report.Seen` that it returns is reported; whatever it does to the weights or to the
random state is undone."""
PATIENCE = 100
"""The first steps, which ``FitConfig.skip_above`` leaves alone (RandAR, arXiv 2412.01827)."""


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

    ``until`` stops earlier than ``config.steps`` (with a checkpoint) but keeps the rates of the whole run. In a run of
    several processes (``torchrun``, ``accelerate launch``) each calls ``fit`` with the same arguments, and each has the
    trained model and its average at the end.

    :raises TrainingError: the loss or a gradient is not finite (the last good checkpoint stays), the checkpoint is of
        another run, or another process has ended
    :raises Stopped: SIGTERM or SIGINT came; the step was finished and a checkpoint written
    :raises OutputError: a checkpoint could not be written (disk full, ...); the older ones stay
    """
    world = join(config.device, config.shard, config.timeout, config.trackers)
    config = replace(config, shard=world.shard)
    try:
        with torch.random.fork_rng(devices=[]), Interrupt(config.out is not None) as interrupt:
            run = _Run(config, world, model, loss_fn, interrupt, quiet or not world.main)
            with tuned(run.student, config.gradient_checkpointing, config.compile):
                return run.go(batches, on_sample, until)
    except RuntimeError as error:
        if world.size > 1 and lost(error):
            raise TrainingError(
                f"process {world.rank} of {world.size} gets no answer from another one, which has ended or hangs "
                f"({str(error).splitlines()[0]}); the last checkpoint is whole, start all processes again"
            ) from error
        raise


class _Run:
    """One call of :func:`fit`: what is trained, where it is kept, who is told."""

    def __init__(
        self, config: FitConfig, world: World, model: nn.Module, loss_fn: Loss, interrupt: Interrupt, quiet: bool
    ) -> None:
        self.config, self.world, self.model, self.interrupt, self.quiet = config, world, model, interrupt, quiet
        self.student = copy.deepcopy(model) if world.shard else model
        self.student.to(world.device)
        self.loss_fn = loss_fn
        self.folder = Path(config.out) / "checkpoints" if config.out else None
        self.meter = Meter(world)
        self.saved: Path | None = None

    def go(self, batches: Batches, on_sample: Sampler | None, until: int | None) -> Fitted:
        config, world, meter = self.config, self.world, self.meter
        start = self._begin()
        stop = config.steps if until is None else min(until, config.steps)
        progress = Progress(config.steps, start, batch=config.batch, unit="img", every=30.0, quiet=self.quiet)
        tracker = self._tracker(start)
        since = time.monotonic()
        try:
            for step in range(start, stop):
                done, end = step + 1, step + 1 == stop
                lr = config.lr * rate(step, config.steps, config.warmup, config.schedule, config.floor, config.decay)
                set_rate(self.opts, lr, weight_decay(step, config.steps, config.weight_decay, config.last_weight_decay))
                meter.add(step, self._step(batches(step), step))
                if self.ema is not None:
                    self.ema.update(self.student, step)
                late = world.main and 0 < config.checkpoint_seconds < time.monotonic() - since
                called, late = world.any(self.interrupt.number is not None, late)
                if done == config.steps or done % config.log_every == 0:
                    mean = meter.read(self.saved)
                    tracker.write(done, {**mean, "lr": lr, "images_per_second": progress.speed(done)})
                    progress.tell(done, mean, end)
                if self.folder and (end or late or called or done % config.checkpoint_every == 0):
                    meter.check(self.saved)
                    self.saved = self._save(self.folder, done)
                    since = time.monotonic()
                if on_sample is not None and config.sample_every and (end or done % config.sample_every == 0):
                    self._sample(on_sample, tracker, done)
                if called and not end:
                    self._leave(done)
            meter.check(self.saved)
            return self._end(max(start, stop))
        finally:
            tracker.close()

    def _begin(self) -> int:
        """Spreads the model over the processes and takes up the newest checkpoint; returns the steps done."""
        config, world = self.config, self.world
        self.module = spread(world, Step(self.student, self.loss_fn))
        self.opts = optimizers(self.student, config.optimizer, config.lr, config.weight_decay, config.betas)
        self.ema = Ema(self.student, config.ema) if config.ema else None
        self.run = config.fingerprint(self.model)
        self.parts = math.lcm(config.accumulate, world.size)
        folder = self.folder
        if folder is None:
            return 0
        world.share(lambda: sweep(folder))
        steps = world.share(lambda: steps_of(folder))
        if not steps:
            return 0
        self.saved = path_of(folder, steps[-1])
        state = load_checkpoint(self.saved, self.student, self.opts, self.ema, self.run, world)
        self.meter.restore(state.get("meter", []))
        parts = int(state.get("parts", config.accumulate))
        self.parts = math.lcm(parts, world.size)
        if self.parts != parts and world.main:
            warnings.warn(
                f"the run so far took each batch in {parts} part(s); {world.size} processes need {self.parts}, with "
                "other randomness from here on (accumulate = a multiple of every count of processes avoids it)",
                stacklevel=2,
            )
        return int(state["step"])

    def _tracker(self, start: int) -> Tracker:
        if not self.world.main:
            return Tracker(None)
        accelerator = self.world.accelerator if self.config.trackers else None
        return Tracker(self.config.out and Path(self.config.out), start, accelerator, self.run)

    def _step(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """One optimizer step on the batch's mean loss; returns this process's share of the metrics."""
        config, world, device = self.config, self.world, self.world.device
        self.module.train()
        size = len(next(iter(batch.values())))
        if size < self.parts:
            raise UsageError(f"a batch of {size} images cannot be taken in {self.parts} parts; make it larger")
        pieces = {name: t.tensor_split(self.parts) for name, t in batch.items()}
        each = self.parts // world.size
        totals: dict[str, Tensor] = {}
        for part in range(world.rank * each, (world.rank + 1) * each):
            tensors = {name: split[part].to(device, non_blocking=True) for name, split in pieces.items()}
            share = len(next(iter(tensors.values()))) / size
            torch.manual_seed(seed_of(config.seed, "dropout", step, part))
            noise = generator(config.seed, "objective", step, part, device=device)
            with held_back(self.module, part + 1 == (world.rank + 1) * each):
                with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                    loss, metrics = self.module(tensors, noise)
                (loss * (share * world.size)).backward()  # the processes' gradients are averaged
            for name, value in {"loss": loss, **metrics}.items():
                scaled = value.detach().float() * share
                totals[name] = totals[name] + scaled if name in totals else scaled
        norm = clip(self.student, config.clip)
        totals["grad"] = norm if world.main else norm * 0  # it is everybody's already
        wild = config.skip_above is not None and step >= PATIENCE and float(norm) > config.skip_above
        if config.skip_above is not None:
            totals["skipped"] = torch.full_like(norm, float(wild and world.main))
        for opt in self.opts:
            if not wild:
                opt.step()
            opt.zero_grad(set_to_none=True)
        return totals

    def _save(self, folder: Path, done: int) -> Path:
        more = {"parts": self.parts, "meter": self.meter.state()}
        return save_checkpoint(
            folder, done, self.student, self.opts, self.ema, self.run, self.config.keep, more, self.world
        )

    def _sample(self, on_sample: Sampler, tracker: Tracker, done: int) -> None:
        """``on_sample`` on the averaged weights, in the main process while the others wait."""
        eager = torch.compiler.set_stance("force_eager") if self.config.compile else nullcontext()
        with eager, torch.no_grad(), self._averaged():

            def act() -> None:
                seen = on_sample(self.model.eval(), done)
                if isinstance(seen, Seen):
                    tracker.show(done, seen)

            self.world.share(act)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The main process's model with the averaged weights, whole; afterwards it is as it was."""
        tensors: Mapping[str, Tensor] = self.student.state_dict() if self.ema is None else self.ema.tensors
        weights = {name: whole(tensor) for name, tensor in tensors.items()}
        if not self.world.main:
            yield
            return
        place = next(self.model.parameters()).device
        with kept(self.model.to(self.world.device)):
            self.model.load_state_dict(weights)
            yield
        self.model.to(place)

    def _leave(self, done: int) -> None:
        """After a signal, here or in another process."""
        number = int(self.world.reduce([float(self.interrupt.number or 0)], "max")[0])
        where = f"; {self.saved} holds everything: start again the same way to go on" if self.saved else ""
        raise Stopped(f"stopped by {Signals(number).name} after step {done}{where}", number)

    def _end(self, step: int) -> Fitted:
        ema = self.ema
        if self.world.shard:
            self.model.to(self.world.device)
            self.model.load_state_dict({name: whole(tensor) for name, tensor in self.student.state_dict().items()})
            ema = ema and ema.whole()
        return Fitted(step, self.meter.peek().get("loss", float("nan")), ema, self.saved)
