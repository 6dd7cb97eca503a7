"""The three tokenizers of the comparison on Fashion-MNIST (recipes/fashion.py): 32 x 32 pixels, 4 x 4 to a token.

    parvis data fetch fashion
    parvis tokenizer train fashion-vq
    parvis tokenizer train fashion-kl
    parvis tokenizer train fashion-multiscale

How well each rebuilds real pictures is part of docs/results.md: it bounds what any model on top of it can reach.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from parvis.data.fashion import load_fashion
from parvis.tokenizer.kl import KL, KLConfig
from parvis.tokenizer.multiscale import MultiScaleConfig, MultiScaleVQ
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.train.kl import kl_loss, scaled
from parvis.train.multiscale import MultiScaleTraining, first_codes, multiscale_loss
from parvis.train.seeds import generator
from parvis.train.tokenizer import PictureSet, TokenizerTraining, pictures, train
from recipes.small_tokenizers import fitted, save, settings

VQ = VQConfig(
    channels=32, multipliers=(1, 2), encoder_blocks=1, decoder_blocks=2, attention=False, groups=8, z_channels=64,
    codes=512, code_dim=8, patch=2,
)  # fmt: skip
KL_CONFIG = KLConfig(channels=24, multipliers=(1, 2, 3), blocks=1, groups=8, z_channels=4)
MULTISCALE = MultiScaleConfig(
    sides=(1, 2, 3, 4, 6, 8), channels=24, multipliers=(1, 2, 3), blocks=1, groups=8, z_channels=8, codes=512
)
HELD = torch.arange(2000)
"""Pictures of the test split that the quality is said of."""


def fashion_vq(out: Path, *, steps: int = 1600, batch: int = 32) -> VQGAN:
    """Codes, 8 x 8 of 512: for all that take codes of one scale."""
    data, held_out = load_fashion("train"), load_fashion("test")
    draw = pictures([PictureSet(data.images(), np.ones(len(data)), batch)], seed=0)
    torch.manual_seed(0)
    model = VQGAN(VQ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    how = TokenizerTraining(steps, evaluate_seconds=400)
    model = train(model, draw, how, out / "training", {"test": held_out.pixels(range(256))})
    return save(out, model, held_out, HELD)


def fashion_kl(out: Path, *, steps: int = 1200, batch: int = 32, lr: float = 2e-3) -> KL:
    """Latents, 8 x 8 of 4 channels: for MAR and xAR."""
    torch.manual_seed(0)
    model, data = KL(KL_CONFIG), load_fashion("train")
    config = settings(out, steps, batch, lr, "cpu")
    fitted(model, kl_loss, data, torch.arange(len(data)), config, mirror=False)
    some = torch.randperm(len(data), generator=generator(0, "scale"))[:2000]
    model = scaled(model, (data.pixels(part.tolist()) for part in torch.split(some, 200)))
    return save(out, model, load_fashion("test"), HELD)


def fashion_multiscale(out: Path, *, steps: int = 1200, batch: int = 32, lr: float = 2e-3) -> MultiScaleVQ:
    """Codes of 6 scales, 130 in all, of 512: for VAR."""
    torch.manual_seed(0)
    model, data = MultiScaleVQ(MULTISCALE), load_fashion("train")
    first_codes(model, data.pixels(range(256)), generator(0, "codes"))
    training = MultiScaleTraining(model, revive_until=steps // 2)
    config = settings(out, steps, batch, lr, "cpu")
    fitted(training, multiscale_loss, data, torch.arange(len(data)), config, mirror=False)
    return save(out, training.tokenizer, load_fashion("test"), HELD)
