"""KL-16 against a plain walk over its public state dict, and its published size."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from parvis.errors import UsageError
from parvis.tokenizer.kl import KL, KLConfig
from parvis.weights.keys import is_bijection
from parvis.weights.maps import KL16

SMALL = KLConfig(channels=8, multipliers=(1, 2, 2), blocks=1, groups=4, z_channels=3, scale=0.5)
PUBLIC = (
    "encoder.down.0.block.1.conv2.weight", "encoder.down.2.block.0.nin_shortcut.weight",
    "encoder.down.3.downsample.conv.bias", "encoder.down.4.attn.1.proj_out.weight", "encoder.mid.block_1.norm1.bias",
    "encoder.mid.attn_1.q.weight", "encoder.norm_out.weight", "encoder.conv_out.bias", "quant_conv.weight",
    "post_quant_conv.bias", "decoder.conv_in.weight", "decoder.mid.attn_1.norm.weight",
    "decoder.up.0.block.2.conv1.bias", "decoder.up.4.upsample.conv.weight",
    "decoder.up.1.block.0.nin_shortcut.weight", "decoder.conv_out.weight",
)  # fmt: skip


class Plain:
    """The autoencoder as functions of the state dict; float64, one block after the other."""

    def __init__(self, model: KL) -> None:
        self.state = {name: tensor.double() for name, tensor in model.state_dict().items()}
        self.config = model.config

    def has(self, name: str) -> bool:
        return f"{name}.weight" in self.state

    def conv(self, name: str, x: Tensor, **options: int) -> Tensor:
        return F.conv2d(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"], **options)

    def normed(self, name: str, x: Tensor) -> Tensor:
        grouped = x.reshape(len(x), self.config.groups, -1)
        centred = grouped - grouped.mean(2, keepdim=True)
        unit = (centred / (centred.square().mean(2, keepdim=True) + 1e-6).sqrt()).reshape(x.shape)
        return unit * self.state[f"{name}.weight"][:, None, None] + self.state[f"{name}.bias"][:, None, None]

    def swish(self, name: str, x: Tensor) -> Tensor:
        y = self.normed(name, x)
        return y * torch.sigmoid(y)

    def block(self, name: str, x: Tensor) -> Tensor:
        h = self.conv(f"{name}.conv1", self.swish(f"{name}.norm1", x), padding=1)
        h = self.conv(f"{name}.conv2", self.swish(f"{name}.norm2", h), padding=1)
        return h + (self.conv(f"{name}.nin_shortcut", x) if self.has(f"{name}.nin_shortcut") else x)

    def attention(self, name: str, x: Tensor) -> Tensor:
        h = self.normed(f"{name}.norm", x)
        q, k, v = (self.conv(f"{name}.{part}", h).flatten(2) for part in "qkv")
        shares = (torch.einsum("bci,bcj->bij", q, k) / q.shape[1] ** 0.5).softmax(2)
        return x + self.conv(f"{name}.proj_out", torch.einsum("bij,bcj->bci", shares, v).reshape(x.shape))

    def level(self, name: str, x: Tensor, blocks: int) -> Tensor:
        for i in range(blocks):
            x = self.block(f"{name}.block.{i}", x)
            x = self.attention(f"{name}.attn.{i}", x) if self.has(f"{name}.attn.{i}.q") else x
        return x

    def middle(self, name: str, x: Tensor) -> Tensor:
        return self.block(f"{name}.block_2", self.attention(f"{name}.attn_1", self.block(f"{name}.block_1", x)))

    def moments(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv("encoder.conv_in", pixels.double(), padding=1)
        for i in range(len(self.config.multipliers)):
            x = self.level(f"encoder.down.{i}", x, self.config.blocks)
            if self.has(f"encoder.down.{i}.downsample.conv"):
                x = self.conv(f"encoder.down.{i}.downsample.conv", F.pad(x, (0, 1, 0, 1)), stride=2)
        x = self.conv("encoder.conv_out", self.swish("encoder.norm_out", self.middle("encoder.mid", x)), padding=1)
        mean, log_variance = self.conv("quant_conv", x).chunk(2, 1)
        return mean, log_variance.clamp(-30, 20).exp().sqrt()

    def pixels(self, latents: Tensor) -> Tensor:
        x = self.conv("decoder.conv_in", self.conv("post_quant_conv", latents.double()), padding=1)
        x = self.middle("decoder.mid", x)
        for i in reversed(range(len(self.config.multipliers))):
            x = self.level(f"decoder.up.{i}", x, self.config.blocks + 1)
            if self.has(f"decoder.up.{i}.upsample.conv"):
                x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
                x = self.conv(f"decoder.up.{i}.upsample.conv", x, padding=1)
        return self.conv("decoder.conv_out", self.swish("decoder.norm_out", x), padding=1)


@pytest.fixture(scope="module")
def model() -> KL:
    torch.manual_seed(0)
    made = KL(SMALL).eval()
    for parameter in made.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return made


@torch.no_grad()
def test_equals_the_plain_walk(model: KL) -> None:
    pixels, plain = torch.rand(2, 3, 16, 24) * 2 - 1, Plain(model)
    for ours, theirs in zip(model.moments(pixels), plain.moments(pixels), strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=1e-5)
    latents = torch.randn(2, 24, 3)
    ours = model.decode(latents, model.grid(16, 24)).double()
    theirs = plain.pixels(latents.transpose(1, 2).reshape(2, 3, 4, 6) / 0.5)
    torch.testing.assert_close(ours, theirs, atol=1e-4 * float(theirs.abs().max()), rtol=0)


@torch.no_grad()
def test_values_are_scaled_means_or_draws_in_raster_order(model: KL) -> None:
    pixels, normal = torch.rand(1, 3, 8, 12), torch.randn(1, 6, 3)
    mean, deviation = model.moments(pixels)
    values, drawn = model.encode(pixels), model.encode(pixels, normal)
    assert values.shape == (1, 6, 3) and model.channels == 3 and model.vocabulary == 0
    assert torch.equal(values[0, 4], 0.5 * mean[0, :, 1, 1])
    expected = mean + deviation * normal.view(1, 2, 3, 3).movedim(3, 1)
    torch.testing.assert_close(drawn[0, 5], 0.5 * expected[0, :, 1, 2])


def test_log_variance_is_bounded(model: KL) -> None:
    wild = copy.deepcopy(model)
    wild.quant_conv.bias.data[3:] = torch.tensor([99.0, -99.0, 0.0])
    _, deviation = wild.moments(torch.zeros(1, 3, 4, 4))
    torch.testing.assert_close(deviation[0, :2, 0, 0], torch.tensor([10.0, -15.0]).exp())


def test_public_names_and_size() -> None:
    with torch.device("meta"):
        made = KL(KLConfig())
    names = made.state_dict()
    assert (made.factor, made.channels) == (16, 16) and set(PUBLIC) <= set(names)
    assert is_bijection(KL16, names) and KL16.drops("loss.logvar")
    assert sum(name.startswith("decoder.up") and ".attn." in name for name in names) == 0
    assert names["quant_conv.weight"].shape == (32, 32, 1, 1)


def test_wrong_sizes(model: KL) -> None:
    with pytest.raises(UsageError, match="multiples of 4"):
        model.encode(torch.zeros(1, 3, 10, 8))
    with pytest.raises(UsageError, match="does not divide into 32 groups"):
        KLConfig(channels=20)
