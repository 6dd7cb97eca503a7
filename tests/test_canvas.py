import pytest
import torch

from parvis.canvas import Canvas


def test_an_empty_canvas_knows_nothing():
    canvas = Canvas.empty(2, 5)
    assert canvas.values.dtype == torch.long and canvas.values.shape == (2, 5)
    assert not canvas.known.any() and (canvas.batch, canvas.tokens) == (2, 5)
    assert Canvas.empty(2, 5, channels=3).values.shape == (2, 5, 3)


@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize("positions", [torch.tensor([4, 1]), torch.tensor([[4, 1], [0, 2]])])
def test_what_is_written_is_read_and_known_and_nothing_else(channels, positions):
    canvas = Canvas.empty(2, 5, channels=channels)
    values = torch.arange(4).reshape(2, 2) + 1
    if channels:
        values = values[..., None].expand(-1, -1, channels).float()
    canvas.write(positions, values)
    assert torch.equal(canvas.read(positions), values)
    rows = positions.expand(2, 2).tolist()
    assert [set(canvas.known[b].nonzero().flatten().tolist()) for b in range(2)] == [set(r) for r in rows]
    assert (canvas.values[~canvas.known] == 0).all()


def test_values_of_another_shape_are_a_mistake():
    with pytest.raises(AssertionError):
        Canvas.empty(2, 5).write(torch.tensor([1]), torch.zeros(2, 2, dtype=torch.long))
