"""Matrices stored in 8 bits: as near as promised, smaller, and checked like all others."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from parvis.errors import WeightsError
from parvis.weights.config import FolderConfig
from parvis.weights.folder import load_tensors, save_folder, verify_folder
from parvis.weights.int8 import from_int8, to_int8

FILE = "model.safetensors"
EXPECTED = {"w": ((64, 256), "float"), "b": ((64,), "float"), "small": ((2, 3), "float"), "step": ((), "integer")}


def state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 256, generator=generator) * torch.logspace(-4, 4, 64)[:, None]
    weight[7] = 0
    return {"w": weight, "b": torch.ones(64), "small": torch.randn(2, 3), "step": torch.tensor(3)}


def saved(folder: Path, tensors: dict[str, Tensor]) -> Path:
    save_folder(folder, FolderConfig("toy"), {FILE: tensors})
    return folder


def test_every_value_is_within_half_a_step_of_its_row() -> None:
    weight = state()["w"]
    back = from_int8(to_int8(state()))
    step = weight.abs().amax(1, keepdim=True) / 127
    assert bool(((back["w"] - weight).abs() <= step * 0.5001).all())
    assert torch.equal(back["w"][7], torch.zeros(256))
    assert not torch.equal(back["w"], weight)


def test_small_and_whole_tensors_stay_as_they_are() -> None:
    before, back = state(), from_int8(to_int8(state()))
    assert set(back) == set(before)
    assert all(torch.equal(back[name], before[name]) for name in ("b", "step"))


def test_a_folder_holds_them_and_gives_floats(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", to_int8(state()))
    assert verify_folder(folder).parameters == 64 * 256 + 64 + 6 + 1
    assert (folder / FILE).stat().st_size < 64 * 256 * 2
    tensors = load_tensors(folder, EXPECTED)
    assert tensors["w"].dtype == torch.float32
    assert torch.equal(tensors["w"], from_int8(to_int8(state()))["w"])


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (torch.ones(63), "is integer, expected float"),
        (torch.ones(64, dtype=torch.int32), "is integer"),
        (None, "is integer"),
    ],
)
def test_whole_numbers_without_fitting_scales_are_refused(tmp_path: Path, scale: Tensor | None, message: str) -> None:
    stored = to_int8(state())
    del stored["w.scale"]
    folder = saved(tmp_path / "m", stored | ({} if scale is None else {"w.scale": scale}))
    with pytest.raises(WeightsError, match="'w' is integer, expected float"):
        load_tensors(folder, EXPECTED)


def test_a_shape_is_checked_in_8_bits_too(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", to_int8(state()))
    with pytest.raises(WeightsError, match=r"'w' has shape \[64, 256\], expected \[64, 128\]"):
        load_tensors(folder, EXPECTED | {"w": ((64, 128), "float")})
    assert safetensors.torch.load_file(folder / FILE)["w"].dtype == torch.int8
