import pytest
import torch

from parvis.errors import UsageError
from parvis.grid import Grid


def test_an_image_is_one_flat_scale():
    grid = Grid.image(3, 5)
    assert (grid.tokens, grid.height, grid.width, grid.offsets, grid.flat) == (15, 3, 5, (0, 15), True)
    assert Grid.square(4) == Grid.image(4, 4)


def test_coords_are_raster_inside_a_scale_and_scales_follow_each_other():
    grid = Grid(((1, 1, 1), (2, 2, 3)))
    assert grid.offsets == (0, 1, 13)
    assert not grid.flat
    assert grid.coords().dtype == torch.long
    assert grid.coords()[0].tolist() == [0, 0, 0, 0]
    expected = [[1, t, y, x] for t in range(2) for y in range(2) for x in range(3)]
    assert grid.coords()[1:].tolist() == expected
    assert grid.coords() is grid.coords()


def test_a_pyramid_measures_its_last_scale():
    grid = Grid.pyramid((1, 2, 4))
    assert (grid.tokens, grid.height, grid.width, grid.offsets) == (21, 4, 4, (0, 1, 5, 21))
    assert not grid.flat


def test_a_clip_is_not_flat():
    assert not Grid(((2, 3, 3),)).flat


@pytest.mark.parametrize("scales", [(), ((1, 0, 4),), ((1, 2),), ((1, 2.0, 2),), ((1, True, 2),)])
def test_bad_scales_are_refused(scales):
    with pytest.raises(UsageError):
        Grid(scales)
