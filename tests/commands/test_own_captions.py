"""From a folder of pictures with captions to a model that draws from words, at toy size."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from parvis.cli import main
from parvis.data.codes import CodeCache
from parvis.model.context import WordsCondition
from parvis.noise import Noise
from parvis.pipeline import load
from parvis.tokenizer.folder import save_tokenizer
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.train.objective import order_cross_entropy
from recipes.captions import Texts

Capture = pytest.CaptureFixture[str]
COLOURS = {"a red square": (220, 20, 20), "the blue SQUARE": (20, 20, 220), "green, a square": (20, 200, 20)}
TOY = ["--depth", "1", "--width", "64", "--batch", "8", "--lr", "4e-3"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``pictures`` (imagefolder with ``train/metadata.csv``), their tokenizer ``tok`` and code cache ``codes``."""
    root, rng = tmp_path_factory.mktemp("captioned"), np.random.default_rng(0)
    (root / "pictures/train").mkdir(parents=True)
    rows = []
    for i in range(24):
        text, colour = list(COLOURS.items())[i % 3]
        values = np.clip(np.array(colour) + rng.integers(-8, 9, (16, 16, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(values).save(root / f"pictures/train/{i:02d}.png")
        rows.append({"file_name": f"{i:02d}.png", "text": text})
    with (root / "pictures/train/metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file_name", "text"])
        writer.writeheader()
        writer.writerows(rows)
    torch.manual_seed(0)
    save_tokenizer(root / "tok", VQGAN(VQConfig(8, (1, 1, 1), 1, 1, False, 4, 8, 16, 4)))
    call = ["encode", str(root / "pictures"), "--tokenizer", str(root / "tok"), "--resolution", "16", "-q"]
    assert main([*call, "-o", str(root / "codes")]) == 0
    return root


def test_encoding_says_how_many_captions_it_keeps(place: Path, tmp_path: Path, capsys: Capture) -> None:
    call = ["encode", str(place / "pictures"), "--tokenizer", str(place / "tok"), "--resolution", "16"]
    assert main([*call, "-o", str(tmp_path / "codes")]) == 0
    assert capsys.readouterr().out.startswith("24 pictures, 16 tokens each, 24 captions -> ")
    assert CodeCache.open(tmp_path / "codes").pictures[1] == ("01.png", "the blue SQUARE")


@pytest.mark.parametrize("kind", ["lpd", "raster"])
def test_captions_teach_a_model_what_their_words_look_like(
    kind: str, place: Path, tmp_path: Path, capsys: Capture
) -> None:
    call = ["train", f"{kind}-small-text", "--data", str(place / "codes"), "-o", str(tmp_path), *TOY]
    assert main([*call, "--steps", "60"]) == 0
    assert "24 captions of 4 words, at most 2 each" in capsys.readouterr().out
    assert (tmp_path / "sheets/000060.png").is_file()
    pipeline = load(tmp_path / "model")
    assert pipeline.words is not None and pipeline.words.vocabulary == ("blue", "green", "red", "square")
    assert pipeline.system.takes == "words" and pipeline.system.name == f"{kind}-small-text-16"
    system, codes_VN = pipeline.system, CodeCache.open(place / "codes").codes[:3, 0].long()
    asked = ["square, red", "blue square", "green squares"]
    ids_VT = torch.tensor([pipeline.words.encode(text).ids for text in asked])
    order = system.order(system.grid, system.preset.steps, Noise((0,)))
    for i, codes_N in enumerate(codes_VN):
        with torch.no_grad():
            losses = [order_cross_entropy(system.models["main"], codes_N[None], ids[None], order) for ids in ids_VT]
        assert min(range(3), key=losses.__getitem__) == i, f"the picture of {asked[i]!r} is likelier by other words"
    assert len(pipeline.generate(asked, seed=5).images) == 3
    assert main(["generate", "purple", "--model", str(tmp_path / "model"), "-o", str(tmp_path / "out")]) == 2
    assert "some that it knows: blue, green, red, square" in capsys.readouterr().err


def test_pictures_with_captions_go_there_at_once(place: Path, tmp_path: Path) -> None:
    call = ["train", "lpd-small-text", "--data", str(place / "pictures"), "--tokenizer", str(place / "tok")]
    assert main([*call, "--resolution", "16", "--steps", "1", "-o", str(tmp_path), *TOY]) == 0
    cache = CodeCache.open(tmp_path / "codes")
    assert torch.equal(cache.codes, CodeCache.open(place / "codes").codes) and not cache.manifest.flip


def test_a_model_of_classes_says_that_it_leaves_captions_unread(place: Path, tmp_path: Path, capsys: Capture) -> None:
    call = ["train", "raster-small", "--data", str(place / "codes"), "-o", str(tmp_path), "--steps", "1", *TOY]
    assert main(call) == 0
    told = (
        "24 of the pictures have captions; raster-small learns the pictures alone, lpd-small-text learns the captions"
    )
    assert told in capsys.readouterr().out


def test_the_doctor_counts_captions(place: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["doctor", str(place / "pictures"), "--resolution", "16", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [f["text"] for f in findings if f["what"] == "captions"] == ["24 of 24 pictures have one"]


def test_without_captions_there_is_nothing_to_learn(place: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "bare").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "bare/x.png")
    call = ["train", "lpd-small-text", "--data", str(tmp_path / "bare"), "--tokenizer", str(place / "tok")]
    assert main([*call, "--resolution", "16", "-o", str(tmp_path / "run"), *TOY]) == 1
    assert "holds no captions; write metadata.jsonl" in capsys.readouterr().err


def test_a_picture_without_a_caption_teaches_the_null_caption() -> None:
    texts = Texts.of(["two red apples", None, "apples", ""], "there")
    assert texts.words.vocabulary == ("apples", "red", "two") and texts.ids.shape == (4, 3)
    assert texts.ids.tolist() == [[3, 2, 1], [4, 4, 4], [1, 0, 0], [4, 4, 4]]
    condition = WordsCondition(texts.words.size, texts.words.slots, 8)
    torch.nn.init.normal_(condition.slot)
    null = condition.null(texts.ids)
    assert torch.equal(condition(texts.ids).rows[1], null.rows[1])
    assert not torch.equal(condition(texts.ids).rows[0], null.rows[0])
    assert (
        texts.told()
        == "2 captions of 3 words, at most 3 each; 2 pictures have none and teach the model without a caption"
    )


def test_rare_words_and_long_captions_are_told(tmp_path: Path) -> None:
    long = " ".join(f"w{i}" for i in range(40))
    texts = Texts.of([long, *["red apple"] * 20], "there")
    assert texts.words.slots == 32 and "1 are longer and lose their last words" in texts.told()


def test_captions_of_other_scripts_are_words(tmp_path: Path) -> None:
    texts = Texts.of(["красное яблоко", "लाल सेब", "red apple"], "there")
    assert texts.words.vocabulary == ("apple", "red", "красное", "яблоко", "लाल", "सेब")
    folder = json.dumps(list(texts.words.vocabulary), ensure_ascii=False)
    assert "सेब" in folder and texts.words.encode("яблоко").used == ("яблоко",)
