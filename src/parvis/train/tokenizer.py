"""Training of a small VQGAN tokenizer: loss, loop, resume, metrics.

A run is a function of its seed: pictures, flips and revived codes of a step depend on (seed, step) alone, so a resumed
run equals an uninterrupted one. The codebook is a moving average; the weights that are kept are averaged too.

Shapes: B images, H and W pixels, M vectors, C code channels.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from parvis.errors import TrainingError
from parvis.tokenizer.conv import Residual
from parvis.tokenizer.quantize import CodebookEMA
from parvis.tokenizer.vqgan import VQGAN, fold
from parvis.train.muon import ConvMuon

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


def difference_loss(a_BCHW: Tensor, b_BCHW: Tensor, scales: int = 3) -> Tensor:
    """L1 between the finite differences of both pictures, at full, half, quarter ... size: edges in the right place."""
    error, total = a_BCHW - b_BCHW, a_BCHW.new_zeros(())
    for _ in range(scales):
        total = total + error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        error = F.avg_pool2d(error, 2)
    return total / scales


def isotropy_loss(z_MC: Tensor) -> Tensor:
    """How far the second moment of unit vectors is from that of the whole sphere: keeps all dimensions in use."""
    moment_CC = z_MC.T @ z_MC / max(1, len(z_MC))
    return (moment_CC - torch.eye(z_MC.shape[1], device=z_MC.device) / z_MC.shape[1]).square().sum()


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
        temporary = path.with_suffix(".partial")
        torch.save(state, temporary)
        os.replace(temporary, path)

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


@torch.no_grad()
def reset(model: VQGAN, seed: int) -> None:
    """Fresh weights under which the network starts as a plain linear map: residual branches give zero, no biases.

    Against PyTorch's default this saves the first epoch (loss after 60 steps as otherwise after 120).
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            module.weight.copy_(torch.randn(module.weight.shape, generator=generator) / module.weight[0].numel() ** 0.5)
            module.bias.zero_()
    for module in model.modules():
        if isinstance(module, Residual):
            module.conv2.weight.zero_()


@torch.no_grad()
def spread(model: VQGAN, batches: Sequence[Tensor], seed: int) -> None:
    """Start from latents that fill the sphere: whiten them by ``quant_conv``, take the first codes from among them.

    A fresh encoder sends all cells to nearly the same direction; the codebook then spends its first epochs on one or
    two dimensions (seen as pictures without colour). :func:`isotropy_loss` keeps them spread.
    """
    features = []
    for pixels in batches:
        h_BhwZ = model.encoder(fold(pixels, model.config.patch)).movedim(1, -1)
        features.append(h_BhwZ[~model.blanks(pixels)])
    h_MZ = torch.cat(features).double()
    mean_Z = h_MZ.mean(0)
    values, vectors = torch.linalg.eigh((h_MZ - mean_Z).T @ (h_MZ - mean_Z) / len(h_MZ))
    top = vectors[:, -model.config.code_dim :] / values[-model.config.code_dim :].clamp_min(1e-12).sqrt()
    model.quant_conv.weight.copy_(top.T[:, :, None, None])
    assert model.quant_conv.bias is not None
    model.quant_conv.bias.copy_(-(mean_Z @ top))
    z_MC = F.normalize(((h_MZ - mean_Z) @ top).float(), dim=-1)
    generator = torch.Generator(z_MC.device).manual_seed(seed)
    count = min(len(z_MC), model.config.codes - int(model.config.blank))
    model.quantize.embedding.weight[-count:] = z_MC[torch.randperm(len(z_MC), generator=generator)[:count]]


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
    sheet of originals and reconstructions. Raises :class:`TrainingError` when a loss or gradient is not finite; the
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
    images = 0
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
                    entry |= {f"{name}.{k}": v for k, v in measure(state.averaged, x).items()}
                    sheet(state.averaged, x[:32]).save(folder / f"sheet_{name}.png")
                evaluated = time.monotonic()
            _log(folder, entry)
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
    print(line, flush=True)


@torch.no_grad()
def reconstruct(model: VQGAN, pixels: Tensor, batch: int = 32) -> tuple[Tensor, Tensor]:
    """Reconstructions clamped to [-1, 1], and codes ``[B, N]``."""
    outs, codes = [], []
    for part in torch.split(pixels, batch):
        found = model.encode(part)
        h, w = (side // model.factor for side in part.shape[-2:])
        vectors = model.quantize.lookup(found.view(-1, h, w))
        outs.append(model.render(vectors.movedim(-1, 1)).clamp(-1, 1))
        codes.append(found)
    return torch.cat(outs), torch.cat(codes)


def measure(model: VQGAN, pixels: Tensor) -> dict[str, float]:
    """PSNR in dB (of the mean error; mean of the images' own), codes in use, entropy in nats (and without code 0)."""
    out, codes = reconstruct(model, pixels)
    error_B = ((out - pixels) / 2).square().flatten(1).mean(1)
    counts_V = torch.bincount(codes.flatten(), minlength=model.vocabulary).double()
    return {
        "psnr": float(-10 * error_B.mean().log10()),
        "psnr_mean": float((-10 * error_B.clamp_min(1e-10).log10()).mean()),
        "codes": float((counts_V > 0).sum()),
        "entropy": _entropy(counts_V),
        "entropy_not_0": _entropy(counts_V[1:]),
        "share_0": float(counts_V[0] / counts_V.sum()),
    }


def _entropy(counts_V: Tensor) -> float:
    p = counts_V / counts_V.sum().clamp_min(1)
    return float(-(p * p.clamp_min(1e-30).log()).sum())


def sheet(model: VQGAN, pixels: Tensor, columns: int = 8) -> Image.Image:
    """A picture of rows: originals, and under each its reconstruction."""
    rows = []
    for part, out in zip(
        torch.split(pixels, columns), torch.split(reconstruct(model, pixels)[0], columns), strict=True
    ):
        blank = (0, 0) * 3 + (0, columns - len(part))
        rows += [F.pad(x, blank, value=1.0).permute(2, 0, 3, 1).flatten(1, 2) for x in (part, out)]
    image = torch.cat(rows).add(1).mul(127.5).round().clamp(0, 255).byte()
    return Image.fromarray(image.cpu().numpy())
