"""``parvis sample``, ``parvis evaluate``, ``parvis results``, one after the other on real files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parvis.cli import main
from parvis.evaluate.adm import write_batch
from parvis.evaluate.record import load_all

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]
QUICK = ["--features", "small_net:pooled", "--dimensions", "4", "--subset", "20", "--replicates", "20"]
WORDS = ("red apple", "green", "apple")


@pytest.fixture
def place(bundle: None, models: Path) -> Path:
    """A working directory with samples ``s5`` of the toy model and real pictures with captions."""
    Path("captions.txt").write_text("\n".join(WORDS))
    rng = np.random.default_rng(0)
    Path("real").mkdir()
    lines = []
    for i in range(60):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(f"real/{i:02d}.png")
        lines.append(json.dumps({"file_name": f"{i:02d}.png", "text": WORDS[i % 3]}))
    Path("real/metadata.jsonl").write_text("\n".join(lines))
    sample(5)
    return Path.cwd()


def sample(steps: int) -> None:
    call = ["sample", "toy", "-n", "40", "--captions", "captions.txt", "--steps", str(steps), "-q"]
    assert main([*call, "-o", f"s{steps}", "--device", "cpu"]) == 0


@pytest.mark.filterwarnings("default::UserWarning")
def test_samples_are_measured_recorded_and_compared(place: Path, capsys: Capture) -> None:
    sample(2)
    for steps in (5, 2):
        assert main(["evaluate", f"s{steps}", "--reference", "real", *QUICK]) == 0
    told = capsys.readouterr().out
    assert "frechet_projected" in told and "40 pictures against 60 of real, small_net:pooled" in told
    first, second = load_all(place / "results")
    metrics = {"frechet", "frechet_projected", "kid", "precision", "recall", "density", "coverage", "near_duplicates"}
    assert set(first.metrics) == metrics | {"caption_top1", "caption_top5"}
    by_steps = {record.settings["steps"]: record for record in (first, second)}
    assert set(by_steps) == {5, 2} and by_steps[2].cost["passes"] == 2 and by_steps[5].cost["seconds_per_picture"] > 0
    assert first.samples["seeds"] == [0, 39] and len(first.model["files"]["model.safetensors"]) == 64
    assert main(["results", "compare", first.id[:12], second.id[:12]]) == 0
    assert "settings.steps" in capsys.readouterr().out
    assert main(["results", "plot", "-o", "pareto.png"]) == 0 and Path("pareto.png").exists()


def test_a_batch_and_the_folder_it_came_from_measure_alike(place: Path, capsys: Capture) -> None:
    assert main(["evaluate", "s5", "--reference", "real", *QUICK, "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    os.rename("s5/samples.npz", "alone.npz")
    assert main(["evaluate", "alone.npz", "--reference", "real", *QUICK, "--json", "--name", "mine"]) == 0
    two = json.loads(capsys.readouterr().out)
    assert {k: two["metrics"][k] for k in two["metrics"]} == {k: one["metrics"][k] for k in two["metrics"]}
    assert "caption_top1" in one["metrics"] and "caption_top1" not in two["metrics"]
    names = {record.name for record in load_all(place / "results")}
    assert names == {"toy", "mine"}


@pytest.mark.filterwarnings("default::UserWarning")
def test_equal_pictures_are_a_warning_and_a_note(place: Path, capsys: Capture) -> None:
    images = np.random.default_rng(1).integers(0, 256, (30, 16, 16, 3), dtype=np.uint8)
    images[15:] = images[:15]
    write_batch(Path("twice.npz"), [images], 30)
    assert main(["evaluate", "twice.npz", "--reference", "real", *QUICK, "-q"]) == 0
    assert "15 of 30 pictures are equal" in capsys.readouterr().err
    (record,) = load_all(place / "results")
    assert any("one seed twice" in note for note in record.notes) and record.metrics["near_duplicates"]["value"] == 1


def test_published_statistics_give_one_distance(place: Path, capsys: Capture) -> None:
    np.savez("stats.npz", mu=np.zeros(12), sigma=np.eye(12))
    assert main(["evaluate", "s5", "--reference", "stats.npz", *QUICK, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["metrics"]) == {"frechet", "near_duplicates"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("evaluate s5 --reference nowhere --features thumbnails", "is not a folder"),
        ("evaluate s5 s5 --reference real --features thumbnails", "one after the other"),
        ("evaluate s5 --reference real --features lite", "unknown feature net"),
        ("evaluate s5 --reference real --features thumbnails --batch 0", "--batch 0"),
        ("evaluate cut --reference real --features thumbnails", "not finished"),
        ("evaluate tokenizer toy --reference real --features thumbnails --resolution 18", "multiple of 4"),
    ],
)
def test_wrong_calls_leave_no_record(place: Path, call: str, message: str, capsys: Capture) -> None:
    Path("cut").mkdir()
    os.link("s5/plan.json", "cut/plan.json")
    assert main(call.split()) in (1, 2)
    assert message in capsys.readouterr().err and not Path("results").exists()


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_tokenizer_is_measured(place: Path, capsys: Capture) -> None:
    call = ["evaluate", "tokenizer", "toy", "--reference", "real", *QUICK, "--json"]
    assert main(call) == 0
    found = json.loads(capsys.readouterr().out)["metrics"]
    assert {"psnr", "ssim", "edges_in_place", "edges_left", "frechet", "codes_used", "code_entropy_bits"} <= set(found)
    assert 0 < found["psnr"]["value"] < 30 and 0 < found["codes_used"]["value"] <= 1
    assert -1 < found["stripes_3px"]["value"] < 1 and found["stripes_8px"]["floor"] == 1
    assert found["code_entropy_bits"]["value"] <= 4 and found["letters_8px"]["floor"] > 0.9
    (record,) = load_all(place / "results")
    assert record.kind == "tokenizer" and list(record.model["files"]) == ["tokenizer.safetensors"]
    assert main([*call, "--limit", "20"]) == 0 and record.samples["count"] == 60


@pytest.mark.slow
def test_the_bundled_model_end_to_end_with_the_packaged_net(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    (tmp_path / "c.txt").write_text("red apple\nwoman astronaut dark skin\n")
    where = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}

    def parvis(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "parvis.cli", *words], cwd=tmp_path, env=where, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    for name, seed in (("one", "0"), ("two", "1000")):
        parvis("sample", "emoji-64", "-n", "16", "--captions", "c.txt", "--seed", seed, "-o", name, "--device", "cpu")
    parvis("evaluate", "one", "--reference", "two/samples.npz", "--dimensions", "4", "--replicates", "20")
    listed = json.loads(parvis("results", "list", "--json"))
    assert [one["model"] for one in listed] == ["emoji-64"] and listed[0]["features"] == "efficientnet-lite0"
