"""A system whose parts do not fit is refused when it is built, with a message that says which."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from parvis.errors import IncompatibleParts, UsageError
from parvis.grid import Grid
from parvis.model.context import ClassCondition, LatentNullCondition
from parvis.model.framing import content
from parvis.model.transformer import Transformer
from parvis.system import Preset
from parvis.systems import llamagen, lpd, var
from toys import SIZE, VOCABULARY, toy


def lpd_of(grid: Grid, vocabulary: int = VOCABULARY) -> Transformer:
    return lpd.transformer(SIZE, grid, vocabulary=vocabulary, condition=LatentNullCondition(5, SIZE.width))


def test_one_model_must_be_called_main() -> None:
    system = toy("lpd")
    with pytest.raises(IncompatibleParts, match=r"toy-lpd: models are \['draft'\]; one of them must be called 'main'"):
        replace(system, models={"draft": system.models["main"]})


@pytest.mark.parametrize("steps", [0, 25])
def test_the_preset_must_be_possible(steps: int) -> None:
    with pytest.raises(IncompatibleParts, match=rf"preset of {steps} steps for 24 tokens; needs 1 to 24"):
        replace(toy("lpd"), preset=Preset(steps))


def test_model_and_tokenizer_must_have_one_vocabulary() -> None:
    with pytest.raises(IncompatibleParts, match="'main' predicts 9 codes but the tokenizer has 17"):
        replace(toy("lpd"), models={"main": lpd_of(Grid.image(4, 6), 9)})


def test_codes_and_latents_do_not_mix() -> None:
    with pytest.raises(IncompatibleParts, match="'main' predicts latents of 3 channels but the tokenizer has 17 codes"):
        replace(toy("mar"), tokenizer=toy("lpd").tokenizer)
    with pytest.raises(IncompatibleParts, match="'main' predicts 17 codes but the tokenizer has latents of 3 channels"):
        replace(toy("lpd"), tokenizer=toy("mar").tokenizer)


@pytest.mark.parametrize("grid", [Grid.image(4, 4), Grid.image(6, 4), Grid(((6, 2, 2),))])
def test_model_and_system_must_have_one_grid(grid: Grid) -> None:
    """Also where the number of tokens is the same."""
    with pytest.raises(
        IncompatibleParts, match=r"'main' was built for the grid .* but the system's is \(\(1, 4, 6\),\)"
    ):
        replace(toy("lpd"), models={"main": lpd_of(grid)})


def test_every_model_is_checked() -> None:
    system = toy("lpd")
    with pytest.raises(IncompatibleParts, match="model 'refine' predicts"):
        replace(system, models={**system.models, "refine": lpd_of(system.grid, 9)})


def test_the_content_framing_needs_a_view() -> None:
    system = toy("var")
    grid = system.grid
    blind = var.transformer(SIZE, grid, vocabulary=VOCABULARY, channels=8, classes=5)
    blind.view = None
    with pytest.raises(IncompatibleParts, match="the content framing and a view layer need each other; model 'main'"):
        replace(system, models={"main": blind})
    seeing = lpd_of(toy("lpd").grid)
    seeing.view = nn.Linear(8, SIZE.width)
    with pytest.raises(IncompatibleParts, match="need each other"):
        replace(toy("lpd"), models={"main": seeing})


def test_the_content_framing_needs_a_tokenizer_that_shows_the_coarse_image() -> None:
    raster = toy("raster")
    model = llamagen.transformer(SIZE, raster.grid, vocabulary=VOCABULARY, condition=ClassCondition(5, SIZE.width))
    model.framing, model.view = content, nn.Linear(8, SIZE.width)
    with pytest.raises(IncompatibleParts, match="which VQGAN cannot show; use a multi-scale tokenizer"):
        replace(raster, models={"main": model})


def test_such_an_error_is_a_usage_error() -> None:
    assert issubclass(IncompatibleParts, UsageError) and IncompatibleParts.exit_code == 2
