"""What a tokenizer loses, as ``parvis evaluate tokenizer`` measures it."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from parvis.commands import bar
from parvis.commands.tokenizer import open_tokenizer
from parvis.errors import UsageError
from parvis.evaluate.features import FeatureNet, features_of
from parvis.evaluate.glyphs import legible, page, read
from parvis.evaluate.machine import machine, versions
from parvis.evaluate.measure import Measured, Protocol, measure
from parvis.evaluate.pictures import digest, of_array, open_pictures
from parvis.evaluate.reconstruction import WINDOW, code_use, edges, perceptual, psnr, ssim
from parvis.evaluate.record import Record
from parvis.evaluate.reference import of_pictures
from parvis.evaluate.stripes import contrast, stripes
from parvis.output import to_uint8
from parvis.tokenizer.base import Tokenizer
from parvis.weights.catalog import find
from parvis.weights.folder import load_config

SIZES = (8, 12, 16, 24)
"""Pixels of the places of letters."""
PERIODS = (3, 4, 6, 8, 16)
"""Pixels from stripe to stripe."""
PAGES = 16


def evaluate_tokenizer(args: argparse.Namespace, folder: Path, net: FeatureNet, protocol: Protocol) -> Record:
    """Take the reference's pictures through the tokenizer and measure what comes back; then stripes and letters.

    :raises UsageError: pictures that the tokenizer's factor does not divide
    """
    place = find(str(folder))
    config, tokenizer = load_config(place), open_tokenizer(str(folder)).to(args.device)
    originals = open_pictures(args.reference, args.resolution)
    images = originals.some(args.limit) if args.limit else np.concatenate(list(originals.parts()))
    height, width = images.shape[1:3]
    if height % tokenizer.factor or width % tokenizer.factor:
        raise UsageError(
            f"{args.reference} has pictures of {width} x {height}, which {tokenizer.factor} does not divide; give "
            f"--resolution, a multiple of {tokenizer.factor}"
        )
    scores: dict[str, list[Tensor]] = {}
    counts = torch.zeros(max(tokenizer.vocabulary, 1), dtype=torch.long)
    again = []
    with bar(args, len(images), "picture") as progress, torch.inference_mode():
        for low in range(0, len(images), args.batch):
            before = _pixels(images[low : low + args.batch])
            found, values = through(tokenizer, before.to(args.device))
            again.append(to_uint8(found).cpu().numpy())
            after = _pixels(again[-1])
            for name, value in _scores(before, after, net).items():
                scores.setdefault(name, []).append(value)
            if tokenizer.channels is None:
                counts += values.flatten().cpu().bincount(minlength=len(counts))
            progress.tell(low + len(before))
    real = of_pictures(of_array(args.reference.name, images), net, args.batch)
    features = features_of(np.concatenate(again), net, args.batch)
    metrics = {name: _mean(torch.cat(parts)) for name, parts in scores.items()}
    distances = measure(features, real, net, protocol)
    metrics |= {name: distances[name] for name in ("frechet", "frechet_projected", "kid") if name in distances}
    if tokenizer.channels is None:
        use = code_use(counts)
        metrics |= {"codes_used": Measured(use.used), "code_entropy_bits": Measured(use.entropy)}
        metrics["code_perplexity"] = Measured(use.perplexity)
    if height == width:
        metrics |= patterns(tokenizer, height, args.device) | letters(tokenizer, height, args.device)
    return Record(
        kind="tokenizer",
        model={
            "name": args.name or folder.name,
            "system": config.system,
            "files": {name: record.sha256 for name, record in sorted(config.files.items()) if "tokenizer" in name},
        },
        settings={"factor": tokenizer.factor, "codes": tokenizer.vocabulary, "channels": tokenizer.channels},
        samples={"count": len(images), "size": f"{height}x{width}", "sha256": digest(of_array("", images))},
        reference=real.identity,
        features=net.identity,
        protocol=asdict(protocol),
        metrics={name: one.as_dict() for name, one in metrics.items()},
        machine=machine(torch.device(args.device)),
        versions=versions(),
        notes=[f"{name}: {one.note}" for name, one in metrics.items() if one.note],
    )


def through(tokenizer: Tokenizer, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels [B, 3, H, W] encoded and decoded, and the values between."""
    values = tokenizer.encode(pixels)
    return tokenizer.decode(values, tokenizer.grid(*pixels.shape[2:])).float(), values


def patterns(tokenizer: Tokenizer, side: int, device: str) -> dict[str, Measured]:
    """The contrast that is left of stripes, by their period."""
    found = {}
    for period in PERIODS:
        if 2 * period > side:
            continue
        before = stripes(side, period, PAGES)
        with torch.inference_mode():
            after = through(tokenizer, before.to(device))[0].clamp(-1, 1).cpu()
        found[f"stripes_{period}px"] = replace(_mean(contrast(before, after)), floor=1.0)
    return found


def letters(tokenizer: Tokenizer, side: int, device: str) -> dict[str, Measured]:
    """The share of letters that can still be read, by their size; ``floor`` is the share before the tokenizer."""
    found = {}
    for cell in SIZES:
        if 2 * cell > side:
            continue
        pages, drawn = page(side, cell, PAGES)
        with torch.inference_mode():
            after = through(tokenizer, pages.to(device))[0].clamp(-1, 1).cpu()
        value, before = legible(read(after, cell), drawn), legible(read(pages, cell), drawn)
        found[f"letters_{cell}px"] = Measured(value, floor=before)
    return found


def _scores(before: Tensor, after: Tensor, net: FeatureNet) -> dict[str, Tensor]:
    found = {"psnr": psnr(before, after)}
    if min(before.shape[2:]) >= WINDOW:
        found["ssim"] = ssim(before, after)
    if net.layers is not None:
        found["perceptual"] = perceptual(before, after, net)
    found["edges_in_place"], found["edges_left"] = edges(before, after)
    return found


def _mean(values: Tensor) -> Measured:
    kept = values[values.isfinite()].double()
    left = len(values) - len(kept)
    error = float(kept.std() / len(kept) ** 0.5) if len(kept) > 1 else None
    note = f"{left} flat pictures have none" if left else ""
    return Measured(float(kept.mean()) if len(kept) else 0.0, spread=error, note=note)


def _pixels(images: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)
