"""Training of a small VQGAN tokenizer: pictures, loss, loop, resume.

A run is a function of its seed: pictures, flips and revived codes of a step depend on (seed, step) alone, so a resumed
run equals an uninterrupted one. The codebook is a moving average; the weights that are kept are averaged too.

Shapes: B images, H and W pixels, M vectors, C code channels.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from parvis.errors import TrainingError
from parvis.files import write_bytes
from parvis.progress import Progress
from parvis.tokenizer.quantize import CodebookEMA
from parvis.tokenizer.vqgan import VQGAN
from parvis.train.autoencoder import difference_loss, isotropy_loss, reset, spread
from parvis.train.muon import ConvMuon
from parvis.train.reconstruction import measure, sheet

Draw = Callable[[int], Sequence[Tensor]]  # step -> batches of pictures, float [-1, 1], [B, 3, H, W], any sizes


@dataclass(frozen=True)
class TokenizerTraining:
    """How to train: Muon at ``rate`` for the inner convolutions, AdamW at ``small_rate`` for the rest.

    Both rates warm up over ``warmup`` steps, stay, and fall to zero in the last ``decay`` of ``steps``.

    ``decoder_only`` starts from the given weights and leaves the encoder and the codebook, and with them all codes, as
    they are. ``steps``, ``decay`` and the intervals may change when a run goes on; the rest is the run's identity.
    """

    steps: int
    rate: float = 3e-3
    small_rate: float = 1e-3
    warmup: int = 20
    decay: float = 0.4
    weight_decay: float = 0.01
    clip: float = 1.0
    average: float = 0.995
    l1: float = 0.3
    difference: float = 0.4
    commitment: float = 0.25
    isotropy: float = 1.0
    isotropy_steps: int = 150
    decoder_only: bool = False
    revive_every: int = 10
    revive_until: float = 0.6
    seed: int = 0
    log_every: int = 20
    checkpoint_seconds: float = 120.0
    evaluate_seconds: float = 180.0

    def isotropy_at(self, step: int) -> float:
        """Weight of the isotropy loss: only the start needs it, later it would force bits onto what matters little."""
        return self.isotropy * max(0.0, 1 - step / max(1, self.isotropy_steps))

    def share_at(self, step: int) -> float:
        """What ``step`` uses of the full learning rates."""
        left = (self.steps - step) / max(1.0, self.decay * self.steps)
        return min(1.0, (step + 1) / max(1, self.warmup), max(0.0, left))


@dataclass(frozen=True, eq=False)
class PictureSet:
    """Pictures of one size, uint8 ``[N, H, W, 3]``; how often each is drawn, ``[N]``; how many a step takes."""

    images: np.ndarray[Any, Any]
    weights: np.ndarray[Any, Any]
    count: int


def pictures(sets: Sequence[PictureSet], seed: int, flip: bool = True) -> Draw:
    """Draw from every set in proportion to its weights; half of the pictures are mirrored."""

    def draw(step: int) -> list[Tensor]:
        rng = np.random.default_rng((seed, step))
        batches = []
        for part in sets:
            chosen = rng.choice(len(part.images), part.count, p=part.weights / part.weights.sum())
            mirrored = rng.random(part.count) < (0.5 if flip else 0.0)
            images = part.images[chosen]
            batches.append(as_pixels(np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)))
        return batches

    return draw


def as_pixels(images: np.ndarray[Any, Any]) -> Tensor:
    """uint8 ``[B, H, W, 3]`` to float ``[B, 3, H, W]`` in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


@dataclass(eq=False)
class _State:
    """All that changes while training."""

    model: VQGAN
    averaged: VQGAN
    optimizers: tuple[torch.optim.Optimizer, ...]
    codebook: CodebookEMA
    step: int = 0

    def save(self, path: Path, fingerprint: str) -> None:
        state = {
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "codebook": self.codebook.state_dict(),
            "step": self.step,
            "fingerprint": fingerprint,
        }
        held = io.BytesIO()
        torch.save(state, held)
        write_bytes(path, held.getvalue())

    def load(self, path: Path, fingerprint: str) -> None:
        state = torch.load(path, weights_only=True, map_location=next(self.model.parameters()).device)
        if state["fingerprint"] != fingerprint:
            raise TrainingError(
                f"{path} belongs to another run:\n  there {state['fingerprint']}\n  here  {fingerprint}\n"
                "use another folder, or the settings it was started with"
            )
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        for optimizer, its in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(its)
        self.codebook.load_state_dict(state["codebook"])
        self.step = state["step"]


def _start(model: VQGAN, how: TokenizerTraining) -> _State:
    model.quantize.embedding.weight.requires_grad_(False)
    if how.decoder_only:
        model.encoder.requires_grad_(False)
        model.quant_conv.requires_grad_(False)
    outer = ("encoder.conv_in.", "encoder.conv_out.", "decoder.conv_out.")
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    inner = [p for name, p in trained if p.ndim > 1 and not name.startswith(outer)]
    rest = [p for name, p in trained if p.ndim == 1 or name.startswith(outer)]
    optimizers = (
        ConvMuon(inner, lr=how.rate, weight_decay=how.weight_decay),
        torch.optim.AdamW(rest, lr=how.small_rate, betas=(0.9, 0.95), weight_decay=0.0),
    )
    averaged = deepcopy(model).requires_grad_(False)
    return _State(model, averaged, optimizers, CodebookEMA(model.quantize))


def losses(model: VQGAN, pixels: Tensor, how: TokenizerTraining) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Loss terms of one batch, and the normalised vectors ``[M, C]`` and codes ``[M]`` of the cells that are not blank.

    Blank cells are decoded from the blank code; they are kept out of the commitment loss and of the codebook.
    """
    z_BhwC = F.normalize(model.latents(pixels).movedim(1, -1), dim=-1)
    blank_Bhw = model.blanks(pixels)
    z_MC = z_BhwC[~blank_Bhw]
    codes_M = model.quantize.nearest(z_MC.detach())
    nearest_MC = model.quantize.lookup(codes_M)
    quantized_BhwC = torch.zeros_like(z_BhwC)
    quantized_BhwC[~blank_Bhw] = z_MC + (nearest_MC - z_MC).detach()
    out = model.render(quantized_BhwC.movedim(-1, 1))
    terms = {
        "mse": F.mse_loss(out, pixels),
        "l1": F.l1_loss(out, pixels),
        "difference": difference_loss(out, pixels),
        "commitment": F.mse_loss(z_MC, nearest_MC),
        "isotropy": isotropy_loss(z_MC),
    }
    return terms, z_MC.detach(), codes_M


def _step(state: _State, batches: Sequence[Tensor], how: TokenizerTraining) -> dict[str, Tensor]:
    for optimizer, rate in zip(state.optimizers, (how.rate, how.small_rate), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate * how.share_at(state.step)
    area, vectors, codes = sum(b.numel() for b in batches), [], []
    totals: dict[str, Tensor] = {}
    for batch in batches:
        terms, z_MC, codes_M = losses(state.model, batch, how)
        part = batch.numel() / area
        loss = terms["mse"] + how.l1 * terms["l1"] + how.difference * terms["difference"]
        loss = loss + how.commitment * terms["commitment"] + how.isotropy_at(state.step) * terms["isotropy"]
        (loss * part).backward()  # type: ignore[no-untyped-call]
        for name, value in terms.items():
            totals[name] = totals.get(name, torch.zeros_like(value)) + value.detach() * part
        vectors.append(z_MC)
        codes.append(codes_M)
    totals["gradient"] = torch.nn.utils.clip_grad_norm_(state.model.parameters(), how.clip)
    for optimizer in state.optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    if not how.decoder_only:
        _update_codebook(state, torch.cat(vectors), torch.cat(codes), how)
    _update_average(state, how)
    state.step += 1
    return totals


def _update_codebook(state: _State, z_MC: Tensor, codes_M: Tensor, how: TokenizerTraining) -> None:
    state.codebook.update(z_MC, codes_M)
    if state.step % how.revive_every == 0 and state.step < how.revive_until * how.steps:
        generator = torch.Generator(z_MC.device).manual_seed(how.seed * 1_000_003 + state.step)
        state.codebook.revive(z_MC, codes_M, generator)


@torch.no_grad()
def _update_average(state: _State, how: TokenizerTraining) -> None:
    decay = min(how.average, (1 + state.step) / (10 + state.step))
    for ours, theirs in zip(state.averaged.parameters(), state.model.parameters(), strict=True):
        ours.lerp_(theirs, 1 - decay)
    state.averaged.quantize.embedding.weight.copy_(state.model.quantize.embedding.weight)


def train(
    model: VQGAN, draw: Draw, how: TokenizerTraining, folder: Path, held_out: Mapping[str, Tensor] | None = None
) -> VQGAN:
    """Train ``model`` (or go on from ``folder/checkpoint.pt``) and return the averaged model.

    Writes ``checkpoint.pt`` (whole, or not at all), ``log.jsonl`` and, for every named set of ``held_out`` pictures, a
    sheet of originals and reconstructions. Says how far it has come, and what PSNR (in dB) the batches have and, once
    measured, the held-out pictures. Raises :class:`TrainingError` when a loss or gradient is not finite; the
    last checkpoint is then from before that.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "checkpoint.pt"
    if not path.exists() and not how.decoder_only:
        reset(model, how.seed)
        spread(model, draw(0), how.seed)
    state = _start(model, how)
    settings = {k: v for k, v in asdict(how).items() if not k.endswith(("steps", "seconds", "every", "decay", "until"))}
    fingerprint = json.dumps({**asdict(model.config), **settings}, sort_keys=True)
    if path.exists():
        state.load(path, fingerprint)
    window: list[dict[str, Tensor]] = []
    saved = evaluated = logged = began = time.monotonic()
    images, shown = 0, dict[str, float]()
    each = sum(len(batch) for batch in draw(state.step))
    progress = Progress(how.steps, state.step, batch=each, unit="img", every=30.0)
    while state.step < how.steps:
        batches = draw(state.step)
        images += sum(len(b) for b in batches)
        window.append(_step(state, batches, how))
        now, last = time.monotonic(), state.step == how.steps
        save, show = now - saved > how.checkpoint_seconds or last, now - evaluated > how.evaluate_seconds or last
        if state.step % how.log_every == 0 or save or show:
            means = _finite_means(window, state.step)
            entry = {
                "step": state.step,
                "seconds": now - began,
                "rate": how.rate * how.share_at(state.step - 1),
                **means,
            }
            entry["images_per_s"] = images / (now - logged)
            if show and held_out:
                for name, x in held_out.items():
                    found = measure(state.averaged, x)
                    entry |= {f"{name}.{k}": v for k, v in found.items()}
                    shown[f"{name} psnr"] = found["psnr"]
                    sheet(state.averaged, x[:32]).save(folder / f"sheet_{name}.png")
                evaluated = time.monotonic()
            _log(folder, entry)
            progress.tell(state.step, {"psnr": -10 * math.log10(max(entry["mse"], 4e-10) / 4), **shown}, last)
            window, images, logged = [], 0, time.monotonic()
        if save:
            state.save(path, fingerprint)
            saved = time.monotonic()
    return state.averaged


def _finite_means(window: Sequence[dict[str, Tensor]], step: int) -> dict[str, float]:
    means = {name: float(torch.stack([w[name] for w in window]).mean()) for name in window[0]}
    bad = [name for name, value in means.items() if not math.isfinite(value)]
    if bad:
        raise TrainingError(
            f"{', '.join(bad)} not finite within the {len(window)} steps before step {step}; the last checkpoint is "
            "from before; lower the rate or look at the data, then start again to go on from it"
        )
    return means


def _log(folder: Path, entry: Mapping[str, float]) -> None:
    line = json.dumps({k: round(v, 6) for k, v in entry.items()})
    with (folder / "log.jsonl").open("a") as file:
        file.write(line + "\n")
