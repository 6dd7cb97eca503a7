"""``parvis compare`` and ``parvis bench``: what is drawn, left out, measured."""

from __future__ import annotations

import json
import os

import pytest
import torch
from PIL import Image

from parvis import systems
from parvis.cli import main
from toys import BUILDERS

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("bundle")


def test_a_sheet_and_a_table(capsys: Capture) -> None:
    assert main(["compare", "red", "--orders", "raster,lpd", "--steps", "16,5", "-o", "sheet.png"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[2:5]] == [["raster", "16"], ["lpd", "16"], ["lpd", "5"]]
    assert lines[5:] == ["left out: raster in 5 passes: it takes 16", "-> sheet.png"]
    with Image.open("sheet.png") as sheet:
        assert sheet.width > 2 * 160 and sheet.height > 2 * 160


def test_json_names_what_was_left_out(capsys: Capture) -> None:
    assert main(["compare", "red", "--orders", "diagonals,random", "--steps", "7,40", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(p["order"], p["passes"]) for p in told["pictures"]] == [("diagonals", 7), ("random", 7)]
    assert told["left_out"] == [
        "diagonals in 40 passes: there are 16 tokens",
        "random in 40 passes: there are 16 tokens",
    ]
    assert os.path.isfile(told["file"])


def test_a_model_of_one_order_shows_its_own(capsys: Capture) -> None:
    assert main(["compare", "red", "--model", "toy-raster"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split()[:2] == ["own", "16"] and lines[3:] == ["-> compare.png"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("compare red --model toy-raster --orders lpd", "takes one order only"),
        ("compare red --orders rastr", "did you mean 'raster'"),
        ("compare red --orders raster --steps 3,4", "none of these can be drawn"),
        ("compare red --steps 3,x", "whole numbers of 1 or more"),
        ("compare red --steps 0", "whole numbers of 1 or more"),
        ("compare red -o sheet.jpg", "end its name in .png"),
        ("compare zzz", "knows none of the words"),
        ("bench --batch 0", "whole numbers of 1 or more"),
        ("bench --repeat 0", "time at least 1 run"),
        ("bench --steps 99", "toy has 16 tokens"),
        ("bench --order lpdd", "did you mean 'lpd'"),
        ("bench --model toy --random-weights", "unknown published system 'toy'"),
    ],
)
def test_wrong_calls(call: str, message: str, capsys: Capture) -> None:
    assert main(call.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and message in captured.err
    assert os.listdir() == []


def test_bench_says_what_was_measured_on_what(capsys: Capture) -> None:
    assert main(["bench", "--batch", "1,2", "--steps", "5,3", "--repeat", "2", "--precision", "fp32", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == "toy" and told["precision"] == "float32" and told["torch"] == torch.__version__
    assert told["machine"]["threads"] == torch.get_num_threads() and told["machine"]["processor"]
    assert [(row["batch"], row["passes"]) for row in told["rows"]] == [(1, 5), (1, 3), (2, 5), (2, 3)]
    for row in told["rows"]:
        assert len(row["all_seconds"]) == 2 and min(row["all_seconds"]) <= row["seconds"] <= max(row["all_seconds"])
        assert row["pictures_per_second"] == pytest.approx(row["batch"] / row["seconds"])
        assert set(row["split"]) == {"model", "tokenizer", "rest"} and min(row["split"].values()) > 0
    assert main(["bench", "--batch", "1", "--repeat", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split() == [
        "batch", "passes", "seconds", "pictures/s", "model", "tokenizer", "rest",
    ]  # fmt: skip


@pytest.mark.parametrize("toy", ["var", "text", "arpg"])
def test_bench_takes_published_systems_without_weights(
    toy: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(7)
    made = BUILDERS[toy]()
    monkeypatch.setattr("parvis.pipeline.random_system", lambda name, seed: made)
    assert "var-d16-256" in systems.PUBLISHED
    assert (
        main(["bench", "--model", "var-d16-256", "--random-weights", "3", "--batch", "1,2", "--repeat", "1", "--json"])
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["weights"] == "random" and {row["passes"] for row in told["rows"]} == {made.preset.steps}
    assert all(row["split"]["tokenizer"] > 0 for row in told["rows"])
    assert "answer" not in vars(made.models["main"])  # the clocks are gone
