"""Positions: rotary against complex numbers, learned tables by grid cell and by scale."""

from __future__ import annotations

import pytest
import torch

from parvis.grid import Grid
from parvis.model.position import LearnedPositions, Rotary, rotate
from plain import turned

VIDEO = Grid(((2, 3, 4),))


@pytest.mark.parametrize(
    ("grid", "axes", "width", "theta"),
    [
        (Grid.image(3, 5), (2, 3), 16, 10000.0),
        (Grid.square(4), (2, 3), 100, 10000.0),  # the head width of LlamaGen-3B
        (VIDEO, (1, 2, 3), 12, 10000.0),
        (VIDEO, (3,), 6, 100.0),
        (Grid.pyramid((1, 2)), (0, 2, 3), 18, 10.0),
    ],
)
def test_rotary_equals_complex_multiplication(grid: Grid, axes: tuple[int, ...], width: int, theta: float) -> None:
    generator = torch.Generator().manual_seed(0)
    positions = torch.randperm(grid.tokens, generator=generator)[:7]
    x = torch.randn(2, 3, len(positions), width, generator=generator)
    cos, sin = Rotary(grid, width, axes, theta).at(positions.expand(2, -1))
    ours = rotate(x, (cos[:, None], sin[:, None]))
    for row, position in enumerate(positions.tolist()):
        where = grid.coords()[position, list(axes)].tolist()
        plain = turned(x[1, :, row].double().flatten(), 3, where, theta).view(3, width)
        torch.testing.assert_close(ours[1, :, row].double(), plain, atol=1e-5, rtol=1e-5)


def test_rotary_depends_on_distance_alone() -> None:
    grid, generator = Grid.square(8), torch.Generator().manual_seed(1)
    q, k = torch.randn(2, 1, 1, 1, 16, generator=generator)
    rotary = Rotary(grid, 16)

    def score(a: int, b: int) -> float:
        turns = [[t[None, None, None] for t in rotary.at(torch.tensor(p))] for p in (a, b)]
        return float((rotate(q, tuple(turns[0])) * rotate(k, tuple(turns[1]))).sum())  # type: ignore[arg-type]

    assert score(0, 19) == pytest.approx(score(9, 28), abs=1e-4) == pytest.approx(score(36, 55), abs=1e-4)
    assert abs(score(0, 19) - score(0, 20)) > 1e-3


def test_a_row_without_a_position_vanishes() -> None:
    x, rows = torch.randn(1, 1, 2, 8), torch.zeros(1, 2, dtype=torch.long)
    cos, sin = Rotary(Grid.square(4), 8).nowhere(rows)
    assert torch.equal(rotate(x, (cos[:, None], sin[:, None])), torch.zeros_like(x))


def test_a_row_without_a_position_stays_unturned_where_rows_must_be_told_apart() -> None:
    x, rows = torch.randn(1, 1, 2, 8), torch.zeros(1, 2, dtype=torch.long)
    cos, sin = Rotary(Grid.square(4), 8, vanish=False).nowhere(rows)
    assert torch.equal(rotate(x, (cos[:, None], sin[:, None])), x)


def test_angles_stay_exact_in_a_model_of_half_precision() -> None:
    positions = torch.arange(256)
    exact, half = Rotary(Grid.square(16), 64), Rotary(Grid.square(16), 64).to(torch.bfloat16)
    for a, b in zip(exact.at(positions), half.at(positions), strict=True):
        assert b.dtype == torch.float32 and torch.equal(a, b)
    x = torch.randn(1, 1, 256, 64, dtype=torch.bfloat16)
    assert rotate(x, tuple(t[None, None] for t in half.at(positions))).dtype == torch.bfloat16  # type: ignore[arg-type]


def test_a_head_that_does_not_divide_over_the_axes_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="does not divide"):
        Rotary(Grid.square(2), 10)


def numbered(table: LearnedPositions) -> LearnedPositions:
    table.table.data.copy_(torch.arange(len(table.table))[:, None].expand_as(table.table))
    return table


def test_learned_positions_lie_behind_those_of_the_prefix() -> None:
    table = numbered(LearnedPositions(Grid.image(2, 3), 4, prefix=1))
    assert table.table.shape == (7, 4)
    assert table.at(torch.tensor([[0, 5], [3, 1]]))[..., 0].tolist() == [[1, 6], [4, 2]]
    prefix = table.of_prefix(torch.tensor([0]))
    assert prefix is not None and prefix[:, 0].tolist() == [0]


def test_a_condition_that_brings_its_own_positions_gets_none() -> None:
    table = numbered(LearnedPositions(Grid.image(2, 3), 4, prefix=0))
    assert table.of_prefix(torch.arange(3)) is None
    assert table.at(torch.tensor([5]))[0, 0] == 5


def test_the_start_row_of_a_pyramid_stands_on_the_first_scale() -> None:
    table = numbered(LearnedPositions(Grid.pyramid((1, 2, 3)), 4, prefix=1, overlap=True, levels=True))
    assert table.table.shape == (14, 4) and table.level is not None and table.level.shape == (3, 4)
    table.level.data.copy_(torch.tensor([100.0, 200.0, 300.0])[:, None].expand(3, 4))
    prefix = table.of_prefix(torch.tensor([0]))
    assert prefix is not None and prefix[0, 0] == 100
    assert table.at(torch.tensor([1, 4, 5, 13]))[:, 0].tolist() == [201, 204, 305, 313]
