"""LPD's own parts."""

from __future__ import annotations

import torch

from parvis.grid import Grid
from parvis.systems.lpd import stretched


def test_stretching_keeps_prefix_and_smooth_fields() -> None:
    """A linear ramp over the image stays that ramp at the new cells' centres, away from the border
    (nearly: PyTorch's bicubic kernel, a = -0.75, bends a ramp a little)."""
    old, new = Grid.square(8), Grid.square(16)
    y, x = old.coords()[:, 2].float(), old.coords()[:, 3].float()
    table = torch.cat([torch.full((1, 2), 7.0), torch.stack([y, x], 1)])
    wide = stretched(table, old, new)
    assert wide.shape == (257, 2) and torch.equal(wide[0], table[0])
    centres = (new.coords()[:, 2:].float() + 0.5) / 2 - 0.5
    inside = ((centres > 1) & (centres < 6)).all(1)
    torch.testing.assert_close(wide[1:][inside], centres[inside], atol=0.06, rtol=0)


def test_stretching_to_the_same_grid_changes_nothing() -> None:
    grid = Grid.image(4, 6)
    table = torch.randn(24, 3)
    torch.testing.assert_close(stretched(table, grid, grid), table)
