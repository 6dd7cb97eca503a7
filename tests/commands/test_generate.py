"""``parvis generate``: other orders, reports, and what must be refused before anything is drawn."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from parvis.cli import main
from parvis.output import read_origin

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("bundle")


def test_the_order_is_drawn_and_recorded(capsys: Capture) -> None:
    assert main(["generate", "red", "-n", "2", "--steps", "4", "--order", "halton", "--seed", "3", "-o", "here"]) == 0
    assert "2 pictures in 4 passes" in capsys.readouterr().out
    origins = [read_origin(path) for path in sorted(Path("here").iterdir())]
    assert [(o.seed, o.settings["order"], o.settings["steps"]) for o in origins if o] == [
        (3, "halton", 4),
        (4, "halton", 4),
    ]


def test_json_and_quiet_say_nothing_else(capsys: Capture) -> None:
    assert main(["generate", "red", "apple", "--steps", "3", "-o", "here", "--json"]) == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert captured.err == "" and told["passes"] == 3 and told["model"] == "toy" and told["settings"]["order"] == "own"
    assert [Path(p["file"]).is_file() for p in told["pictures"]] == [True, True]
    assert [(p["prompt"], p["seed"]) for p in told["pictures"]] == [("red", 0), ("apple", 1)]
    assert main(["generate", "red", "-q", "-o", "here"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_terminal_sees_a_bar_and_a_pipe_does_not(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("parvis.progress.time.monotonic", iter(range(1000)).__next__)
    for options, shown in (("", True), ("--quiet", False), ("--json", False)):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        assert main(f"generate red --steps 3 {options}".split()) == 0
        assert ("pass [########................]  1/3" in terminal.getvalue()) == shown
    monkeypatch.setattr(sys, "stderr", pipe := io.StringIO())
    assert main(["generate", "red", "--steps", "3"]) == 0
    assert pipe.getvalue() == ""
    capsys.readouterr()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("generate red --order lqd", "unknown order 'lqd'; did you mean 'lpd'"),
        ("generate red --model toy-raster --order lpd", "takes one order only, its own"),
        ("generate red --order raster --steps 5", "takes 16 passes"),
        ("generate red --order regions --steps 5", "takes 7 passes"),
        ("generate red --steps 0", "steps is 0; toy has 16 tokens, so give 1 to 16"),
        ("generate red --steps 17", "steps is 17; toy has 16 tokens, so give 1 to 16"),
        ("generate red -n 0", "n=0"),
        ("generate red -n -2", "n=-2"),
        ("generate red --batch 0", "batch is 0"),
        ("generate red --seed -1", "seed"),
        ("generate aple grean", "for 'aple' try apple"),
        ("generate red --guidance nan", "guidance"),
        ("generate --classes 3", "draws from captions"),
    ],
)
def test_wrong_calls_leave_nothing(call: str, message: str, capsys: Capture) -> None:
    assert main(call.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and message in captured.err
    assert os.listdir() == []


@pytest.mark.parametrize("place", ["file", "file/deep", "closed", "closed/deep"])
def test_a_place_that_cannot_be_written_is_found_before_the_work(
    place: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file").write_text("in the way")
    Path("closed").mkdir()

    def refuse(dir: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)  # the superuser of a container may write anywhere

    monkeypatch.setattr("parvis.pipeline.load", None)  # would fail if it were called
    assert main(["generate", "red", "-o", place]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"parvis: error: cannot write {place!r}") and captured.err.count("\n") == 1
    assert sorted(os.listdir()) == ["closed", "file"] and os.listdir("closed") == []
