"""``parvis order``: numbers and pictures of orders."""

from __future__ import annotations

import json
import os
import re

import pytest
from PIL import Image

from parvis.cli import main
from parvis.grid import Grid
from parvis.noise import Noise
from parvis.planners import PLANNERS

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))


def test_json_holds_the_order(capsys: Capture) -> None:
    assert main(["order", "lpd", "--grid", "4x6", "--steps", "5", "--seed", "7", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    order = PLANNERS["lpd"](Grid.image(4, 6), 5, Noise((7,)))
    assert told["positions"] == order.positions[0].tolist() and told["sizes"] == list(order.sizes)
    assert (told["order"], told["passes"], told["seed"], told["grid"]) == ("lpd", 5, 7, [[1, 4, 6]])


def test_sizes_and_letters_without_a_picture(capsys: Capture) -> None:
    assert main(["order", "diagonals", "--grid", "2x3"]) == 0
    assert capsys.readouterr().out == "6 positions in 4 passes of 1, 2 (2 times), 1\n1 2 3\n2 3 4\n"
    assert main(["order", "scales", "--grid", "1,2"]) == 0
    assert capsys.readouterr().out == "5 positions in 2 passes of 1, 4\n1   2 2\n    2 2\n"
    assert os.listdir() == []


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_pictures(suffix: str, capsys: Capture) -> None:
    assert main(f"order lpd --grid 4x4 --steps 4 -o order.{suffix}".split()) == 0
    assert capsys.readouterr().out.endswith(f"-> order.{suffix}\n")
    with Image.open(f"order.{suffix}") as image:
        assert getattr(image, "n_frames", 1) == (1 if suffix == "png" else 5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("order lpd --grid 4", "4 positions in"),
        ("order", "required: order"),
        ("order ldp", "did you mean 'lpd'"),
        ("order lpd --grid 4x", "give HEIGHTxWIDTH"),
        ("order lpd --grid 0x4", "give HEIGHTxWIDTH"),
        ("order lpd --grid 4x4x4", "give HEIGHTxWIDTH"),
        ("order lpd --grid 999x999", "at most"),
        ("order lpd --grid 1,2", "for one image"),
        ("order lpd --grid 4x4 --steps 17", "16 positions take 1 to 16 passes"),
        ("order lpd --grid 4x4 --steps 0", "16 positions take 1 to 16 passes"),
        ("order raster --grid 4x4 --steps 5", "the order raster takes 16 passes"),
        ("order lpd -o order.mp4", "end its name in .png or .gif or .webp"),
    ],
)
def test_wrong_calls(call: str, message: str, capsys: Capture) -> None:
    right = message.endswith("positions in")  # --grid 4 is one scale of 4 x 4
    assert main(call.split()) == (0 if right else 2)
    captured = capsys.readouterr()
    if not right:
        assert captured.out == "" and captured.err.count("\n") == 1 and message in captured.err
    assert os.listdir() == []


def test_a_picture_that_cannot_be_written(capsys: Capture) -> None:
    os.mkdir("order.png")
    assert main(["order", "lpd", "-o", "order.png"]) == 1
    assert "it is a folder" in capsys.readouterr().err


def test_the_help_names_every_order(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["order", "--help"])
    told = re.findall(r"[a-z]+", capsys.readouterr().out)
    assert set(PLANNERS) <= set(told)
