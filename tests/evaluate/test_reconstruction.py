"""What tokenizers lose: against slow forms and damage that is known; letters that are read back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from parvis.errors import UsageError
from parvis.evaluate.features import FeatureNet
from parvis.evaluate.glyphs import LETTERS, legible, letters, page, read
from parvis.evaluate.reconstruction import code_use, edges, grey, perceptual, psnr, ssim


def pictures(count: int = 2, side: int = 20, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def blurred(pixels: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, 1)


def slow_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Window by window, on grey pictures in 0 to 1."""
    at = np.arange(11) - 5
    line = np.exp(-(at**2) / (2 * 1.5**2))
    w = np.outer(line, line) / np.outer(line, line).sum()
    found = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mp, mq = (w * p).sum(), (w * q).sum()
            vp, vq = (w * (p - mp) ** 2).sum(), (w * (q - mq) ** 2).sum()
            cov = (w * (p - mp) * (q - mq)).sum()
            found.append((2 * mp * mq + 1e-4) * (2 * cov + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4)))
    return float(np.mean(found))


def test_ssim_is_that_of_the_slow_form() -> None:
    a, b = pictures(), blurred(pictures())
    expected = [slow_ssim(x[0].numpy(), y[0].numpy()) for x, y in zip(grey(a), grey(b), strict=True)]
    assert ssim(a, b).tolist() == pytest.approx(expected, abs=1e-9)
    assert ssim(a, a).tolist() == pytest.approx([1, 1])
    with pytest.raises(UsageError, match="11 pixels"):
        ssim(pictures(1, 8), pictures(1, 8))


def test_psnr_of_a_known_error() -> None:
    a = torch.zeros(1, 3, 4, 4)
    assert psnr(a, a + 2 * 0.1).item() == pytest.approx(20)  # a tenth of the range
    assert psnr(a, a).item() == 99 and psnr(a, a + 2).item() == pytest.approx(0, abs=1e-6)


def test_edges_see_smearing_and_moving() -> None:
    a = -torch.ones(1, 3, 24, 24)
    a[:, :, 6:14, 6:14] = 1
    placed, left = edges(a, a)
    assert placed.item() == pytest.approx(1) and left.item() == pytest.approx(1)
    placed, left = edges(a, blurred(blurred(a)))
    assert placed.item() < 0.9 and left.item() < 1.01
    assert edges(a, a.roll(6, 2))[0].item() < 0.6
    assert edges(a, a * 0.5)[1].item() == pytest.approx(0.5)
    assert math.isnan(edges(torch.zeros_like(a), a)[0].item())


def test_the_perceptual_distance_is_of_directions_layer_by_layer() -> None:
    net = FeatureNet("two", lambda x: x.mean((2, 3)), layers=lambda x: [x, F.avg_pool2d(x, 2)])
    a = torch.zeros(1, 3, 2, 2)
    a[:, 0] = 1
    b = a.roll(1, 1)
    assert perceptual(a, b, net).item() == pytest.approx(4)  # 2 a layer: unit vectors at right angles
    assert perceptual(a, a * 3, net).item() == pytest.approx(0, abs=1e-12)
    with pytest.raises(UsageError, match="no layers"):
        perceptual(a, b, FeatureNet("none", lambda x: x.flatten(1)))


def test_codes_used_evenly_and_not() -> None:
    even = code_use(torch.full((8,), 3))
    assert (even.used, even.entropy, even.perplexity) == pytest.approx((1, 3, 8))
    one = code_use(torch.tensor([0, 7, 0, 0]))
    assert (one.used, one.entropy, one.perplexity) == pytest.approx((0.25, 0, 1))
    half = code_use(torch.tensor([2, 1, 1, 0]))
    assert half.entropy == pytest.approx(1.5) and half.count == 4 and half.vocabulary == 4
    with pytest.raises(UsageError, match="no tokens"):
        code_use(torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize("cell", [8, 12, 24])
def test_letters_are_read_until_they_are_smeared(cell: int) -> None:
    pages, drawn = page(96, cell, 4)
    assert pages.shape == (4, 3, 96, 96) and drawn.shape == (4, (96 // cell) ** 2)
    assert legible(read(pages, cell), drawn) > 0.98
    grain = torch.randn(pages.shape, generator=torch.Generator().manual_seed(0))
    assert legible(read(pages + 0.1 * grain, cell), drawn) > 0.95
    lost = F.interpolate(F.avg_pool2d(pages, cell // 2), scale_factor=cell // 2)
    assert legible(read(lost, cell), drawn) < 0.6
    assert legible(read(torch.ones_like(pages), cell), drawn) < 0.1
    assert torch.equal(page(96, cell, 4)[1], drawn) and not torch.equal(page(96, cell, 4, 1)[1], drawn)


def test_letters_that_look_alike_count_as_read_and_others_do_not() -> None:
    at = {letter: i for i, letter in enumerate(LETTERS)}
    assert legible(torch.tensor([[at["O"], at["a"]]]), torch.tensor([[at["0"], at["b"]]])) == 0.5
    assert len(letters(16)) == len(LETTERS) == 62
    for call, message in ((lambda: letters(5), "6 or more"), (lambda: page(8, 16, 1), "does not fit")):
        with pytest.raises(UsageError, match=message):
            call()
