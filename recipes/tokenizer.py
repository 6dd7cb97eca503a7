"""The tokenizer of the bundled models.

    parvis data fetch emoji
    python -m recipes.tokenizer --out runs/tokenizer

RESULT
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from parvis.data.emoji import EmojiSet, load_emoji
from parvis.tokenizer.vqgan import VQGAN, VQConfig
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


def emoji_tokenizer(out: Path, how: TokenizerTraining) -> VQGAN:
    """Train on the training split of Noto emoji: 20 pictures of 64 px and 3 of 128 px a step, half of them mirrored."""
    small, large = load_emoji(64), load_emoji(128)
    draw = pictures([_set(small, 20), _set(large, 3)], how.seed)
    held_out = {str(data.resolution): _held_out(data, count) for data, count in ((small, 96), (large, 24))}
    torch.manual_seed(how.seed)
    model = VQGAN(EMOJI).to(memory_format=torch.channels_last)
    return train(model, draw, how, out, held_out)


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=emoji_tokenizer.__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/tokenizer"))
    parser.add_argument("--steps", type=int, default=1000)
    args = parser.parse_args()
    emoji_tokenizer(args.out, TokenizerTraining(args.steps, evaluate_seconds=400))
