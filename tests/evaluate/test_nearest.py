"""The nearest real picture: own, of the same drawing, twins, and none of these."""

from __future__ import annotations

import numpy as np
import pytest

from parvis.errors import UsageError
from parvis.evaluate.nearest import nearest

RED, PINK, BLUE, GREY = (255, 0, 0), (255, 120, 120), (0, 0, 255), (128, 128, 128)


def flat(*colours: tuple[int, int, int]) -> np.ndarray:
    return np.stack([np.full((32, 32, 3), c, np.uint8) for c in colours])


def test_own_kin_and_strangers() -> None:
    real = flat(RED, PINK, BLUE, GREY)
    drawn = flat((250, 0, 0), (255, 100, 100), (0, 0, 250))
    found = nearest(drawn, [0, 0, 0], real, ["apple", "apple", "sky", "stone"])
    assert found.nearest.tolist() == [0, 1, 2]
    assert found.exact.tolist() == [True, False, False]
    assert found.base.tolist() == [True, True, False]
    assert found.base_in_5.tolist() == [True, True, True]
    assert found.rmse[0].item() == pytest.approx(5 / 255 / 3**0.5, rel=1e-3)


def test_a_twin_is_as_good_as_the_own_picture() -> None:
    found = nearest(flat(RED), [1], flat(RED, RED, BLUE), ["a", "b", "c"])
    assert found.exact.tolist() == found.base.tolist() == [True] and found.rmse.item() < 1e-6


def test_base_in_5_looks_no_further() -> None:
    greys = flat(*[(v, v, v) for v in (100, 101, 102, 103, 104, 105, 106)])
    found = nearest(greys[:1], [5], greys, list("abcdefg"))
    assert not found.base_in_5.item()
    assert nearest(greys[:1], [4], greys, list("abcdefg")).base_in_5.item()


def test_counts_that_do_not_match_are_refused() -> None:
    with pytest.raises(UsageError, match="1 pictures need as many"):
        nearest(flat(RED), [0, 1], flat(RED, BLUE), ["a", "b"])
