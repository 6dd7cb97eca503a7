"""The tokenizer of the bundled models.

    parvis data fetch emoji
    parvis tokenizer train emoji

Seed 0, one thread of an Intel Xeon at 2.5 GHz (AVX-512, no bfloat16) in float32: 1400 steps in 31 minutes, then the
decoder alone in 2 more. 2.7M parameters. On the 250 pictures of held-out bases, PSNR of the mean error (mean of the
pictures' own):

    64 px    23.04 dB (23.65)    entropy of the codes 5.34 nats (of those that are not blank 6.59), 28 % blank
    128 px   24.59 dB (25.14)    entropy of the codes 4.60 nats (of those that are not blank 6.51), 40 % blank

All 1024 codes are in use on the training pictures, no two are nearer than cosine .98: the merge drops none.
By eye: shapes, colours, skin tones and flags are right; at 64 px small faces and lettering smear.

Tried on the way, one seed each: AdamW at 2e-3 needs about three times the steps of Muon for the same training loss (at
4e-4 it lies between); with AdamW and without the isotropy term the codes held one hue for the first 150 to 200 steps.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from parvis.data.emoji import EmojiSet, load_emoji
from parvis.tokenizer.folder import save_tokenizer
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.train.codebook import merged, usage
from parvis.train.reconstruction import measure
from parvis.train.tokenizer import PictureSet, TokenizerTraining, pictures, train

EMOJI = VQConfig(
    channels=32,
    multipliers=(1, 2, 4),
    encoder_blocks=1,
    decoder_blocks=2,
    attention=False,
    groups=4,
    z_channels=64,
    codes=1024,
    code_dim=8,
    patch=2,
    blank=True,
)
"""8 x 8 pixels a token, 1024 codes, code 0 for white cells; resolution free: 64 tokens at 64 px, 256 at 128 px."""


def emoji_tokenizer(out: Path, *, steps: int = 1400, tune: int = 150, distance: float = 0.01, seed: int = 0) -> VQGAN:
    """Train on the training split of Noto emoji: 20 pictures of 64 px and 3 of 128 px a step, half of them mirrored.

    At the end near duplicates among the codes are merged and the decoder is tuned to the codes that stay. A stopped
    run goes on where it was. Writes the model folder ``out/model``.
    """
    data = load_emoji(64), load_emoji(128)
    draw = pictures([_set(data[0], 20), _set(data[1], 3)], seed)
    held_out = {str(part.resolution): _held_out(part, count) for part, count in zip(data, (96, 24), strict=True)}
    torch.manual_seed(seed)
    model = VQGAN(EMOJI).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    how = TokenizerTraining(steps, seed=seed, evaluate_seconds=400)
    model = train(model, draw, how, out / "training", held_out)
    counts_V = torch.stack([usage(model, torch.split(part.select("train").pixels(), 32)) for part in data]).sum(0)
    model = merged(model, counts_V, distance).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    how = TokenizerTraining(tune, 1e-3, 3e-4, decay=0.9, average=0.98, decoder_only=True, seed=seed + 1)
    model = train(model, draw, how, out / "decoder", held_out)
    found = {str(part.resolution): measure(model, part.select("base").pixels()) for part in data}
    save_tokenizer(
        out / "model", model, {f"held out, {side} px": json.dumps(numbers) for side, numbers in found.items()}
    )
    print(json.dumps(found, indent=1))
    return model


def _set(data: EmojiSet, count: int) -> PictureSet:
    """The training split, each base drawn in proportion to the square root of its number of variants."""
    part = data.select("train")
    variants = Counter(record.base for record in part.records)
    weights = np.array([variants[record.base] ** -0.5 for record in part.records])
    return PictureSet(part.images, weights, count)


def _held_out(data: EmojiSet, count: int) -> torch.Tensor:
    """Some pictures of bases that are held out whole, always the same."""
    part = data.select("base")
    return part.pixels(np.random.default_rng(0).permutation(len(part))[:count].tolist())
