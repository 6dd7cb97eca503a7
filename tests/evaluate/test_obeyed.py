"""Duplicates, and pictures that show what they were asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from parvis.errors import UsageError
from parvis.evaluate.duplicates import duplicates
from parvis.evaluate.pictures import of_array
from parvis.evaluate.retrieval import retrieved


def test_equal_and_near_pictures_are_found() -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 16, 16, 3), dtype=np.uint8)
    assert duplicates(of_array("x", images)).note == "" and duplicates(of_array("x", images)).near == 0
    images[290] = images[3]
    images[295] = images[3]
    images[100] = images[50]
    images[100, 0, 0, 0] ^= 1  # not equal, but nobody would see it
    found = duplicates(of_array("x", images), block=64)
    assert (found.count, found.equal, found.near, found.first) == (300, 2, 5, (3, 290))
    assert "2 of 300" in found.note and "3 and 290" in found.note


def test_the_nearest_real_picture_has_the_caption_or_one_of_five_has() -> None:
    real = torch.arange(20.0)[:, None].repeat(1, 3)
    captions = [f"Number  {i}" for i in range(20)]
    fake = torch.tensor([[3.1] * 3, [7.4] * 3, [7.4] * 3, [0.0] * 3])
    best, among, known = retrieved(fake, ["number 3", "number 8", "number 15", "none"], real, captions, block=3)
    assert best.tolist() == [True, False, False, False] and among.tolist() == [True, True, False, False]
    assert known.tolist() == [True, True, True, False]
    assert retrieved(fake, ["a"] * 4, real, ["a"] * 20)[0].all()
    with pytest.raises(UsageError, match="one for each"):
        retrieved(fake, ["a"], real, captions)
