"""Editing with every system: which can, what stays, and what those say that cannot."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from authors import model_state, published_toys, tokenizer_state
from parvis.cli import main
from parvis.edit import Edit
from parvis.errors import UsageError
from parvis.noise import Noise
from parvis.output import read_origin
from parvis.pipeline import Pipeline
from parvis.weights.convert import convert
from toys import EVERY, toy

ANY = tuple(name for name in EVERY if toy(name).edits == "any" and name != "words")  # words: tests/test_pipeline.py
PREFIX = tuple(name for name in EVERY if toy(name).edits == "prefix" and toy(name).grid.flat)


def pipeline(name: str) -> Pipeline:
    return Pipeline(copy.deepcopy(toy(name)), device="cpu", precision="fp32")


def size(system: Pipeline) -> tuple[int, int]:
    grid, factor = system.system.grid, system.system.tokenizer.factor
    return grid.width * factor, grid.height * factor


def picture(system: Pipeline) -> Image.Image:
    width, height = size(system)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def cells(system: Pipeline, redrawn: Tensor) -> Tensor:
    """The mask, bool [H, W], of the tokens ``redrawn``, bool [N]."""
    grid, factor = system.system.grid, system.system.tokenizer.factor
    return redrawn.view(grid.height, grid.width).repeat_interleave(factor, 0).repeat_interleave(factor, 1)


def drawn(system: Pipeline, edit: Edit) -> list[Image.Image]:
    """Two images of an edit; every step of theirs keeps what was known."""
    if system.system.takes == "features":
        what = {"features": torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(1))}
    else:
        what = {"prompts": [1, 3]}  # type: ignore[dict-item]
    values = system.system.tokenizer.encode(edit.pixels)
    known = edit.known(system.system.grid, system.system.tokenizer.factor, (5, 6))
    for step in system.stream(**what, seed=5, edit=edit):  # type: ignore[arg-type]
        assert bool(step.known[known].all())
        assert torch.equal(step._codes[known], values.expand_as(step._codes)[known])
    assert bool(step.known.all())
    assert int((~known[0]).sum()) < 4 or not torch.equal(step._codes[0], step._codes[1])
    return list(system.generate(**what, seed=5, edit=edit))  # type: ignore[arg-type]


def same_outside(images: list[Image.Image], original: Image.Image, mask: Tensor) -> None:
    for image in images:
        differs = torch.from_numpy((np.asarray(image) != np.asarray(original)).any(2))
        assert not bool(differs[~mask].any()) and bool(differs[mask].any())


@pytest.mark.parametrize("name", ANY)
def test_systems_of_any_order_keep_any_tokens(name: str) -> None:
    system = pipeline(name)
    original, tokens = picture(system), system.system.grid.tokens
    redrawn = torch.rand(tokens, generator=torch.Generator().manual_seed(2)) < 0.5
    mask = cells(system, redrawn)
    same_outside(drawn(system, system.prepare(original, mask=mask, feather=0)), original, mask)
    width, height = size(system)
    factor = system.system.tokenizer.factor
    inner = original.crop((factor, 0, width, height - factor))
    outside = torch.zeros(height, width, dtype=torch.bool)
    outside[:, :factor] = outside[height - factor :] = True
    same_outside(drawn(system, system.prepare(inner, margins=(factor, 0, 0, factor), feather=0)), original, outside)
    drawn(system, system.prepare(original, keep=0.4))


@pytest.mark.parametrize("name", PREFIX)
def test_systems_of_one_order_continue_it(name: str) -> None:
    system = pipeline(name)
    original = picture(system)
    order = system.system.order(system.system.grid, system.system.preset.steps, Noise((0,)))
    for group in (1, len(order.sizes) // 2, len(order.sizes) - 1):
        redrawn = torch.ones(order.tokens, dtype=torch.bool)
        redrawn[order.positions[: order.bounds[group]]] = False
        mask = cells(system, redrawn)
        same_outside(drawn(system, system.prepare(original, mask=mask, feather=0)), original, mask)
    first = torch.zeros(order.tokens, dtype=torch.bool)
    first[order.positions[0]] = True
    for edit in (system.prepare(original, mask=cells(system, first)), system.prepare(original, keep=0.5)):
        with pytest.raises(UsageError, match="continues what comes first in its order"):
            drawn(system, edit)


def test_systems_that_cannot_say_why() -> None:
    system = pipeline("par")
    mask = cells(system, torch.arange(16) >= 8)
    with pytest.raises(UsageError, match="cannot be given known tokens: its order is fixed and starts everywhere"):
        drawn(system, system.prepare(picture(system), mask=mask))
    system = pipeline("var")
    with pytest.raises(UsageError, match="only systems with one token per cell edit"):
        system.edit(Image.new("RGB", size(system)), 1, keep=0.5)


@pytest.mark.parametrize("name", ["lpd", "mar"])
def test_the_command_edits_with_a_class(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    system = pipeline(name)
    original = picture(system)
    mask = cells(system, torch.arange(24) % 3 == 1)
    original.save("picture.png")
    Image.fromarray(mask.numpy().astype(np.uint8) * 255).save("mask.png")
    for part, state in (("model", model_state(name)), ("tokenizer", tokenizer_state(name))):
        safetensors.torch.save_file(state, f"{part}.safetensors")
    with published_toys():
        convert("model.safetensors", f"toy-{name}", "toy", tokenizer="tokenizer.safetensors")
        call = "edit picture.png --mask mask.png --class 3 --model ./toy --feather 0 --seed 4 -n 2 --precision fp32"
        assert main(call.split()) == 0
    files = sorted(Path("out").iterdir())
    images = [Image.open(file) for file in files]
    same_outside(images, original, mask)
    want = system.edit(original, 3, mask=mask, feather=0, seed=4, n=2)
    assert [image.tobytes() for image in images] == [image.tobytes() for image in want]
    origin = read_origin(files[1])
    assert origin is not None and (origin.prompt, origin.seed, origin.settings["edit"]) == ("3", 5, "inpaint")
