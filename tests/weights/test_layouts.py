"""The table of layouts: every family is in it, and what it says is what the authors' code does."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor

from authors import TOYS, model_state, nested
from parvis.assemble import published, random_system
from parvis.decode.denoise import denoise
from parvis.grid import Grid
from parvis.model.transformer import Size
from parvis.order import cells
from parvis.pipeline import load
from parvis.system import Preset, System
from parvis.systems import PUBLISHED, SYSTEMS, xar
from parvis.tokenizer.kl import KL, KLConfig
from parvis.weights.convert import convert
from parvis.weights.keys import is_bijection
from parvis.weights.layouts import LAYOUTS, TOKENIZER_LAYOUTS, family, layout_of, var_buffers, xar_buffers
from toys import EVERY, FAMILIES, toy

GOLDEN = Path(__file__).parents[1] / "golden"


def test_every_family_with_public_weights_has_a_layout_and_a_toy() -> None:
    families = {family(name) for name in PUBLISHED}
    assert families <= set(LAYOUTS)
    assert {FAMILIES.get(name, name) for name in EVERY} >= families
    assert {type(toy(name).tokenizer) for name in TOYS} <= set(TOKENIZER_LAYOUTS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_arguments_rebuild_a_published_system_and_its_names_go_both_ways(name: str) -> None:
    with torch.device("meta"):
        again, direct = SYSTEMS[family(name)](**json.loads(json.dumps(published(name).arguments))), PUBLISHED[name]()
    assert again.name == direct.name == name
    ours, theirs = again.models["main"].state_dict(), direct.models["main"].state_dict()
    assert {k: t.shape for k, t in ours.items()} == {k: t.shape for k, t in theirs.items()}
    assert is_bijection(LAYOUTS[family(name)].keys, theirs)
    codes = direct.tokenizer
    assert is_bijection(layout_of(codes).keys, codes.state_dict())


CASES = {"llamagen": "llamagen_c2i", "llamagen-t2i": "llamagen_t2i", "lpd": "lpd", "par": "par_4", "var": "var"} | {
    name: name for name in ("arpg", "randar", "nar", "mar", "xar")
}


def recorded(case: str) -> dict[str, Tensor]:
    """The authors' state dict in a case."""
    with safe_open(GOLDEN / f"{case}.safetensors", "pt") as content:
        keys = [key for key in content.keys() if key.startswith("weights.")]  # noqa: SIM118
        return {key.removeprefix("weights."): content.get_tensor(key) for key in keys}


@pytest.mark.parametrize("name", TOYS)
def test_exported_names_ranks_and_types_are_the_authors(name: str) -> None:
    """Against a state dict that their code made: the same names up to layers, axes and types."""
    family = FAMILIES.get(name, name)
    if family == "nar-t2i":  # LlamaGen's with NAR's second head
        golden = recorded("llamagen_t2i") | {k: t for k, t in recorded("nar").items() if k.startswith("medusa")}
    else:
        golden = recorded(CASES[family])
    ours = model_state(name)
    assert {key for key in golden if ".1." not in key} == {key for key in ours if ".1." not in key} or (
        {key for key in golden if key.count(".0.")} == {key for key in ours if key.count(".0.")}
    )
    for key in set(ours) & set(golden):
        assert ours[key].ndim == golden[key].ndim, key
        assert [n == 1 for n in ours[key].shape[:2]] == [n == 1 for n in golden[key].shape[:2]], key
        assert ours[key].is_floating_point() == golden[key].is_floating_point(), key


@pytest.mark.parametrize("name", ["var"])
def test_buffers_that_the_authors_store_are_made_as_they_make_them(name: str) -> None:
    golden = safetensors.torch.load_file(GOLDEN / "var.safetensors")
    sides = json.loads((GOLDEN / "var.json").read_text())["config"]["patch_nums"]

    class Model:
        def state_dict(self) -> dict[str, Tensor]:
            weights = {key: tensor for key, tensor in golden.items() if "scale_mul" in key}
            return {"view.weight": golden["weights.word_embed.weight"]} | {
                f"blocks.{i}.attention.log_scale": tensor for i, tensor in enumerate(weights.values())
            }

    class Fake:
        models = {"main": Model()}  # noqa: RUF012
        grid = Grid.pyramid(sides)

    made = var_buffers(Fake())  # type: ignore[arg-type]
    assert len(made) == 4
    for key, tensor in made.items():
        assert torch.equal(tensor, golden[f"weights.{key}"]) and tensor.dtype == golden[f"weights.{key}"].dtype


def test_the_buffers_of_xar_are_made_as_its_authors_make_them() -> None:
    golden = safetensors.torch.load_file(GOLDEN / "xar.safetensors")
    grid, tokenizer = Grid.image(16, 16), KL(KLConfig(channels=32, multipliers=(1,)))
    model = xar.transformer(Size(1, 48, 3, 128), grid, 8)
    system = System(
        name="xar", cite="", grid=grid, tokenizer=tokenizer, models={"main": model},
        order=lambda grid, steps, noise: cells(grid, 8), decoder=denoise(((1.0, 0.0),)), guidance=xar.by_cell,
        preset=Preset(4),
    )  # fmt: skip
    made = xar_buffers(system)
    assert set(made) == {key[8:] for key in golden if key.startswith("weights.") and (".rope." in key or "mask" in key)}
    for key, tensor in made.items():
        torch.testing.assert_close(tensor, golden[f"weights.{key}"], atol=1e-6, rtol=0)


def written(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


SMALLEST = {
    "llamagen-b-256": None, "llamagen-t2i-xl-256": None, "lpd-l-256": None, "par-l-384-4x": None, "nar-b-256": None,
    "nar-t2i-xl-256": None, "arpg-l-256": None, "randar-l-256": None, "mar-b-256": 8, "xar-b-256": None,
    "var-d16-256": None,
}  # fmt: skip
"""The smallest published size of every family -> passes. MAR's preset of 256 is cut to 8 for the sake of time."""


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_a_published_size_from_random_weights_draws_by_its_preset(name: str, tmp_path: Path) -> None:
    """Random weights of full size in the authors' two files, nested as theirs are; converted, loaded, drawn."""
    system = random_system(name, 0)
    model, codes = LAYOUTS[family(name)], layout_of(system.tokenizer)
    state = model.keys.invert(system.models["main"].state_dict())[0] | model.derived(system)
    kept = codes.keys.invert(system.tokenizer.state_dict())[0] | codes.derived(system.tokenizer)
    args = {} if not model.nesting else {"args": argparse.Namespace(), "epoch": 1}
    file = written(tmp_path / "model.pth", nested(state, *model.nesting) | args)
    tokenizer = written(tmp_path / "tokenizer.pth", nested(kept, *codes.nesting))
    often, preset, side = system.passes_per_group or 1, system.preset, system.grid.width * system.tokenizer.factor
    features = torch.randn(1, 7, 2048) if system.takes == "features" else None
    del system, state, kept
    convert(file, name, tmp_path / "f", tokenizer=tokenizer)
    file.unlink()
    images = load(tmp_path / "f", device="cpu").generate(
        () if features is not None else 207, features=features, steps=SMALLEST[name]
    )
    assert images.passes == (SMALLEST[name] or preset.steps) * often and images[0].size == (side, side)
    assert images.settings["guidance"] == preset.guidance
    assert images.settings["top_k"] == preset.sampling.top_k and images.settings["top_p"] == preset.sampling.top_p
