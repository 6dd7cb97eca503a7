import math

import pytest
import torch

from parvis.errors import UsageError
from parvis.guidance import after_step, before_step, by_group, constant, linear, until
from parvis.systems import nar

SIZES = (1, 3, 4)


@pytest.mark.parametrize(
    "rule", [constant(3.0), linear(3.0), before_step(3.0), after_step(3.0), by_group(3.0), until(3.0, 4)]
)
def test_a_rule_gives_one_float32_per_rank(rule):
    assert rule(SIZES).shape == (8,) and rule(SIZES).dtype == torch.float32


def test_the_rules():
    assert constant(2.5)(SIZES).tolist() == [2.5] * 8
    assert linear(5.0)(SIZES).tolist() == [1 + 4 * r / 8 for r in range(8)]
    assert before_step(5.0)(SIZES).tolist() == [1.0] + [1.5] * 3 + [3.0] * 4
    assert after_step(5.0)(SIZES).tolist() == [1.5] + [3.0] * 3 + [5.0] * 4
    assert by_group(4.0)(SIZES).tolist() == [1.0] + [2.5] * 3 + [4.0] * 4
    assert until(3.0, 4)(SIZES).tolist() == [3.0] * 4 + [1.0] * 4
    assert until(3.0, 99)(SIZES).tolist() == [3.0] * 8


def test_nar_guides_whole_diagonals():
    assert nar.until(3.0, 1)(SIZES).tolist() == [3.0] * 4 + [1.0] * 4
    assert nar.until(3.0, 3)(SIZES).tolist() == [3.0] * 4 + [1.0] * 4
    assert nar.until(3.0, 4)(SIZES).tolist() == [3.0] * 8


def test_one_group_by_group_is_unguided():
    assert by_group(3.0)((5,)).tolist() == [1.0] * 5


@pytest.mark.parametrize("make", [lambda: constant(math.nan), lambda: linear(math.inf), lambda: until(2.0, -1)])
def test_bad_settings_are_refused(make):
    with pytest.raises(UsageError):
        make()
