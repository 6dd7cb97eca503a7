"""Does a tokenizer fit the pictures, and a code cache the tokenizer and the pictures? A few are decoded and compared.

Shapes: n pictures, N positions, C latent channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from parvis.data.checkup import Finding, evenly
from parvis.data.codes import CodeCache, tokenizer_hash
from parvis.data.images import ImageSet
from parvis.errors import DataError
from parvis.tokenizer.base import Tokenizer

POOR = 15.0
"""Below this PSNR in dB pictures are hardly recognised; pictures of one colour in its place have about 12."""
SAME = 0.8
"""Share of its values that a cache must have in common with its pictures encoded anew; rounding on another device
changes a few."""


@dataclass(frozen=True, eq=False)
class Tried:
    """Originals [n, 3, S, S] in [-1, 1] and what came back of them, and what was found."""

    names: tuple[str, ...]
    originals: Tensor
    decoded: Tensor
    findings: list[Finding]

    @property
    def psnr(self) -> Tensor:
        """In dB, [n]."""
        return psnr(self.originals, self.decoded)


@torch.inference_mode()
def try_pictures(images: ImageSet, tokenizer: Tokenizer, most: int = 16) -> Tried:
    """Some pictures through the tokenizer and back."""
    index, originals = _some(images, evenly(len(images), most))
    grid = tokenizer.grid(images.resolution, images.resolution)
    decoded = tokenizer.decode(tokenizer.encode(originals), grid).float().clamp(-1, 1)
    return Tried(tuple(images.names[i] for i in index), originals, decoded, [_quality(psnr(originals, decoded))])


@torch.inference_mode()
def try_cache(cache: CodeCache, tokenizer: Tokenizer, images: ImageSet, most: int = 16) -> Tried:
    """What the cache holds of some pictures, decoded, beside the pictures themselves; ``images`` are those that it was
    made of, found by name.

    Faults: made by another tokenizer; codes that are not those of the pictures encoded anew, because they are of other
    pictures or were cut otherwise.
    """
    findings = [_hash(cache, tokenizer)]
    number = {name: i for i, name in enumerate(images.names)}
    rows = [i for i in evenly(len(cache), most) if i < len(cache.pictures) and cache.pictures[i][0] in number]
    if not rows:
        blank = torch.zeros(0, 3, images.resolution, images.resolution)
        text = f"none of the cache's pictures is in {images.root}; give the pictures it was made of with --pictures"
        return Tried((), blank, blank, [*findings, Finding("note", "codes", text)])
    names = tuple(cache.pictures[i][0] for i in rows)
    _, originals = _some(images.cut(cache.manifest.crop), [number[name] for name in names])
    index, view = torch.tensor(rows), torch.zeros(len(rows), dtype=torch.long)
    values = cache.rows("mean" if cache.latents else "codes", index, view)
    values = values if cache.latents else values.long()
    try:
        decoded = tokenizer.decode(values, cache.grid).float().clamp(-1, 1)
        fresh = tokenizer.encode(originals)
        again = tokenizer.decode(fresh, cache.grid).float().clamp(-1, 1)
    except (RuntimeError, IndexError, ValueError) as error:
        text = f"the tokenizer cannot decode them ({str(error).splitlines()[0][:100]})"
        return Tried(names, originals, torch.zeros_like(originals), [*findings, Finding("fault", "codes", text)])
    same = agreement(values, fresh)
    kept, anew = (float(psnr(originals, found).mean()) for found in (decoded, again))
    text = f"{100 * same:.0f} % are those of the pictures encoded anew ({len(rows)} compared); PSNR {kept:.2f} dB, "
    text += f"encoded anew {anew:.2f} dB"
    if same < SAME:
        text = f"only {text}: they are of other pictures, or were cut otherwise; encode again"
    findings.append(Finding("fault" if same < SAME else "fine", "codes", text))
    findings.append(_quality(psnr(originals, decoded)))
    return Tried(names, originals, decoded, findings)


def used(cache: CodeCache) -> Finding:
    """How many codes are in use, and their entropy in nats."""
    counts_V = torch.bincount(cache.codes[:, 0].flatten().long(), minlength=cache.manifest.vocabulary).double()
    share_V = counts_V / counts_V.sum()
    entropy = float(-(share_V * share_V.clamp_min(1e-30).log()).sum())
    count, most = int((counts_V > 0).sum()), float(share_V.max())
    text = f"{count} of {len(counts_V)} codes in use, entropy {entropy:.2f} nats, the commonest {100 * most:.1f} %"
    return Finding(
        "note" if count < len(counts_V) / 4 and counts_V.sum() > 20 * len(counts_V) else "fine", "codebook", text
    )


def agreement(stored: Tensor, fresh: Tensor) -> float:
    """Share of equal codes [n, N]; of latents [n, N, C], those nearer than a tenth of their standard deviation."""
    if stored.is_floating_point():
        return float(((stored - fresh).abs() < 0.1 * fresh.std()).float().mean())
    return float((stored == fresh).float().mean())


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Of each picture in dB, [n]; at most 99."""
    error = ((a - b) / 2).square().flatten(1).mean(1)
    return -10 * error.clamp_min(10**-9.9).log10()


def _hash(cache: CodeCache, tokenizer: Tokenizer) -> Finding:
    found = tokenizer_hash(tokenizer)
    if found == cache.manifest.tokenizer:
        return Finding("fine", "tokenizer", f"is the one that made the cache ({found[:12]})")
    text = f"is another one ({found[:12]}) than made the cache ({cache.manifest.tokenizer[:12]}); encode with this one"
    return Finding("fault", "tokenizer", text)


def _quality(each: Tensor) -> Finding:
    mean, low, high = float(each.mean()), float(each.min()), float(each.max())
    text = f"PSNR {mean:.2f} dB over {len(each)} pictures, {low:.2f} to {high:.2f}"
    if mean < POOR:
        return Finding("note", "tokenizer quality", f"{text}: the tokenizer loses most of them; train it longer")
    return Finding("fine", "tokenizer quality", text)


def _some(images: ImageSet, index: list[int]) -> tuple[list[int], Tensor]:
    """Those of the pictures that can be decoded."""
    good, found = [], []
    for i in index:
        try:
            found.append(images.pixels([i]))
        except DataError:
            continue
        good.append(i)
    if not good:
        raise DataError(f"none of {len(index)} pictures of {images.root} can be decoded")
    return good, torch.cat(found)
