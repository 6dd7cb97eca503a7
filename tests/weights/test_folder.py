"""Model folders: what was saved comes back, and nothing else is accepted."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from parvis.errors import OutputError, WeightsError
from parvis.weights.config import FolderConfig
from parvis.weights.folder import (
    expectation,
    load_config,
    load_document,
    load_tensors,
    save_folder,
    verify_folder,
)


def module() -> nn.Module:
    torch.manual_seed(0)
    layer = nn.Linear(4, 3)
    layer.register_buffer("step", torch.tensor(7))
    layer.register_buffer("seen", torch.tensor([True, False]))
    return layer


def saved(path: Path) -> Path:
    config = FolderConfig(
        "toy", {"width": 4, "model": {"layers": 2, "sides": [1, 2]}}, "words.json", {"licence": "CC0"}
    )
    save_folder(path, config, {"model.safetensors": module().state_dict()}, {"words.json": ["red", "ä"]})
    return path


def change(folder: Path, edit: dict[str, Any]) -> None:
    """Overwrite keys (``a.b`` = nested) of config.json."""
    content = json.loads((folder / "config.json").read_text())
    for name, value in edit.items():
        *parents, last = name.split("/")
        inner = content
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    (folder / "config.json").write_text(json.dumps(content))


def refresh(folder: Path, name: str) -> None:
    """Make config.json agree with a file that was changed, as an attacker would."""
    data = (folder / name).read_bytes()
    change(folder, {f"files/{name}": {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}})


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    folder = saved(tmp_path / "toy")
    config = verify_folder(folder)
    assert config.system == "toy" and config.arguments["model"] == {"layers": 2, "sides": [1, 2]}
    assert config.parameters == 4 * 3 + 3 + 1 + 2
    assert load_document(folder, "words.json") == ["red", "ä"]
    tensors = load_tensors(folder, expectation(module()))
    for name, tensor in module().state_dict().items():
        assert torch.equal(tensors[name], tensor) and tensors[name].dtype == tensor.dtype
    assert os.listdir(tmp_path) == ["toy"]


def test_a_meta_module_says_what_is_expected() -> None:
    with torch.device("meta"):
        assert expectation(nn.Linear(10**6, 10**6))["weight"] == ((10**6, 10**6), "float")


def test_tied_and_strided_tensors_can_be_saved(tmp_path: Path) -> None:
    weight = torch.arange(6.0).view(2, 3)
    save_folder(tmp_path / "m", FolderConfig("toy"), {"model.safetensors": {"a": weight, "b": weight, "c": weight.T}})
    expected = {"a": ((2, 3), "float"), "b": ((2, 3), "float"), "c": ((3, 2), "float")}
    assert torch.equal(load_tensors(tmp_path / "m", expected)["c"], weight.T)


def test_saving_replaces_a_model_folder_and_nothing_else(tmp_path: Path) -> None:
    folder = saved(tmp_path / "toy")
    save_folder(folder, FolderConfig("other"), {"model.safetensors": {"a": torch.zeros(1)}})
    assert load_config(folder).system == "other" and sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]
    holiday = tmp_path / "holiday"
    holiday.mkdir()
    (holiday / "photo.txt").write_text("dear")
    with pytest.raises(OutputError, match="choose another name"):
        save_folder(holiday, FolderConfig("toy"), {"model.safetensors": {"a": torch.zeros(1)}})
    assert (holiday / "photo.txt").read_text() == "dear"
    assert sorted(os.listdir(tmp_path)) == ["holiday", "toy"]


def test_a_failed_save_leaves_the_old_version(tmp_path: Path) -> None:
    folder = saved(tmp_path / "toy")
    with pytest.raises(WeightsError, match="width"):
        save_folder(folder, FolderConfig("toy", {"width": 10**6}), {"model.safetensors": {"a": torch.zeros(1)}})
    assert verify_folder(folder).arguments["width"] == 4
    assert os.listdir(tmp_path) == ["toy"]


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    folder = saved(tmp_path / "toy")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(WeightsError, match="not whole"):
        load_tensors(folder, expectation(module()))
    refresh(folder, "model.safetensors")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_tensors(folder, expectation(module()))


@pytest.mark.parametrize("place", [-1, -20])
def test_one_flipped_bit_is_refused(tmp_path: Path, place: int) -> None:
    folder = saved(tmp_path / "toy")
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[place] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(WeightsError, match="SHA-256"):
        load_tensors(folder, expectation(module()))
    with pytest.raises(WeightsError, match="SHA-256"):
        verify_folder(folder)


def test_a_damaged_vocabulary_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "toy")
    (folder / "words.json").write_bytes((folder / "words.json").read_bytes().replace(b"red", b"rot"))
    with pytest.raises(WeightsError, match="SHA-256"):
        load_document(folder, "words.json")


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("hostile-was-here",)


def test_a_pickle_named_safetensors_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = saved(tmp_path / "toy")
    (folder / "model.safetensors").write_bytes(pickle.dumps(Hostile()))
    refresh(folder, "model.safetensors")
    for use in (verify_folder, lambda f: load_tensors(f, expectation(module()))):
        with pytest.raises(WeightsError, match="not a safetensors file"):
            use(folder)
    assert not (tmp_path / "hostile-was-here").exists()


def test_a_header_that_lies_about_sizes_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "toy")
    header = json.dumps({"weight": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 64)
    refresh(folder, "model.safetensors")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_tensors(folder, {"weight": ((1 << 40,), "float")})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"weight": ((4, 3), "float")}, r"'weight' has shape \[3, 4\], expected \[4, 3\]"),
        ({"weight": ((3, 4), "integer")}, "'weight' is float, expected integer"),
        ({"step": ((), "float")}, "'step' is integer, expected float"),
        ({"seen": ((2,), "integer")}, "'seen' is bool, expected integer"),
        ({"more": ((1,), "float")}, "'more' missing"),
    ],
)
def test_names_shapes_and_dtypes_must_agree(tmp_path: Path, edit: dict[str, Any], message: str) -> None:
    folder = saved(tmp_path / "toy")
    with pytest.raises(WeightsError, match=message):
        load_tensors(folder, {**expectation(module()), **edit})


def test_unexpected_tensors_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "toy")
    with pytest.raises(WeightsError, match="'bias', 'seen', 'step' not expected"):
        load_tensors(folder, {"weight": ((3, 4), "float")})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"system": "../../etc"}, "'system'"),
        ({"system": 3}, "'system'"),
        ({"format": "pickle"}, "'format'"),
        ({"version": 2}, "this Parvis reads 1"),
        ({"surprise": 1}, "unknown key 'surprise'"),
        ({"arguments": []}, "'arguments'"),
        ({"arguments/width": 16385}, "'arguments.width' is 16385"),
        ({"arguments/width": 0}, "'arguments.width'"),
        ({"arguments/width": True}, "'arguments.width'"),
        ({"arguments/width": 4.0}, "'arguments.width'"),
        ({"arguments/width": None}, "'arguments.width'"),
        ({"arguments/width": 10**300}, "'arguments.width'"),
        ({"arguments/model/layers": 257}, "'arguments.model.layers'"),
        ({"arguments/vocabulary": (1 << 20) + 1}, "'arguments.vocabulary'"),
        ({"arguments/model/width": 16384, "arguments/model/layers": 256}, "more than 34359738368 parameters"),
        ({"arguments/other": 10**9}, "'arguments.other'"),
        ({"arguments/other": [1] * 5000}, "5000 entries"),
        ({"arguments/other": [{}]}, "'arguments.other'"),
        ({"arguments/other": "x" * 5000}, "5000 characters"),
        ({"arguments/other": {"a": {"b": {"c": 1}}}}, "too deep"),
        ({"arguments/no name": 1}, "not the name of an argument"),
        ({"parameters": 1 << 36}, "'parameters'"),
        ({"parameters": -1}, "'parameters'"),
        ({"words": "../secret.json"}, "'words'"),
        ({"words": "model.safetensors"}, "'words'"),
        ({"about": {"licence": 3}}, "'about'"),
        ({"files": {}}, "'files'"),
        ({"files/..": {"bytes": 1, "sha256": "0" * 64}}, "plain"),
        ({"files/a/b.json": {"bytes": 1, "sha256": "0" * 64}}, "a"),
        ({"files/model.pt": {"bytes": 1, "sha256": "0" * 64}}, "plain"),
        ({"files/model.safetensors": {"bytes": 1, "sha256": "zz"}}, "64 hexadecimal digits"),
        ({"files/model.safetensors": {"bytes": "1", "sha256": "0" * 64}}, "bytes"),
        ({"files/model.safetensors": {"bytes": 1}}, "'sha256' is missing"),
    ],
)
def test_an_absurd_config_is_refused(tmp_path: Path, edit: dict[str, Any], message: str) -> None:
    folder = saved(tmp_path / "toy")
    if "files/a/b.json" in edit:  # a name with a slash in it cannot be written with `change`
        text = (folder / "config.json").read_text().replace('"words.json": {', '"a/b.json": {')
        (folder / "config.json").write_text(text)
        message = "plain"
    else:
        change(folder, edit)
    with pytest.raises(WeightsError, match=message) as caught:
        load_config(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "[" * 100_000, '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": ' + "9" * 5000 + "}", "\udcff", "null"],
)
def test_a_config_that_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(WeightsError):
        load_config(tmp_path)


def test_a_config_key_may_not_be_missing(tmp_path: Path) -> None:
    folder = saved(tmp_path / "toy")
    whole = json.loads((folder / "config.json").read_text())
    for name in whole:
        (folder / "config.json").write_text(json.dumps({key: value for key, value in whole.items() if key != name}))
        with pytest.raises(WeightsError, match=f"'{name}' is missing"):
            load_config(folder)


def test_an_endless_config_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "config.json", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(WeightsError, match="at most"):
        load_config(tmp_path)


def test_missing_folder_and_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is not a folder"):
        load_config(tmp_path / "nowhere")
    with pytest.raises(WeightsError, match=r"no config\.json"):
        load_config(tmp_path)
    folder = saved(tmp_path / "toy")
    with pytest.raises(WeightsError, match="lists no file"):
        load_tensors(folder, {}, file="other.safetensors")
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="not there"):
        load_tensors(folder, {})


def test_a_wrong_parameter_count_is_seen(tmp_path: Path) -> None:
    folder = saved(tmp_path / "toy")
    change(folder, {"parameters": 5})
    with pytest.raises(WeightsError, match=r"holds 18 parameters, config\.json says 5"):
        verify_folder(folder)
