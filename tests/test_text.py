"""Text features: padding, files, a T5 encoder, and the pipeline that takes them."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

import parvis
from authors import model_state, published_toys, tokenizer_state
from parvis import text
from parvis.cli import main
from parvis.errors import DataError, UsageError
from parvis.pipeline import Pipeline
from parvis.text import encode, features_of, pad_left, read_features
from parvis.weights.convert import convert
from toys import BUILDERS


def test_words_go_to_the_end_and_padding_is_zero() -> None:
    values = torch.arange(1.0, 13).view(2, 3, 2)
    features = pad_left(values, torch.tensor([[1, 0, 1], [1, 0, 0]]), 4)
    assert features.visible.tolist() == [[False, False, True, True], [False, False, False, True]]
    assert features.values.tolist() == [[[0, 0], [0, 0], [1, 2], [5, 6]], [[0, 0], [0, 0], [0, 0], [7, 8]]]


def test_left_padding_is_that_of_the_released_script() -> None:
    """Their way: flip the mask, rotate every prompt by its length, multiply."""
    values = torch.randn(3, 5, 2)
    mask = torch.arange(5) < torch.tensor([[1], [3], [5]])
    flipped = mask.flip(-1)
    rotated = torch.stack([torch.cat([v[n:], v[:n]]) for v, n in zip(values, mask.sum(1).tolist(), strict=True)])
    features = pad_left(values, mask, 5)
    assert torch.equal(features.values, rotated * flipped[:, :, None]) and torch.equal(features.visible, flipped)


@pytest.mark.parametrize(
    ("shape", "mask", "message"),
    [
        ((1, 3, 2), [[1, 1, 1]], "3 to 3 rows a prompt; needed are 1 to 2"),
        ((1, 3, 2), [[0, 0, 0]], "0 to 0 rows"),
        ((3, 2), [[1, 1, 1]], r"\[B, n, F\] with a mask"),
        ((1, 3, 2), [[1, 1]], r"got \[1, 3, 2\] and \[1, 2\]"),
    ],
)
def test_features_that_do_not_fit_are_refused(shape: tuple[int, ...], mask: list[list[int]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        pad_left(torch.zeros(shape), torch.tensor(mask), 2)


def test_files_of_features(tmp_path: Path) -> None:
    values = torch.randn(2, 3, 4)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    safetensors.torch.save_file({"features": values, "mask": mask}, tmp_path / "a.safetensors")
    read, seen = read_features(tmp_path / "a.safetensors")
    assert torch.equal(read, values) and seen is not None and torch.equal(seen, mask)
    np.save(tmp_path / "a.npy", values[0].numpy().astype(np.float16))
    read, seen = read_features(tmp_path / "a.npy")
    assert torch.equal(read, values[:1].half().float()) and seen is None


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "whole.npy", np.zeros((1, 2, 3), dtype=np.int64))
    np.save(tmp_path / "nan.npy", np.full((1, 2, 3), np.nan))
    (tmp_path / "text.safetensors").write_text("x")
    safetensors.torch.save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name in ("objects.npy", "whole.npy", "nan.npy", "text.safetensors", "other.safetensors", "none.npy"):
        with pytest.raises(DataError, match="text features"):
            read_features(tmp_path / name)


class Tokenizer:
    """In the interface of ``transformers``: a letter is a token."""

    def __call__(self, texts: list[str], max_length: int, **options: Any) -> dict[str, Tensor]:
        assert options == {
            "padding": "max_length", "truncation": True, "return_attention_mask": True, "return_tensors": "pt",
        }  # fmt: skip
        ids = torch.zeros(len(texts), max_length, dtype=torch.long)
        for row, words in zip(ids, texts, strict=True):
            codes = [ord(letter) for letter in words[:max_length]]
            row[: len(codes)] = torch.tensor(codes)
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def encoder(input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
    assert input_ids.shape == attention_mask.shape
    return {"last_hidden_state": input_ids[:, :, None].repeat(1, 1, 6).bfloat16() / 128}


def test_prompts_are_encoded_and_padded() -> None:
    features = encode(["  A  b", "c"], 4, 6, lambda: (Tokenizer(), encoder))
    assert features.values.dtype == torch.float32
    letters = (features.values[:, :, 0] * 128).long().tolist()
    assert letters == [[0, ord("a"), ord(" "), ord("b")], [0, 0, 0, ord("c")]]
    with pytest.raises(UsageError, match="6 wide, the model takes 5"):
        encode(["a"], 4, 5, lambda: (Tokenizer(), encoder))
    with pytest.raises(UsageError, match="no prompts"):
        encode([], 4, 6)


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline(BUILDERS["text"](), device="cpu", precision="fp32")


def test_a_pipeline_draws_from_features(pipeline: Pipeline, tmp_path: Path) -> None:
    values = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, True, True], [True, False, False]])
    images = pipeline.generate(["one", "two"], features=values, mask=mask, n=2, seed=3)
    assert images.prompts == ("one", "one", "two", "two") and images.seeds == (3, 4, 5, 6) and images.passes == 9
    alone = pipeline.generate(features=values[1:], mask=mask[1:], seed=6)
    assert alone.prompts == ("features 0",) and alone[0].tobytes() == images[3].tobytes()
    safetensors.torch.save_file({"features": values, "mask": mask}, tmp_path / "f.safetensors")
    filed = pipeline.generate(features=tmp_path / "f.safetensors", n=2, seed=3, batch=3)
    assert [image.tobytes() for image in filed] == [image.tobytes() for image in images]
    *_, last = pipeline.stream(features=values[:1], mask=mask[:1], seed=3)
    assert last.images[0].tobytes() == images[0].tobytes()


def test_a_pipeline_draws_from_prompts(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_flan_t5", lambda: (Tokenizer(), encoder))
    images = pipeline.generate(["red", "blue"])
    features = encode(["red", "blue"], 4, 6)
    same = pipeline.generate(features=features.values, mask=features.visible)
    assert [image.tobytes() for image in images] == [image.tobytes() for image in same]


def test_features_in_bfloat16() -> None:
    pipeline = Pipeline(BUILDERS["text"](), device="cpu", precision="bf16")
    assert len(pipeline.generate(features=torch.randn(1, 3, 6))) == 1


def test_wrong_calls_say_what_is_wrong(pipeline: Pipeline) -> None:
    with pytest.raises(UsageError, match="1 prompts and features of 2"):
        pipeline.generate(["one"], features=torch.randn(2, 3, 6))
    with pytest.raises(UsageError, match=r"\[B, n, 6\] for this model; got \[1, 3, 5\]"):
        pipeline.generate(features=torch.randn(1, 3, 5))
    spoilt = torch.zeros(1, 3, 6)
    spoilt[0, 1, 2] = torch.nan
    with pytest.raises(UsageError, match="text features are finite numbers"):
        pipeline.generate(features=spoilt)
    pipeline.generate(features=spoilt, mask=torch.tensor([[True, False, True]]))  # of padding nothing is read
    with pytest.raises(UsageError, match="a mask needs the features"):
        pipeline.generate(["one"], mask=torch.ones(1, 3))
    with pytest.raises(UsageError, match="brings its own mask"):
        features_of("file.npy", torch.ones(1, 3), [], 4, 6)
    raster = Pipeline(BUILDERS["raster"](), device="cpu", precision="fp32")
    with pytest.raises(UsageError, match="draws from classes, not from text features"):
        raster.generate([1], features=torch.randn(1, 3, 6))


def test_the_command_draws_from_a_file_of_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    values = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, True, True], [True, False, False]])
    safetensors.torch.save_file({"features": values, "mask": mask}, "f.safetensors")
    for part, state in (("model", model_state("text")), ("vq", tokenizer_state("text"))):
        safetensors.torch.save_file(state, f"{part}.safetensors")
    with published_toys():
        convert("model.safetensors", "toy-text", "toy", tokenizer="vq.safetensors")
        call = ["generate", "--model", "./toy", "--features", "f.safetensors", "--precision", "fp32", "--seed", "3"]
        assert main([*call, "-n", "2"]) == 0
        want = parvis.load("./toy", device="cpu", precision="fp32").generate(features=values, mask=mask, n=2, seed=3)
        assert sorted(path.name for path in Path("out").iterdir()) == [
            f"{i:03d}-features-{i // 2}.png" for i in range(4)
        ]
        for path, image in zip(sorted(Path("out").iterdir()), want, strict=True):
            with Image.open(path) as written:
                assert written.tobytes() == image.tobytes()
        assert main([*call, "one", "two", "-o", "named"]) == 0 and Path("named/001-two.png").is_file()
        capsys.readouterr()
        assert main(["show", "named/001-two.png"]) == 0
        assert "takes the text features it was drawn from" in capsys.readouterr().out
        for wrong, said in (
            ([*call, "one"], "1 prompts and features of 2"),
            ([*call[:4], "none.npy"], "none.npy: no text features"),
            ([*call[:4], "model.safetensors"], "no text features"),
            ([*call, "--classes", "1"], "not both"),
            (["generate", "--features", "f.safetensors", "--model", "emoji"], "not from text features"),
        ):
            assert main(wrong) in (1, 2), wrong
            error = capsys.readouterr().err
            assert said in error and error.count("\n") == 1, error


def test_without_the_extra_it_is_named(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    text._flan_t5.cache_clear()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"pip install 'parvis\[text\]', or give features"):
        pipeline.generate(["a red apple"])


def test_an_encoder_that_cannot_be_loaded_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise OSError(f"{name} is not here\nand more")

    library = ModuleType("transformers")
    library.AutoTokenizer = type("T", (), {"from_pretrained": staticmethod(fail)})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", library)
    text._flan_t5.cache_clear()
    with pytest.raises(UsageError, match=r"google/flan-t5-xl cannot be loaded \(google/flan-t5-xl is not here\)"):
        encode(["a"], 4, 6)


@pytest.mark.skipif(find_spec("transformers") is None, reason="needs the extra 'text'")
def test_a_small_t5_of_transformers() -> None:
    from importlib import import_module

    library = import_module("transformers")
    torch.manual_seed(0)
    config = library.T5Config(vocab_size=256, d_model=6, d_kv=3, d_ff=12, num_layers=1, num_heads=2)
    model = library.T5EncoderModel(config).eval()
    features = encode(["red apple", "a"], 12, 6, lambda: (Tokenizer(), model))
    assert features.visible.sum(1).tolist() == [9, 1]
    alone = encode(["a"], 3, 6, lambda: (Tokenizer(), model))
    torch.testing.assert_close(features.values[1, -1], alone.values[0, -1])  # padding has no influence
