"""Stripes and what is left of them, against waves and filters whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from parvis.errors import UsageError
from parvis.evaluate.stripes import CONTRAST, contrast, stripes


@pytest.mark.parametrize("period", [3, 5, 16])
def test_stripes_are_waves_of_their_period_in_many_directions(period: int) -> None:
    waves = stripes(64, period, 32)
    assert waves.shape == (32, 3, 64, 64) and float(waves.abs().max()) == pytest.approx(CONTRAST, abs=0.01)
    directions = set()
    for wave in waves[:, 0].double():
        spectrum = torch.fft.fft2(wave, s=(512, 512)).abs()
        y, x = divmod(int(spectrum[:, :257].argmax()), 512 // 2 + 1)
        down = (y if y <= 256 else y - 512) / 512
        assert math.hypot(down, x / 512) == pytest.approx(1 / period, abs=0.012)
        directions.add(round(math.atan2(down, x / 512) * 4 / math.pi))
    assert len(directions) >= 4
    assert torch.equal(stripes(64, period, 32), waves) and not torch.equal(stripes(64, period, 32, seed=1), waves)


def test_contrast_is_the_share_that_is_left_in_place() -> None:
    waves = stripes(48, 6, 8)
    for share in (1.0, 0.3, 0.0, -0.5):
        torch.testing.assert_close(contrast(waves, share * waves + 0.1), torch.full((8,), share, dtype=torch.float64))


def test_a_mean_of_neighbours_keeps_what_its_transfer_function_says() -> None:
    """A box of 3 pixels keeps (1 + 2 cos f) / 3 of a frequency f, in either direction."""
    waves = stripes(96, 8, 1, seed=3)
    row = torch.cos(2 * math.pi * torch.arange(96) / 8) * CONTRAST
    waves = row.expand(1, 3, 96, 96)
    box = F.avg_pool2d(F.pad(waves, (1, 1, 1, 1), mode="circular"), 3, stride=1)
    assert float(contrast(waves, box)) == pytest.approx((1 + 2 * math.cos(2 * math.pi / 8)) / 3, abs=1e-6)


@pytest.mark.parametrize(("side", "period"), [(16, 2), (16, 9)])
def test_stripes_that_cannot_be_shown_are_refused(side: int, period: int) -> None:
    with pytest.raises(UsageError, match="at most half"):
        stripes(side, period, 1)
