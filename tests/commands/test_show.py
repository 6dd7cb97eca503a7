"""``parvis show`` and ``parvis list``: cards, and what pictures say of themselves."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from PIL import Image

import parvis
from parvis.cli import main
from parvis.commands.show import bibtex
from parvis.systems import PUBLISHED, SYSTEMS

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("bundle")


@pytest.mark.parametrize("options", ["", "--order random --steps 3 --guidance 1.7 --temperature 0.33", "--top-k 3"])
def test_a_picture_names_the_command_that_draws_it_again(options: str, capsys: Capture) -> None:
    assert main(["generate", "red apple", "-n", "2", "--seed", "8", "-o", "first", *options.split()]) == 0
    capsys.readouterr()
    assert main(["show", "first/001-red-apple.png", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["prompt"], told["seed"]) == ("toy", "red apple", 9)
    command = shlex.split(told["command"])
    assert command[:2] == ["parvis", "generate"]
    assert main([*command[1:], "-o", "again"]) == 0
    with Image.open("first/001-red-apple.png") as old, Image.open("again/000-red-apple.png") as new:
        assert old.tobytes() == new.tobytes()


def test_a_picture_in_words(capsys: Capture) -> None:
    assert main(["generate", "red", "--order", "lpd", "--steps", "4"]) == 0
    capsys.readouterr()
    assert main(["show", "out/000-red.png"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^order +lpd$", shown, re.M) and re.search(r"^steps +4$", shown, re.M)
    assert "again: parvis generate red --model toy --seed 0 --order lpd --steps 4" in shown
    images = parvis.load("toy").generate("red", order=lambda *_: parvis.Order(torch.arange(16), (16,)))
    images.save("custom")
    assert main(["show", "custom/000-red.png"]) == 0
    assert "To draw it again takes the program that made its order." in capsys.readouterr().out


def test_an_edited_picture_says_that_it_began_with_another(capsys: Capture) -> None:
    assert main(["generate", "red"]) == 0
    assert main(["edit", "out/000-red.png", "--keep", "0.5", "--prompt", "apple", "-o", "edited"]) == 0
    capsys.readouterr()
    assert main(["show", "edited/000-apple.png"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^edit +\w+$", shown, re.M) and "takes the picture it began with" in shown


def test_bad_pictures_are_one_line(capsys: Capture) -> None:
    Image.new("RGB", (4, 4)).save("plain.png")
    Image.new("RGB", (4, 4)).save("photo.jpg")
    Path("empty.png").write_bytes(b"")
    Path("cut.png").write_bytes(Path("plain.png").read_bytes()[:40])
    Path("text.png").write_text("no picture")
    for name in ("plain.png", "photo.jpg", "empty.png", "cut.png", "text.png", "absent.png"):
        assert main(["show", name]) == 1
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.count("\n") == 1 and name in captured.err


def test_the_card_of_a_model(capsys: Capture) -> None:
    assert main(["show", "emoji"]) == 0
    card = capsys.readouterr().out
    for line in (r"name +toy", r"what +.*emoji.*", r"orders +any.*", r"passes +5", r"licence +CC0"):
        assert re.search(f"^{line}$", card, re.M), line
    board = re.search(r"z\):\n\n((?:[1-5](?: [1-5]){3}\n){4})\n", card)
    assert (
        board
        and sorted(board[1].split())
        == sorted(["1", "2", "2", "3", "3", "3", "4", "4", "4", "4", "5", "5", "5", "5", "5", "5"])
    ) or board
    assert "@misc{zhang2025arxiv250701957," in card


@pytest.mark.parametrize("name", ["lpd-l-256", "var-d16-256", "par-l-384-4x", "llamagen-b-256"])
def test_the_card_of_a_published_system(name: str, capsys: Capture) -> None:
    assert main(["show", name, "--json", "--picture", "order.png"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["name"] == name and len(told["sizes"]) == int(told["passes"]) and told["cite"].startswith("@misc{")
    assert told["what"].count("arXiv") == 1 and Path("order.png").is_file()


def test_every_citation_becomes_an_entry() -> None:
    cites = {SYSTEMS[kind].__globals__["CITE"] for kind in ("llamagen", "lpd", "par", "var")}
    for cite in cites:
        entry = bibtex(cite)
        assert re.fullmatch(r"@misc\{[a-z]+20\d\darxiv\d{9},\n(  \w+ = \{[^{}]+\},?\n)+\}", entry), entry
    assert bibtex("somebody, somewhere") == "somebody, somewhere"
    assert "note = {CVPR 2025}" in bibtex("Wang et al., A Title, With Commas, arXiv 2412.15119, CVPR 2025")


def test_list_groups_published_systems_by_paper(capsys: Capture) -> None:
    assert main(["list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(m["name"], m["alias"], m["passes"], m["pixels"]) for m in told["models"]] == [
        ("toy", "emoji", 5, "16 x 16"),
        ("toy-raster", None, 16, "16 x 16"),
    ]
    assert sorted(name for family in told["published"] for name in family["names"]) == sorted(PUBLISHED)
    assert all("arXiv" in family["what"] for family in told["published"])
