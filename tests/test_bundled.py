"""The models that come with Parvis: small enough, described, whole, and able to draw what they are asked for."""

from __future__ import annotations

import numpy as np
import pytest

import parvis
from parvis.weights.catalog import bundled
from parvis.weights.folder import load_config, verify_folder

NAMES = sorted(bundled())
FEW = {"emoji-64": 10, "emoji-64-raster": 64, "emoji-128": 20}


def test_all_models_together_stay_under_40_megabytes() -> None:
    assert sum(file.stat().st_size for folder in bundled().values() for file in folder.iterdir()) < 40e6


@pytest.mark.parametrize("name", NAMES)
def test_each_is_whole_and_has_a_card(name: str) -> None:
    config = verify_folder(bundled()[name])
    card = (bundled()[name] / "README.md").read_text()
    for part in ("**Model.**", "**Data.**", "**Training.**", "**What it reached**", "**Licence.**"):
        assert part in card, f"the card of {name} has no {part}"
    assert f"{int(config.about['images']):,}" in card


def test_the_pair_was_trained_on_as_many_pictures_with_one_tokenizer() -> None:
    lpd, raster = (load_config(bundled()[name]) for name in ("emoji-64", "emoji-64-raster"))
    assert lpd.about["images"] == raster.about["images"] and lpd.about["tokenizer"] == raster.about["tokenizer"]
    assert lpd.files["tokenizer.safetensors"] == raster.files["tokenizer.safetensors"]
    assert abs(lpd.parameters / raster.parameters - 1) < 0.05


@pytest.mark.parametrize("name", NAMES)
def test_colours_follow_the_prompt(name: str) -> None:
    """A red heart is red and a blue one blue; the corners are white."""
    images = parvis.load(name).generate(["red heart", "blue heart"], seed=3)
    assert images.passes == FEW[name]
    for image, strong, weak in zip(images, (0, 2), (2, 0), strict=True):
        pixels = np.asarray(image).astype(int)
        drawn = pixels[pixels.min(2) < 200]
        assert len(drawn) > 0.1 * pixels[..., 0].size
        assert np.median(drawn[:, strong] - drawn[:, weak]) > 50
        assert pixels[-2:, -2:].min() > 230
