"""The three tokenizers of the comparison on Fashion-MNIST (recipes/fashion.py): 32 x 32 pixels, 4 x 4 to a token.

    parvis data fetch fashion
    parvis tokenizer train fashion-vq
    parvis tokenizer train fashion-kl
    parvis tokenizer train fashion-multiscale

How well each rebuilds the test pictures is part of docs/results.md: it bounds what any model on top of it can reach.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from parvis.data.fashion import FashionSet, load_fashion
from parvis.tokenizer.folder import Known, save_tokenizer
from parvis.tokenizer.kl import KL, KLConfig
from parvis.tokenizer.multiscale import MultiScaleConfig, MultiScaleVQ
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.train import FitConfig, fit, shuffled
from parvis.train.kl import kl_loss, scaled
from parvis.train.loop import Loss
from parvis.train.multiscale import MultiScaleTraining, first_codes, multiscale_loss
from parvis.train.tokenizer import PictureSet, TokenizerTraining, pictures, train

T = TypeVar("T", bound=Known)
VQ = VQConfig(
    channels=32, multipliers=(1, 2), encoder_blocks=1, decoder_blocks=2, attention=False, groups=8, z_channels=64,
    codes=512, code_dim=8, patch=2,
)  # fmt: skip
KL_CONFIG = KLConfig(channels=24, multipliers=(1, 2, 3), blocks=1, groups=8, z_channels=4)
MULTISCALE = MultiScaleConfig(
    sides=(1, 2, 3, 4, 6, 8), channels=24, multipliers=(1, 2, 3), blocks=1, groups=8, z_channels=8, codes=512
)


def fashion_vq(out: Path, *, steps: int = 1600, batch: int = 32) -> VQGAN:
    """Codes, 8 x 8 of 512: for all that take codes of one scale."""
    data, held_out = load_fashion("train"), load_fashion("test")
    draw = pictures([PictureSet(data.images(), np.ones(len(data)), batch)], seed=0)
    torch.manual_seed(0)
    model = VQGAN(VQ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    how = TokenizerTraining(steps, evaluate_seconds=400)
    model = train(model, draw, how, out / "training", {"test": held_out.pixels(range(256))})
    return save(out, model, held_out)


def fashion_kl(out: Path, *, steps: int = 1200, batch: int = 32, lr: float = 2e-3) -> KL:
    """Latents, 8 x 8 of 4 channels: for MAR and xAR."""
    torch.manual_seed(0)
    model, data = KL(KL_CONFIG), load_fashion("train")
    fitted(model, kl_loss, data, out, steps, batch, lr)
    index = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:2000]
    model = scaled(model, (data.pixels(part.tolist()) for part in index.split(200)))
    return save(out, model, load_fashion("test"))


def fashion_multiscale(out: Path, *, steps: int = 1200, batch: int = 32, lr: float = 2e-3) -> MultiScaleVQ:
    """Codes of 6 scales, 130 in all, of 512: for VAR."""
    torch.manual_seed(0)
    model, data = MultiScaleVQ(MULTISCALE), load_fashion("train")
    first_codes(model, data.pixels(range(256)), torch.Generator().manual_seed(0))
    training = MultiScaleTraining(model, revive_until=steps // 2)
    fitted(training, multiscale_loss, data, out, steps, batch, lr)
    return save(out, training.tokenizer.eval(), load_fashion("test"))


def fitted(model: nn.Module, loss: Loss, data: FashionSet, out: Path, steps: int, batch: int, lr: float) -> None:
    """Train in place and leave the averaged weights in the model."""
    pick = shuffled(len(data), batch, seed=0)
    config = FitConfig(
        steps=steps, batch=batch, lr=lr, warmup=100, schedule="wsd", decay=0.3, floor=0.02, weight_decay=0.01,
        ema=0.995, out=out, checkpoint_every=500, log_every=50,
    )  # fmt: skip
    done = fit(config, model, loss, lambda step: {"pixels": data.pixels(pick(step).tolist())})
    assert done.ema is not None
    model.load_state_dict(done.ema.tensors)
    model.eval().requires_grad_(False)


def save(out: Path, model: T, held_out: FashionSet, count: int = 2000) -> T:
    """Write the folder ``out/model`` with what the tokenizer reaches on test pictures: PSNR of the mean error."""
    rebuild: Callable[[Tensor], Tensor] = lambda x: model.decode(model.encode(x), model.grid(*x.shape[-2:]))  # noqa: E731
    errors = []
    with torch.inference_mode():
        for start in range(0, count, 200):
            pixels = held_out.pixels(range(start, start + 200))
            errors.append(((rebuild(pixels).clamp(-1, 1) - pixels) / 2).square().mean())
    psnr = round(float(-10 * torch.stack(errors).mean().log10()), 2)
    save_tokenizer(out / "model", model, {"data": "Fashion-MNIST", f"PSNR in dB, {count} test pictures": str(psnr)})
    print(json.dumps({"psnr": psnr}))
    return model
