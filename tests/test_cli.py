"""The command line: exit codes, one-line errors, and the commands on a model of toy size."""

from __future__ import annotations

import os
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from parvis.cli import GROUPS, main, parse
from parvis.commands import demo
from parvis.errors import DataError
from parvis.output import read_origin
from parvis.weights import catalog

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("bundle")


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = "import sys, parvis.cli; print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "parvis.cli", "--help"], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0 and "generate" in done.stdout
    assert (
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3
    )  # of the processor, not of the wall


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("", "arguments are required: COMMAND"),
        ("genrate x", "unknown command 'genrate'; did you mean 'generate'"),
        ("generate x --gudance 3", "unknown argument '--gudance'; did you mean '--guidance'"),
        ("generate x --gudance=3", "unknown argument '--gudance'; did you mean '--guidance'"),
        ("generate x --n two", "invalid int value: 'two'"),
        ("generate", "give prompts"),
        ("generate x --classes 3", "not both"),
        ("generate red --model toyy", "unknown model 'toyy'; did you mean 'toy'"),
        ("generate red --model toy --precision int3", "unknown precision 'int3'"),
        ("generate red --model toy --steps 17", "steps is 17"),
        ("generate red --model toy --temperature -1", "temperature"),
        ("generate nothingness --model toy", "knows none of the words"),
        ("show lpd-z-256", "did you mean"),
        ("data fetch emojis", "invalid choice: 'emojis'"),
        ("list more", "unknown argument 'more'"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(call: str, message: str, capsys: Capture) -> None:
    assert main(call.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("parvis: error: ") and captured.err.count("\n") == 1
    assert message in captured.err
    assert os.listdir() == ["out"] or os.listdir() == []


def test_a_failure_is_one_line_and_exit_code_1(
    models: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(["generate", "red apple", "--model", "toy", "--out", "file"]) == 1
    assert "cannot write 'file'" in capsys.readouterr().err
    assert main(["verify", str(tmp_path)]) == 1
    assert "no config.json" in capsys.readouterr().err

    def fail(*_: object, **__: object) -> None:
        raise DataError("two\nlines")

    monkeypatch.setattr("parvis.data.fetch_emoji", fail)
    assert main(["data", "fetch", "emoji"]) == 1
    assert capsys.readouterr().err == "parvis: error: two lines\n"


def test_an_interrupt_is_exit_code_130(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("parvis.data.fetch_emoji", interrupt)
    assert main(["data", "fetch", "emoji"]) == 130
    assert capsys.readouterr().err == "parvis: interrupted\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = """if True:
        import argparse, sys
        from parvis import cli
        cli.parse = lambda argv: argparse.Namespace(run=lambda args: print("line\\n" * 100_000) or 0)
        sys.exit(cli.main())
    """
    command = ["bash", "-c", 'set -o pipefail; "$0" -c "$1" | head -1', sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "line\n", "")


def test_the_version_is_the_installed_one(capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert re.fullmatch(r"parvis [0-9.]+\n", capsys.readouterr().out)


def test_generate_writes_pictures_that_say_how_they_were_made(capsys: Capture) -> None:
    assert main(["generate", "red apple", "green", "--model", "toy", "--n", "2", "--seed", "5", "--steps", "3"]) == 0
    assert re.fullmatch(r"4 pictures in 3 passes and [0-9.]+ s -> out\n", capsys.readouterr().out)
    origins = [read_origin(path) for path in sorted(Path("out").iterdir())]
    assert [(o.prompt, o.seed, o.model) for o in origins if o] == [
        ("red apple", 5, "toy"),
        ("red apple", 6, "toy"),
        ("green", 7, "toy"),
        ("green", 8, "toy"),
    ]
    assert origins[0] and origins[0].settings["steps"] == 3


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_word_that_is_not_known_is_a_note(capsys: Capture) -> None:
    assert main(["generate", "red aple", "--model", "toy"]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("parvis: note: ") and "apple" in captured.err and captured.err.count("\n") == 1


def test_list_show_and_verify(models: Path, capsys: Capture) -> None:
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"^toy +words +16 x 16 +5 ", listed, re.M) and re.search(r"^toy-raster ", listed, re.M)
    assert "lpd-l-256" in listed and "emoji: toy" in listed
    assert main(["show", "toy"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^pictures +16 x 16 pixels$", shown, re.M) and re.search(r"^licence +CC0$", shown, re.M)
    assert main(["show", "lpd-l-256"]) == 0
    assert re.search(r"^passes +20$", capsys.readouterr().out, re.M)
    assert main(["verify", "toy", str(models / "toy-raster")]) == 0
    assert capsys.readouterr().out.count("all as recorded") == 2


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_demo_writes_everything_and_times_both_models(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "PROMPTS", ("red apple", "green apple", "red", "green"))
    monkeypatch.setattr(demo, "ROUNDS", 1)
    assert main(["demo", "--model", "toy"]) == 0
    table = [re.split(r"  +", line.strip()) for line in capsys.readouterr().out.splitlines()[-7:]]
    assert table[0] == ["model", "pictures", "passes", "seconds", "pictures/s"]
    assert [row[:3] for row in table[2:]] == [
        ["toy", "1", "5"],
        ["toy, one token per pass", "1", "16"],
        ["toy-raster", "1", "16"],
        ["toy", "4", "5"],
        ["toy-raster", "4", "16"],
    ]
    assert sorted(os.listdir("demo")) == ["canvas.webp", "images", "sheet.png"] and len(os.listdir("demo/images")) == 4


def test_without_a_raster_model_the_model_races_itself(
    models: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    alone = tmp_path / "bundled"
    alone.mkdir()
    (alone / "toy").symlink_to(models / "toy")
    monkeypatch.setattr(catalog, "BUNDLED", alone)
    monkeypatch.setattr(demo, "PROMPTS", ("red", "green"))
    monkeypatch.setattr(demo, "ROUNDS", 1)
    assert main(["demo", "--model", "toy"]) == 0
    assert re.search(r"^toy, one token per pass +1 +16 ", capsys.readouterr().out, re.M)


def test_the_help_groups_every_command_and_each_has_examples(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    commands = re.findall(r"^  ([a-z]+) +\S", told.split("\ndraw:")[1], re.M)
    assert re.findall(r"^([a-z]+):$", told, re.M) == ["options", "draw", "serve", "look", "measure", "move", "train"]
    assert sorted(commands) == sorted(
        [
            "generate",
            "edit",
            "serve",
            "convert",
            "export",
            "compare",
            "demo",
            "list",
            "show",
            "order",
            "bench",
            "sample",
            "evaluate",
            "results",
            "verify",
            "data",
            "tokenizer",
            "encode",
            "doctor",
            "estimate",
            "train",
        ]
    )
    for name in commands:
        with pytest.raises(SystemExit):
            main([name, "--help"])
        told = capsys.readouterr().out
        examples = re.findall(rf"^  (parvis {name} .+|parvis {name})$", told.split("examples:\n")[1], re.M)
        assert len(examples) >= 2 and re.search(r"\n\n[A-Z][^\n].*?\.\n\n", told, re.S), name


def test_the_examples_of_the_help_are_calls_that_are_understood() -> None:
    """Every example is parsed, none is run."""
    for _, modules, _ in GROUPS:
        for module in modules:
            for line in getattr(module, "EXAMPLES", ()):
                words = shlex.split(line.partition(" > ")[0])
                assert words[0] == "parvis" and callable(parse(words[1:]).run)
    assert all(callable(parse(shlex.split(example)[1:]).run) for _, _, example in GROUPS)
