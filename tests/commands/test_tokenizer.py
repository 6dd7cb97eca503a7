"""``parvis tokenizer``, ``parvis encode``, ``parvis train``."""

from __future__ import annotations

import json
import os
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from parvis.cli import main
from parvis.pipeline import load
from parvis.tokenizer.folder import save_tokenizer
from parvis.tokenizer.vqgan import VQGAN

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("bundle")


@pytest.fixture
def alone() -> Path:
    """The toy's tokenizer in a folder of its own."""
    tokenizer = load("toy").system.tokenizer
    assert isinstance(tokenizer, VQGAN)
    save_tokenizer(Path("tokenizer"), tokenizer, {"held out, 16 px": '{"psnr": 21.5}', "licence": "CC0"})
    return Path("tokenizer")


def photos(*sizes: tuple[int, int]) -> list[str]:
    names = []
    for i, size in enumerate(sizes):
        values = np.random.default_rng(i).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(values).save(f"photo-{i}.png")
        names.append(f"photo-{i}.png")
    return names


def test_info(alone: Path, capsys: Capture) -> None:
    assert main(["tokenizer", "info", str(alone)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^factor +4 x 4 pixels a token$", shown, re.M) and re.search(r"^codes +16$", shown, re.M)
    assert re.search(r"^held out, 16 px +psnr 21.5$", shown, re.M)
    for name, factor, size in (("toy", 4, "codes"), ("lpd-l-256", 16, "codes"), ("mar-b-256", 16, "channels")):
        assert main(["tokenizer", "info", name, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["factor"] == factor and told[size] > 1


def test_reconstruct_measures_what_the_sheet_shows(alone: Path, capsys: Capture) -> None:
    names = photos((16, 8), (8, 8))
    assert main(["tokenizer", "reconstruct", str(alone), *names, "--json", "-o", "sheet.png"]) == 0
    told = json.loads(capsys.readouterr().out)
    tokenizer = load("toy", precision="fp32").system.tokenizer
    for name, entry in zip(names, told["images"], strict=True):
        pixels = torch.from_numpy(np.array(Image.open(name))).permute(2, 0, 1)[None].float()
        grid = tokenizer.grid(*pixels.shape[-2:])
        with torch.inference_mode():
            out = (tokenizer.decode(tokenizer.encode(pixels / 127.5 - 1), grid) + 1) * 127.5
        error = (out.round().clamp(0, 255) - pixels).square().mean()
        assert entry["psnr"] == pytest.approx(float(10 * torch.log10(255**2 / error)), abs=0.01)
    assert main(["tokenizer", "reconstruct", "toy", *names, "-o", "sheet.png"]) == 0
    assert capsys.readouterr().out.count(" dB") == 2 and Path("sheet.png").is_file()


def test_more_pictures_than_a_row_holds(capsys: Capture) -> None:
    assert main(["tokenizer", "reconstruct", "toy", *photos(*[(8, 8)] * 9), "-q"]) == 0
    with Image.open("reconstructions.png") as sheet:
        assert sheet.height > 4 * 192


def test_pictures_that_do_not_fit(capsys: Capture) -> None:
    (name,) = photos((10, 8))
    assert main(["tokenizer", "reconstruct", "toy", name]) == 2
    assert "10 x 8 pixels, which 4 does not divide; give --resolution" in capsys.readouterr().err
    assert main(["tokenizer", "reconstruct", "toy", name, "--resolution", "0"]) == 2
    assert main(["tokenizer", "reconstruct", "toy", name, "--resolution", "8", "-o", "sheet.jpg"]) == 2
    assert main(["tokenizer", "reconstruct", "toy", "absent.png"]) == 1
    capsys.readouterr()
    assert os.listdir() == [name]
    assert main(["tokenizer", "reconstruct", "toy", name, "--resolution", "8"]) == 0


def test_recipes_of_models_and_of_tokenizers(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    called: list[tuple[object, ...]] = []

    def vq(out: Path, *, steps: int = 5) -> None:
        """A tokenizer."""
        called.append(("vq", out, steps))

    def ar(tokenizer: Path, out: Path, *, steps: int = 5) -> None:
        """A model."""
        called.append(("ar", tokenizer, out, steps))

    package = types.ModuleType("recipes")
    package.__dict__.update(TOKENIZERS={"emoji": vq}, RECIPES={"emoji-64": ar})
    monkeypatch.setitem(sys.modules, "recipes", package)
    assert main(["tokenizer", "train", "emoji", "--steps", "7"]) == 0
    assert main(["train", "emoji-64", "--tokenizer", "t", "-o", "here"]) == 0
    assert called == [("vq", Path("runs/emoji-tokenizer"), 7), ("ar", Path("t"), Path("here"), 5)]
    assert main(["tokenizer", "train", "list"]) == 0 and main(["train", "list"]) == 0
    assert capsys.readouterr().out.split("\n") == [f"{'emoji':18} A tokenizer.", f"{'emoji-64':18} A model.", ""]
    for call, message in (
        ("tokenizer train emoji-64", "did you mean 'emoji'"),
        ("tokenizer train emoji --lr 1", "takes no --lr"),
        ("train emoji-64", "needs --tokenizer DIR"),
    ):
        assert main(call.split()) == 2
        assert message in capsys.readouterr().err


def test_the_recipes_that_there_are() -> None:
    from recipes import RECIPES, TOKENIZERS

    assert {"small", "kl-small", "multiscale-small"} <= set(TOKENIZERS) and {"lpd-small", "raster-small"} <= set(
        RECIPES
    )
    assert all(recipe.__doc__ for recipe in (*TOKENIZERS.values(), *RECIPES.values()))
    assert not set(RECIPES) & set(TOKENIZERS)


def test_encode_checks_its_place_first(alone: Path, capsys: Capture) -> None:
    os.mkdir("pictures")
    (name,) = photos((8, 8))
    os.rename(name, f"pictures/{name}")
    Path("file").write_text("in the way")
    call = ["encode", "pictures", "--tokenizer", str(alone), "--resolution", "8"]
    assert main([*call, "-o", "file"]) == 1
    assert "it is a file" in capsys.readouterr().err
    assert main([*call, "-o", "codes"]) == 0
    assert capsys.readouterr().out == "1 pictures, 4 tokens each -> codes\n"
