"""PAR, LlamaGen off the square and from text against plain decoding; batches whose images have orders of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from parvis.engine.runner import run
from parvis.generate import begin
from parvis.grid import Grid
from parvis.model.base import Model
from parvis.model.context import ClassCondition, Features, Given
from parvis.noise import Noise
from parvis.order import Order, diagonals, halton, random, raster, regions
from parvis.request import Request
from parvis.sampling import Sampling
from parvis.system import Preset, System
from parvis.systems import llamagen, par
from plain import Row, decode_raster
from plain_fixed import decode_par, decode_text
from toys import CLASSES, EVERY, SIZE, VOCABULARY, given, toy

LABELS = torch.tensor([3, 0])


def of_size(name: str, grid: Grid, model: Model, order: Order) -> System:
    """The toy ``name`` with another image; random weights large enough to matter."""
    generator = torch.Generator().manual_seed(3)
    for key, parameter in model.named_parameters():
        normal = 1.0 if "norm" in key else 0.0
        parameter.data.copy_(normal + 0.3 * torch.randn(parameter.shape, generator=generator))
    made: Callable[..., Order] = lambda *_: order  # noqa: E731
    models = {"main": model.eval().requires_grad_(False)}
    return replace(toy(name), grid=grid, models=models, order=made, preset=Preset(len(order.sizes)))


def decode(system: System, condition: Given, scale: float) -> tuple[Order, torch.Tensor, torch.Tensor]:
    """The order, and codes and logits in it, of two images."""
    request = Request(condition, (0, 1), guidance=scale, sampling=Sampling(top_k=1))
    with torch.inference_mode():
        job, runner = begin(system, request, torch.device("cpu"))
        logits = [prediction.logits for _, prediction in run(system.decoder, job, runner)]
    return job.order, job.canvas.read(job.order.batch(2)), torch.cat(logits, 1)


def assert_near(ours: torch.Tensor, plain: list[Row]) -> None:
    laws = torch.stack(plain)
    assert (ours - laws).abs().max() <= 1e-5 * max(1.0, float(laws.abs().max()))


@pytest.mark.parametrize(
    ("height", "width", "side", "image", "scale"),
    [(4, 4, 2, 0, 3.0), (4, 6, 2, 1, 1.0), (3, 3, 3, 0, 2.0), (2, 6, 2, 1, 3.0), (2, 3, 1, 0, 2.0)],
)
def test_par_equals_plain_decoding(height: int, width: int, side: int, image: int, scale: float) -> None:
    """Among the sizes one region, which is LlamaGen's order, and nine, all cells at once but one of each."""
    grid = Grid.image(height, width)
    model = par.transformer(SIZE, grid, side * side, vocabulary=VOCABULARY, classes=CLASSES)
    system = of_size("par", grid, model, regions(grid, side * side))
    order, made, logits = decode(system, LABELS, scale)
    codes, laws = decode_par(model, SIZE.heads, int(LABELS[image]), (height, width), side, scale)
    cells = [divmod(position, width) for position in order.positions.tolist()]
    assert made[image].tolist() == [codes[cell] for cell in cells]
    assert_near(logits[image], laws)


@pytest.mark.parametrize(("height", "width", "image", "scale"), [(3, 5, 0, 2.5), (5, 2, 1, 1.0)])
def test_raster_off_the_square_equals_plain_decoding(height: int, width: int, image: int, scale: float) -> None:
    grid = Grid.image(height, width)
    condition = ClassCondition(CLASSES, SIZE.width)
    model = llamagen.transformer(SIZE, grid, vocabulary=VOCABULARY, condition=condition)
    _, made, logits = decode(of_size("raster", grid, model, raster(grid)), LABELS, scale)
    codes, laws = decode_raster(model, SIZE.heads, int(LABELS[image]), height, width, scale)
    assert made[image].tolist() == codes
    assert_near(logits[image], laws)


@pytest.mark.parametrize(("image", "scale"), [(0, 2.0), (1, 2.0), (1, 1.0)])
def test_llamagen_from_text_equals_plain_decoding(image: int, scale: float) -> None:
    """Prompts of one and two words in four slots, padding in front."""
    system = toy("text")
    prompt = given(system, 2)
    assert isinstance(prompt, Features) and prompt.visible.sum(1).tolist() == [1, 2]
    _, made, logits = decode(system, prompt, scale)
    model = system.models["main"]
    codes, laws = decode_text(model, SIZE.heads, prompt.values[image], prompt.visible[image], (3, 3), scale)
    assert made[image].tolist() == codes
    assert_near(logits[image], laws)


@pytest.mark.parametrize("name", [name for name in EVERY if toy(name).takes_any_order])
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_a_batch_may_mix_orders(name: str, scale: float) -> None:
    """Raster, diagonals, halton and random in one batch, groups alike: every image is the one that it is alone."""
    system = toy(name)
    grid, sizes = system.grid, (1, 2, 5, system.grid.tokens - 8)
    plans = [raster(grid), diagonals(grid), halton(grid, sizes), random(grid, sizes, Noise((3,)))]
    lines = torch.stack([plan.batch(1)[0] for plan in plans])
    condition = given(system, 4)

    def drawn(rows: torch.Tensor, conditions: Given, seeds: tuple[int, ...]) -> torch.Tensor:
        made = replace(system, order=lambda *_: Order(rows, sizes))
        with torch.inference_mode():
            job, runner = begin(made, Request(conditions, seeds, guidance=scale), torch.device("cpu"))
            for _ in run(made.decoder, job, runner):
                pass
        return job.canvas.values

    together = drawn(lines, condition, (4, 4, 4, 9))
    for image in range(4):
        alone = drawn(lines[image : image + 1], condition[image : image + 1], ((4, 4, 4, 9)[image],))  # type: ignore[index]
        torch.testing.assert_close(together[image], alone[0], atol=2e-4, rtol=2e-4)
    assert not torch.equal(together[0], together[1])
