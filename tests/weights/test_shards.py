"""Weights in several files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from parvis.errors import UsageError, WeightsError
from parvis.weights.config import FolderConfig
from parvis.weights.folder import in_8_bits, load_tensors, save_folder, verify_folder
from parvis.weights.int8 import from_int8, to_int8
from parvis.weights.shards import parse_size, parts, split

STATE = {f"layer.{i}": torch.arange(10.0) + i for i in range(5)}  # 40 bytes each
EXPECTED = {name: ((10,), "float") for name in STATE}


def shard(i: int, n: int) -> str:
    return f"model-{i:05d}-of-{n:05d}.safetensors"


def test_files_are_filled_one_after_the_other() -> None:
    made = split("model.safetensors", STATE, 90)
    assert {name: len(held) for name, held in made.items()} == {shard(1, 3): 2, shard(2, 3): 2, shard(3, 3): 1}
    assert [key for held in made.values() for key in held] == list(STATE)
    assert list(split("model.safetensors", STATE, 200)) == ["model.safetensors"]
    assert len(split("model.safetensors", STATE, 1)) == 5


def test_scales_stay_with_their_matrix() -> None:
    state = to_int8({"a": torch.randn(8, 8), "b": torch.randn(8, 8)}, least=1)
    for held in split("model.safetensors", state, 64).values():
        assert {name.removesuffix(".scale") for name in held} <= set(held)


def saved(folder: Path, state: dict[str, Tensor], limit: int) -> Path:
    save_folder(folder, FolderConfig("toy"), {"model.safetensors": state}, max_shard_bytes=limit)
    return folder


def test_what_was_divided_comes_back_whole(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", STATE, 90)
    assert sorted(os.listdir(folder)) == ["config.json", shard(1, 3), shard(2, 3), shard(3, 3)]
    assert verify_folder(folder).parameters == 50
    found = load_tensors(folder, EXPECTED)
    assert found.keys() == STATE.keys() and all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_eight_bits_are_read_from_shards(tmp_path: Path) -> None:
    state = to_int8({name: torch.randn(8, 8) for name in "abc"}, least=1)
    folder = saved(tmp_path / "m", state, 64)
    assert len(os.listdir(folder)) == 4 and in_8_bits(folder) == {"a", "b", "c"}
    found = load_tensors(folder, {name: ((8, 8), "float") for name in "abc"})
    assert all(torch.equal(found[name], wide) for name, wide in from_int8(state).items())
    assert verify_folder(folder).parameters == 3 * 64


def test_missing_and_doubled_parts_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", STATE, 90)
    (folder / shard(2, 3)).unlink()
    with pytest.raises(WeightsError, match="not there"):
        load_tensors(folder, EXPECTED)
    config = json.loads((folder / "config.json").read_text())
    del config["files"][shard(2, 3)]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="2 of 3 shards"):
        load_tensors(folder, EXPECTED)
    twice = tmp_path / "twice"
    files = {shard(1, 2): {"layer.0": STATE["layer.0"]}, shard(2, 2): STATE}
    save_folder(twice, FolderConfig("toy"), files)
    with pytest.raises(WeightsError, match="in another file as well"):
        load_tensors(twice, EXPECTED)


def test_one_file_comes_before_shards_and_nothing_is_nothing() -> None:
    assert parts("model.safetensors", ["model.safetensors", shard(1, 1)]) == ["model.safetensors"]
    assert parts("model.safetensors", ["tokenizer.safetensors"]) == ["model.safetensors"]
    assert parts("model.safetensors", [shard(1, 1), "tokenizer-00001-of-00002.safetensors"]) == [shard(1, 1)]


@pytest.mark.parametrize(("given", "size"), [("5GB", 5 * 10**9), (7, 7), ("1.5 KiB", 1536), ("200MB", 2 * 10**8)])
def test_sizes(given: int | str, size: int) -> None:
    assert parse_size(given) == size


@pytest.mark.parametrize("wrong", ["", "GB", "5XB", 0, -3, "0.1"])
def test_wrong_sizes(wrong: int | str) -> None:
    with pytest.raises(UsageError, match="no file size"):
        parse_size(wrong)
