"""``parvis doctor``: every fault that it names is made here, and what is whole passes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from parvis.cli import main
from parvis.data.encode import encode_images
from parvis.data.source import open_data
from parvis.tokenizer.folder import read_tokenizer, save_tokenizer
from parvis.tokenizer.kl import KL, KLConfig
from parvis.tokenizer.vqgan import VQGAN, VQConfig

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    root, rng = tmp_path / "pictures", np.random.default_rng(0)
    for i in range(24):
        (root / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        values = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
        Image.fromarray(values).save(root / "ab"[i % 2] / f"{i:02d}.png")
    return root


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """4 x 4 pixels a token; what it makes of a picture depends on the picture."""
    torch.manual_seed(0)
    model = VQGAN(VQConfig(8, (1, 1, 1), 1, 1, False, 4, 8, 16, 4))
    torch.nn.init.normal_(model.decoder.conv_out.weight, std=0.5)
    save_tokenizer(tmp_path / "tok", model)
    return tmp_path / "tok"


@pytest.fixture
def cache(pictures: Path, tokenizer: Path, tmp_path: Path) -> Path:
    model = read_tokenizer(tokenizer)
    encode_images(open_data(pictures, 16), model, tmp_path / "c", flip=True, tokenizer_folder=str(tokenizer))
    return tmp_path / "c"


def examined(capsys: Capture, *call: object) -> tuple[int, dict[str, tuple[str, str]]]:
    """Exit code, and level and text of every finding; of several with one name the worst."""
    code = main(["doctor", *map(str, call), "--json"])
    told = json.loads(capsys.readouterr().out)
    found: dict[str, tuple[str, str]] = {}
    for entry in told["findings"]:
        if entry["level"] != "fine" or entry["what"] not in found:
            found[entry["what"]] = (entry["level"], entry["text"] + " " + " ".join(entry["examples"]))
    assert told["faults"] == sum(entry["level"] == "fault" for entry in told["findings"])
    return code, found


def test_what_is_whole_passes(cache: Path, pictures: Path, tokenizer: Path, tmp_path: Path, capsys: Capture) -> None:
    code, found = examined(capsys, cache, "-o", tmp_path / "sheet.png")
    assert code == 0 and (tmp_path / "sheet.png").is_file()
    assert found["tokenizer"][0] == "fine" and found["codes"][0] == "fine" and "16 compared" in found["codes"][1]
    assert "24 pictures, 2 views, 16 px, crop centre, flipped" in found["cache"][1]
    code, found = examined(capsys, pictures, "--resolution", 16, "--tokenizer", tokenizer)
    assert code == 0 and "2, of 12 to 12 pictures" in found["classes"][1] and "PSNR" in found["tokenizer quality"][1]
    assert main(["doctor", str(pictures), "--resolution", "16"]) == 0
    assert " ok   duplicates" in capsys.readouterr().out


def test_pictures_that_are_wrong_are_named(pictures: Path, capsys: Capture) -> None:
    (pictures / "a/00.png").write_bytes(b"no picture")
    (pictures / "a/02.png").write_bytes((pictures / "b/01.png").read_bytes())
    Image.new("RGB", (16, 16), (7, 7, 7)).save(pictures / "a/04.png")
    Image.new("RGB", (9, 30), (7, 99, 7)).save(pictures / "a/06.png")
    (pictures / "c").mkdir()
    (pictures / "b/03.png").rename(pictures / "c/03.png")
    code, found = examined(capsys, pictures, "--resolution", 16)
    assert code == 1 and found["damaged"] == ("fault", "1 cannot be decoded; repair them or use --skip-bad a/00.png")
    assert found["duplicates"][0] == "note" and found["duplicates"][1].startswith("1 ")
    assert found["flat"][1].startswith("2 ") and "a/04.png" in found["flat"][1]
    assert found["small"][1].startswith("1 ") and "a/06.png" in found["small"][1]
    assert found["classes"] == ("note", "3, of 1 to 12 pictures; 1 have fewer than 10 c")
    (pictures / "loose.png").write_bytes((pictures / "b/01.png").read_bytes())
    assert examined(capsys, pictures, "--resolution", 16)[1]["classes"][0] == "fault"


def test_another_tokenizer_is_a_fault(cache: Path, tmp_path: Path, capsys: Capture) -> None:
    torch.manual_seed(1)
    save_tokenizer(tmp_path / "other", VQGAN(VQConfig(8, (1, 1, 1), 1, 1, False, 4, 8, 16, 4)))
    code, found = examined(capsys, cache, "--tokenizer", tmp_path / "other")
    assert code == 1 and found["tokenizer"][0] == "fault" and "is another one" in found["tokenizer"][1]
    save_tokenizer(tmp_path / "fewer", VQGAN(VQConfig(8, (1, 1, 1), 1, 1, False, 4, 8, 3, 4)))
    code, found = examined(capsys, cache, "--tokenizer", tmp_path / "fewer")
    assert code == 1 and "cannot decode them" in found["codes"][1]
    code, found = examined(capsys, cache, "--tokenizer", tmp_path / "gone")
    assert code == 1 and "is not there" in found["tokenizer"][1]


def test_codes_of_other_pictures_are_a_fault(cache: Path, pictures: Path, tmp_path: Path, capsys: Capture) -> None:
    names = sorted(p.relative_to(pictures) for p in pictures.rglob("*.png"))
    contents = [(pictures / name).read_bytes() for name in names]
    for name, content in zip(names, contents[5:] + contents[:5], strict=True):
        (pictures / name).write_bytes(content)
    code, found = examined(capsys, cache)
    assert code == 1 and found["codes"][0] == "fault" and "are of other pictures" in found["codes"][1]
    pictures.rename(tmp_path / "moved")
    code, found = examined(capsys, cache)
    assert code == 0 and found["pictures"][0] == "note" and "--pictures" in found["pictures"][1]
    assert examined(capsys, cache, "--pictures", tmp_path / "moved")[0] == 1


def test_latents_are_compared_too(pictures: Path, tmp_path: Path, capsys: Capture) -> None:
    torch.manual_seed(0)
    save_tokenizer(tmp_path / "kl", KL(KLConfig(channels=8, multipliers=(1, 1, 1), blocks=1, groups=4, z_channels=3)))
    images = open_data(pictures, 16)
    encode_images(images, read_tokenizer(tmp_path / "kl"), tmp_path / "c", tokenizer_folder=str(tmp_path / "kl"))
    code, found = examined(capsys, tmp_path / "c")
    assert code == 0 and found["codes"][0] == "fine" and "codebook" not in found


def test_memory_of_a_recipe(pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    from parvis.commands import estimate
    from parvis.train.estimate import Measured, whole

    monkeypatch.setattr(estimate, "estimated", lambda *_: whole(Measured(1e9, 1e9, 1.0, 1e6), 16, 0))
    monkeypatch.setattr(estimate, "room", lambda device: 1 << 28)
    code, found = examined(capsys, pictures, "--resolution", 16, "--recipe", "lpd-small")
    assert code == 1 and found["memory"][0] == "fault" and "0.95 GiB" in found["memory"][1]
    monkeypatch.setattr(estimate, "room", lambda device: 1 << 34)
    assert examined(capsys, pictures, "--resolution", 16, "--recipe", "lpd-small")[0] == 0


def test_wrong_calls(pictures: Path, capsys: Capture) -> None:
    assert main(["doctor", str(pictures), "-o", "sheet.png"]) == 2
    assert "a sheet needs a tokenizer" in capsys.readouterr().err
    assert main(["doctor", str(pictures), "--sample", "0"]) == 2 and main(["doctor", "gone"]) == 1
