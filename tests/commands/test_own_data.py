"""From a folder of pictures to pictures of one's own model: tokenizer, codes, training, drawing, at toy size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from parvis.cli import main
from parvis.data.codes import CodeCache
from parvis.data.encode import encode_images
from parvis.data.source import open_data
from parvis.pipeline import load
from parvis.systems.small import KINDS
from parvis.tokenizer.folder import Known, read_tokenizer, save_tokenizer
from parvis.tokenizer.kl import KL, KLConfig
from parvis.tokenizer.multiscale import MultiScaleConfig, MultiScaleVQ
from parvis.tokenizer.vqgan import VQGAN, VQConfig

Capture = pytest.CaptureFixture[str]
TOY = ["--depth", "2", "--width", "32", "--batch", "4"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures of two classes: red ones and blue ones."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for i in range(24):
        name = ("blue", "red")[i % 2]
        (root / name).mkdir(exist_ok=True)
        values = rng.integers(0, 60, (18, 16, 3), dtype=np.uint8)
        values[..., 0 if name == "red" else 2] += 180
        Image.fromarray(values).save(root / name / f"{i:02d}.png")
    return root


def tokenizers() -> dict[str, Known]:
    """Random ones, 4 x 4 pixels a token; 8 x 8 in the finest scale."""
    torch.manual_seed(0)
    return {
        "vq": VQGAN(VQConfig(8, (1, 1, 1), 1, 1, False, 4, 8, 16, 4)),
        "kl": KL(KLConfig(channels=8, multipliers=(1, 1, 1), blocks=1, groups=4, z_channels=3)),
        "scales": MultiScaleVQ(MultiScaleConfig((1, 2, 4), 8, (1, 1, 1), 1, 4, 8, 16)),
    }


@pytest.fixture(scope="module")
def caches(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of code caches: vq, kl, scales."""
    root = tmp_path_factory.mktemp("caches")
    for name, tokenizer in tokenizers().items():
        folder = root / f"tok-{name}"
        save_tokenizer(folder, tokenizer)
        encode_images(
            open_data(pictures, 16), read_tokenizer(folder), root / name, flip=True, tokenizer_folder=str(folder)
        )
    return root


def test_from_pictures_to_pictures_by_four_commands(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    tok = ["tokenizer", "train", "small", "--data", str(pictures), "--resolution", "16", "-o", "tok"]
    assert main([*tok, "--steps", "3", "--batch", "4", "--channels", "8", "--codes", "16"]) == 0
    told = json.loads(_last_json(Path("tok")))
    assert told["codes"] >= 1 and told["psnr"] > 0
    assert capsys.readouterr().out == (
        f"PSNR {told['psnr']:.2f} dB on 1 pictures held out, {told['codes']:.0f} of 16 codes used there -> tok/model; "
        "before and after: tok/sheet.png\n"
    )
    assert (
        main(["encode", str(pictures), "--tokenizer", "tok/model", "--resolution", "16", "--flip", "-o", "codes"]) == 0
    )
    assert capsys.readouterr().out == "24 pictures, 4 tokens each, 2 views, 2 classes -> codes\n"
    call = ["train", "lpd-small", "--data", "codes", "-o", "lpd", *TOY]
    assert main([*call, "--steps", "3"]) == 0
    assert capsys.readouterr().out.endswith(" -> lpd/model; drawn on the way: lpd/sheets\n")
    assert Path("lpd/sheets/000003.png").is_file()
    assert main(["generate", "red", "--model", "lpd/model", "-n", "2", "-o", "out"]) == 0
    assert len(list(Path("out").glob("*-red*.png"))) == 2
    assert main(["generate", "gren", "--model", "lpd/model"]) == 2
    assert "unknown class 'gren'; did you mean 'red'" in capsys.readouterr().err
    pipeline = load("lpd/model")
    assert pipeline.system.classes == ("blue", "red") and pipeline.config is not None
    assert pipeline.config.about["steps"] == "3"


def _last_json(run: Path) -> str:
    """The numbers that the training wrote into the tokenizer's folder."""
    about = json.loads((run / "model/config.json").read_text())["about"]
    return str(next(iter(about.values())))


def test_pictures_are_encoded_on_the_way(caches: Path, pictures: Path, tmp_path: Path) -> None:
    call = ["train", "raster-small", "--data", str(pictures), "--tokenizer", str(caches / "tok-vq"), *TOY]
    call += ["--resolution", "16", "-o", str(tmp_path / "run")]
    assert main([*call, "--steps", "1"]) == 0
    cache = CodeCache.open(tmp_path / "run/codes", flip=True, crop="centre", resolution=16)
    assert torch.equal(cache.codes, CodeCache.open(caches / "vq").codes)
    before = (tmp_path / "run/codes/manifest.json").stat().st_mtime_ns
    assert main([*call, "--steps", "2"]) == 0
    assert (tmp_path / "run/codes/manifest.json").stat().st_mtime_ns == before, "encoded again"
    assert load(tmp_path / "run/model").config.about["steps"] == "2"  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_trains_on_its_own_kind_of_codes(kind: str, caches: Path, tmp_path: Path) -> None:
    data = caches / {"mar": "kl", "xar": "kl", "var": "scales"}.get(kind, "vq")
    assert main(["train", f"{kind}-small", "--data", str(data), "-o", str(tmp_path), "--steps", "2", *TOY]) == 0
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 1 and np.isfinite(losses[0])
    images = load(tmp_path / "model").generate(["blue", "red"], seed=0)
    assert len(images.images) == 2 and images.images[0].size == (16, 16)


def test_what_does_not_fit_is_refused(caches: Path, pictures: Path, tmp_path: Path, capsys: Capture) -> None:
    other = tokenizers()["vq"]
    torch.nn.init.ones_(other.quantize.embedding.weight)  # type: ignore[union-attr, arg-type]
    save_tokenizer(tmp_path / "other", other)
    out = ["-o", str(tmp_path / "run")]
    for call, message in (
        (["lpd-small", "--data", str(pictures)], "holds pictures, which need a tokenizer"),
        (["lpd-small", "--data", str(caches / "kl")], "needs codes of one scale, not those of a KL"),
        (["mar-small", "--data", str(caches / "vq")], "parvis tokenizer train kl-small"),
        (["var-small", "--data", str(caches / "vq")], "parvis tokenizer train multiscale-small"),
        (["lpd-small", "--data", str(caches / "vq"), "--tokenizer", str(tmp_path / "other")], "tokenizer: cache"),
        (["lpd-small", "--data", str(caches / "vq"), "--resolution", "32"], "resolution: cache 16, wanted 32"),
        (["lpd-small"], "needs --data DIR"),
        (["emoji-64", "--skip-bad"], "takes no --skip-bad"),
    ):
        assert main(["train", *call, *out]) in (1, 2)
        assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_that_went_away_is_asked_for(caches: Path, pictures: Path, tmp_path: Path, capsys: Capture) -> None:
    encode_images(open_data(pictures, 16), tokenizers()["vq"].eval(), tmp_path / "c", tokenizer_folder="/gone")
    assert main(["train", "lpd-small", "--data", str(tmp_path / "c"), "-o", str(tmp_path / "run")]) == 1
    assert "/gone is not there any more; give --tokenizer DIR" in capsys.readouterr().err
    call = ["train", "lpd-small", "--data", str(tmp_path / "c"), "-o", str(tmp_path / "run"), "--steps", "1", *TOY]
    assert main([*call, "--tokenizer", str(caches / "tok-vq")]) == 0


@pytest.mark.parametrize("recipe", ["kl-small", "multiscale-small"])
def test_other_tokenizers_learn_from_a_folder(recipe: str, pictures: Path, tmp_path: Path) -> None:
    call = ["tokenizer", "train", recipe, "--data", str(pictures), "--resolution", "16", "-o", str(tmp_path)]
    assert main([*call, "--steps", "2", "--batch", "4", "--channels", "8"]) == 0
    told = json.loads(_last_json(tmp_path))
    assert ("codes" in told) == (recipe == "multiscale-small") and (tmp_path / "sheet.png").is_file()
    pixels = open_data(pictures, 16).pixels([0, 1])
    values = read_tokenizer(tmp_path / "model").encode(pixels)
    assert values.shape[:2] == (2, 5 if recipe == "multiscale-small" else 4)
