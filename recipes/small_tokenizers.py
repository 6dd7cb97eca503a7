"""Small tokenizers of one's own pictures: codes, latents, codes of several scales. 8 x 8 pixels a token.

    parvis tokenizer train small --data PICTURES -o runs/tok
    parvis tokenizer train kl-small --data PICTURES -o runs/kl
    parvis tokenizer train multiscale-small --data PICTURES -o runs/scales

One picture in twenty (at most 256) is held out; what the tokenizer makes of those is printed and written into its
folder (`parvis tokenizer info`): PSNR in dB, and for codes how many are in use and their entropy in nats. No result is
claimed: it depends on the data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from parvis.data.fashion import FashionSet
from parvis.data.images import Decoded, ImageSet, usable
from parvis.data.source import open_data
from parvis.errors import UsageError
from parvis.files import check_writable
from parvis.tokenizer.folder import Known, save_tokenizer
from parvis.tokenizer.kl import KL, KLConfig
from parvis.tokenizer.multiscale import MultiScaleConfig, MultiScaleVQ
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.train import FitConfig, fit, shuffled
from parvis.train.distributed import main_process
from parvis.train.kl import kl_loss, scaled
from parvis.train.loop import Loss
from parvis.train.multiscale import MultiScaleTraining, first_codes, multiscale_loss
from parvis.train.reconstruction import measure, sheet
from parvis.train.seeds import generator
from parvis.train.tokenizer import TokenizerTraining, train

T = TypeVar("T", bound=Known)
FACTOR = 8
SIDES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Of the scales of a multi-scale tokenizer, up to the side of the finest."""


def small(
    data: Path,
    out: Path,
    *,
    resolution: int = 64,
    steps: int = 2000,
    batch: int = 16,
    codes: int = 1024,
    channels: int = 32,
    device: str = "cpu",
    skip_bad: bool = False,
) -> VQGAN:
    """VQ, 8 x 8 pixels a token, 1024 codes: for all families of codes but VAR.

    About 2.7M parameters; Muon and AdamW, a codebook that is a moving average, dead codes revived.
    """
    images, taught, held = split(data, out, resolution, skip_bad)
    config = VQConfig(
        channels=channels, multipliers=(1, 2, 4), encoder_blocks=1, decoder_blocks=2, attention=False, groups=4,
        z_channels=64, codes=codes, code_dim=8, patch=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = VQGAN(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    pick = shuffled(len(taught), batch, seed=0)

    def draw(step: int) -> list[Tensor]:
        return [mirrored(images.pixels(taught[pick(step)].tolist()), step).to(device)]

    how = TokenizerTraining(steps, evaluate_seconds=300)
    model = train(model, draw, how, out / "training", {"held-out": images.pixels(held[:32].tolist()).to(device)})
    return save(out, model.cpu(), images, held)


def kl_small(
    data: Path,
    out: Path,
    *,
    resolution: int = 64,
    steps: int = 2000,
    batch: int = 16,
    lr: float = 2e-3,
    channels: int = 24,
    device: str = "cpu",
    skip_bad: bool = False,
) -> KL:
    """KL, latents of 8 channels, 8 x 8 pixels a token: for MAR and xAR."""
    images, taught, held = split(data, out, resolution, skip_bad)
    torch.manual_seed(0)
    model = KL(KLConfig(channels=channels, multipliers=(1, 2, 2, 4), blocks=1, groups=8, z_channels=8))
    fitted(model, kl_loss, images, taught, settings(out, steps, batch, lr, device))
    some = taught[torch.randperm(len(taught), generator=generator(0, "scale"))[:512]]
    model = scaled(model, (images.pixels(part.tolist()) for part in torch.split(some, 64)))
    return save(out, model, images, held)


def multiscale_small(
    data: Path,
    out: Path,
    *,
    resolution: int = 64,
    steps: int = 2000,
    batch: int = 16,
    lr: float = 2e-3,
    codes: int = 1024,
    channels: int = 24,
    device: str = "cpu",
    skip_bad: bool = False,
) -> MultiScaleVQ:
    """Multi-scale VQ, 1024 codes, scales from 1 x 1 up to 8 x 8 pixels a token: for VAR."""
    images, taught, held = split(data, out, resolution, skip_bad)
    finest = resolution // FACTOR
    sides = (*(side for side in SIDES if side < finest), finest)
    config = MultiScaleConfig(sides, channels, (1, 2, 2, 4), blocks=1, groups=8, z_channels=8, codes=codes)
    torch.manual_seed(0)
    model = MultiScaleVQ(config)
    first_codes(model, images.pixels(taught[:64].tolist()), generator(0, "codes"))
    training = MultiScaleTraining(model, revive_until=steps // 2)
    fitted(training, multiscale_loss, images, taught, settings(out, steps, batch, lr, device))
    return save(out, training.tokenizer, images, held)


Pictures = ImageSet | Decoded | FashionSet


def split(data: Path, out: Path, resolution: int, skip_bad: bool) -> tuple[Pictures, Tensor, Tensor]:
    """The pictures, which of them to train on and which to hold out, [n] each. With fewer than 20 none is held out:
    then the quality is that on pictures trained on."""
    if resolution < 1 or resolution % FACTOR:
        raise UsageError(f"--resolution is {resolution}; these tokenizers need a multiple of {FACTOR}")
    check_writable(out, folder=True)
    images, left_out = usable(open_data(data, resolution), skip_bad)
    if left_out:
        print(f"{left_out} pictures left out because they cannot be decoded")
    index = torch.randperm(len(images), generator=generator(0, "held out"))
    count = min(256, len(images) // 20)
    return images, (index[count:] if count else index), (index[:count] if count else index[:256])


def mirrored(pixels: Tensor, step: int) -> Tensor:
    """Half of the pictures mirrored, chosen by the step."""
    flip_B = torch.rand(len(pixels), generator=generator(0, "mirror", step)) < 0.5
    return torch.where(flip_B[:, None, None, None], pixels.flip(-1), pixels)


def settings(out: Path, steps: int, batch: int, lr: float, device: str) -> FitConfig:
    return FitConfig(
        steps=steps, batch=batch, lr=lr, warmup=min(100, max(1, steps // 10)), schedule="wsd", decay=0.3, floor=0.02,
        weight_decay=0.01, ema=0.995, out=out, checkpoint_every=500, log_every=50, device=device,
    )  # fmt: skip


def fitted(
    model: nn.Module, loss: Loss, images: Pictures, taught: Tensor, config: FitConfig, mirror: bool = True
) -> None:
    """Train in place and leave the averaged weights in the model, on the CPU."""
    pick = shuffled(len(taught), config.batch, seed=0)

    def batches(step: int) -> dict[str, Tensor]:
        pixels = images.pixels(taught[pick(step)].tolist())
        return {"pixels": mirrored(pixels, step) if mirror else pixels}

    done = fit(config, model, loss, batches)
    assert done.ema is not None
    model.load_state_dict(done.ema.tensors)
    model.cpu().eval().requires_grad_(False)


def save(out: Path, model: T, images: Pictures, held: Tensor) -> T:
    """Write ``out/model`` with what the tokenizer reaches on held-out pictures, and a sheet of some of them."""
    if not main_process():
        return model
    pixels = images.pixels(held.tolist())
    with torch.inference_mode():
        found = {name: round(value, 4) for name, value in measure(model.eval(), pixels).items()}
        sheet(model, pixels[:32]).save(out / "sheet.png")
    save_tokenizer(out / "model", model, {f"{len(held)} pictures held out": json.dumps(found)})
    told = f"PSNR {found['psnr']:.2f} dB on {len(held)} pictures held out"
    if "codes" in found:
        told += f", {found['codes']:.0f} of {model.vocabulary} codes used there"
    print(f"{told} -> {out / 'model'}; before and after: {out / 'sheet.png'}")
    return model
