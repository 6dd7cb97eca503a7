"""Every script in examples/ runs, and does what it says."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from parvis import Grid, Noise, Request, UsageError
from parvis.engine.runner import run
from parvis.generate import begin, generate
from parvis.output import read_origin
from parvis.systems import SYSTEMS
from parvis.train.objective import teacher_logits
from parvis.weights.config import FolderConfig
from parvis.weights.folder import save_folder

EXAMPLES = Path(__file__).parents[1] / "examples"
Capture = pytest.CaptureFixture[str]


def example(name: str) -> dict[str, Any]:
    """The names that a script defines; ``main`` has not run."""
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def call(name: str, *arguments: object) -> None:
    main: Callable[[list[str]], None] = example(name)["main"]
    main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of toy size with random weights: 16 tokens in 5 passes."""
    tokenizer = {"channels": 8, "multipliers": [1, 2], "groups": 4, "z_channels": 8, "codes": 16, "attention": False}
    arguments = {
        "resolution": 8, "depth": 1, "width": 16, "heads": 2, "words": 5, "slots": 3, "steps": 5, "tokenizer": tokenizer
    }  # fmt: skip
    torch.manual_seed(0)
    system = SYSTEMS["emoji"](**arguments)
    for parameter in system.models["main"].parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    parts = {"model.safetensors": system.models["main"], "tokenizer.safetensors": system.tokenizer}
    folder = tmp_path_factory.mktemp("models") / "toy"
    words = {"words": ["apple", "green", "red", "rocket"], "slots": 3}
    config = FolderConfig("emoji", arguments, "words.json", {})
    save_folder(folder, config, {name: part.state_dict() for name, part in parts.items()}, {"words.json": words})
    return folder


def test_there_is_a_test_for_every_example() -> None:
    source = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f'("{path.stem}"' in source, f"{path.name} is not run by any test"


def test_generate(model: Path, tmp_path: Path, capsys: Capture) -> None:
    call("generate", "red apple", "rocket", "--model", model, "--out", tmp_path / "out")
    origins = [read_origin(path) for path in sorted((tmp_path / "out").iterdir())]
    assert [(o.prompt, o.seed) for o in origins if o] == [
        ("red apple", 7),
        ("red apple", 8),
        ("rocket", 9),
        ("rocket", 10),
    ]
    assert "5 passes" in capsys.readouterr().out


def test_stream(model: Path, tmp_path: Path, capsys: Capture) -> None:
    call("stream", "red apple", "--model", model, "--steps", 4, "--out", tmp_path / "canvas.webp")
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 5 and printed[3] == "pass 4 of 4: 100 % known"
    with Image.open(printed[4]) as animation:
        assert animation.n_frames >= 4  # type: ignore[attr-defined]


def test_edit(model: Path, tmp_path: Path, capsys: Capture) -> None:
    call("edit", "red apple", "green apple", "--model", model, "--out", tmp_path / "edit.png")
    assert "passes for half the tokens" in capsys.readouterr().out
    with Image.open(tmp_path / "edit.png") as picture:
        assert picture.width > 5 * 100


def test_orders(tmp_path: Path) -> None:
    call("orders", "--side", 8, "--steps", 6, "--out", tmp_path / "orders.png")
    with Image.open(tmp_path / "orders.png") as picture:
        assert picture.width > 3 * 256 and len(picture.getcolors(1 << 20) or []) > 50
    draw, grid = example("orders")["picture"], Grid.square(4)
    passes = draw(example("orders")["raster"](grid), grid)
    assert passes.getpixel((0, 0)) == (20, 30, 90) and passes.getpixel((3, 3)) == (255, 225, 130)


def test_checkerboard_prints_what_it_learned(capsys: Capture) -> None:
    call_board = example("checkerboard")["main"]
    call_board()
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].startswith("64 tokens in 6 passes, ")
    assert int(printed[1].split(", ")[1].split()[0]) > 90
    assert len(printed) == 2 + 8


@pytest.mark.parametrize("steps", [2, 5, 9])
def test_checkerboard_asks_the_white_fields_last_and_together(steps: int) -> None:
    order = example("checkerboard")["checkerboard"](Grid.image(4, 6), steps, Noise((1, 2, 3)))
    assert len(order.sizes) == steps and order.sizes[-1] == 12
    y, x = order.positions // 6, order.positions % 6
    assert ((y + x)[:, :12] % 2 == 0).all() and ((y + x)[:, 12:] % 2 == 1).all()
    assert len({tuple(row) for row in order.positions.tolist()}) == 3


def test_checkerboard_needs_a_pass_for_either_colour() -> None:
    with pytest.raises(UsageError, match=r"1\.\.12 steps; got 0"):
        example("checkerboard")["checkerboard"](Grid.image(4, 6), 1, Noise((1,)))


def test_checkerboard_is_a_system_like_any_other() -> None:
    """Alone as in a batch, taught as decoded, edited as given."""
    torch.manual_seed(0)
    system = example("checkerboard")["system"](side=4)
    for parameter in system.models["main"].parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    request = Request(torch.tensor([0, 3]), (5, 6), guidance=1.0)
    with torch.inference_mode():
        job, runner = begin(system, request, torch.device("cpu"))
        logits = torch.cat([prediction.logits for _, prediction in run(system.decoder, job, runner)], 1)
        taught = teacher_logits(system.models["main"], job.canvas.values, request.given, job.order)
    torch.testing.assert_close(logits, taught, atol=1e-4, rtol=1e-4)
    alone, _ = generate(system, Request(torch.tensor([3]), (6,), guidance=1.0))
    assert torch.equal(alone.values[0], job.canvas.values[1])
    known = torch.arange(16).expand(2, -1) < 6
    edited, _ = generate(system, replace(request, values=torch.full((2, 16), 9), known=known))
    assert (edited.values[:, :6] == 9).all() and edited.known.all()
