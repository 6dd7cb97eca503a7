"""Mass sampling: exact ids, the same bytes whoever draws, resumed at any point."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from parvis.cli import main
from parvis.commands.sample import plan_of
from parvis.errors import DataError, TrainingError, UsageError, WeightsError
from parvis.evaluate.adm import read_batch
from parvis.mass import Plan, blocks, finish, missing, read_plan, work
from parvis.mass.actors import with_ray
from parvis.mass.blocks import pictures
from parvis.mass.plan import read_captions, write_plan
from parvis.mass.work import draw_block, in_processes
from parvis.pipeline import Pipeline, load
from toys import toy

ROOT = Path(__file__).parents[2]
PLAN = Plan("x", 10, {"name": "x"}, {"steps": 3}, 5, "balanced", 4, (), 8, 8, 4)


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    path = tmp_path / "captions.txt"
    path.write_text("red apple\n\ngreen\napple\n")
    return path


def begun(models: Path, out: Path, count: int = 10, block: int = 4, **parts: Any) -> Plan:
    """A plan in ``out`` for the toy model, nothing drawn yet."""
    pipeline = load(models / "toy", device="cpu")
    given = argparse.Namespace(
        model=str(models / "toy"), n=count, seed=3, classes="balanced", block=block, steps=2, order=None, guidance=None,
        temperature=None, top_k=None, top_p=None, format=("npz",),
    )  # fmt: skip
    return write_plan(out, replace(plan_of(pipeline, given, ("red apple", "green", "apple")), **parts))


def contents(out: Path) -> dict[str, bytes]:
    """Everything that must not depend on who drew it."""
    return {
        p.name: p.read_bytes()
        for p in sorted(out.rglob("*"))
        if p.name in ("samples.npz", "manifest.json") or p.suffix == ".tar"
    }


def test_seeds_and_classes_are_functions_of_the_id_alone() -> None:
    longer = replace(PLAN, count=1000, block=7)
    assert [PLAN.prompt(i) for i in range(10)] == [longer.prompt(i) for i in range(10)]
    assert [PLAN.seed_of(i) for i in (0, 9)] == [5, 14] and longer.blocks()[-1] == (994, 1000)
    assert set(Counter(longer.label(i) for i in range(1000)).values()) == {250}
    drawn = replace(longer, conditions="random")
    counts = Counter(drawn.label(i) for i in range(1000))
    assert set(counts) == {0, 1, 2, 3} and 200 < min(counts.values()) < 250
    assert drawn.labels() == replace(drawn, count=2000).labels()[:1000]  # type: ignore[index]
    told = replace(PLAN, conditions="captions", captions=("a", "b", "c"), classes=0)
    assert [told.prompt(i) for i in range(4)] == ["a", "b", "c", "a"] and told.labels() is None


def test_every_way_to_draw_gives_the_same_bytes(models: Path, tmp_path: Path) -> None:
    """One process; batches of another size; blocks in another order; several ranks; a run that was cut twice."""
    found = []
    for name, batch, turns in (
        ("one", 64, [(0, 1)]),
        ("batches", 3, [(0, 1)]),
        ("single", 1, [(0, 1)]),
        ("ranks", 64, [(2, 3), (0, 3), (1, 3)]),
    ):
        out = tmp_path / name
        begun(models, out, formats=("npz", "png"))
        assert sum(work(out, rank, world, "cpu", batch) for rank, world in turns) == 10
        finish(out)
        found.append(contents(out))
    assert all(one == found[0] for one in found) and len(found[0]) == 5
    images, labels = read_batch(tmp_path / "one" / "samples.npz")
    assert images.shape == (10, 16, 16, 3) and labels is None and len({image.tobytes() for image in images}) == 10
    alone = load(models / "toy", device="cpu").generate("green", seed=3 + 7, steps=2)
    assert (np.asarray(alone[0]) == images[7]).all()
    assert pictures(tmp_path / "one", read_plan(tmp_path / "one")).read(3, 9).tobytes() == images[3:9].tobytes()


def test_a_run_that_is_cut_goes_on_and_draws_nothing_twice(models: Path, tmp_path: Path) -> None:
    plan = begun(models, tmp_path / "whole")
    work(tmp_path / "whole", device="cpu")
    finish(tmp_path / "whole")

    class Cut(Exception):
        pass

    def stop(more: int) -> None:
        raise Cut

    out = tmp_path / "cut"
    begun(models, out)
    for left in ([(4, 8), (8, 10)], [(8, 10)]):
        with pytest.raises(Cut):
            work(out, device="cpu", told=stop)
        assert missing(out, plan) == left
    with pytest.raises(DataError, match="lacks pictures 8 to 9"):
        finish(out)
    assert work(out, device="cpu") == 2
    finish(out)
    assert contents(out) == contents(tmp_path / "whole")
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.npz")}
    assert work(out, device="cpu") == 0 and finish(out).passes == 2
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*.npz")}


def test_a_longer_plan_goes_on_from_a_shorter_one(models: Path, tmp_path: Path) -> None:
    begun(models, tmp_path / "long", 18, formats=("npz", "png"))
    work(tmp_path / "long", device="cpu")
    finish(tmp_path / "long")
    out = tmp_path / "grown"
    for count, drawn in ((10, 10), (18, 10)):  # the last block, of two pictures, is drawn again as one of four
        begun(models, out, count, formats=("npz", "png"))
        assert work(out, device="cpu") == drawn
        finish(out)
    assert contents(out) == contents(tmp_path / "long")
    with pytest.raises(UsageError, match="holds 18 pictures, 10 are asked"):
        begun(models, out, 10)


def test_what_is_lost_or_damaged_is_drawn_again_or_named(models: Path, tmp_path: Path) -> None:
    plan = begun(models, tmp_path, formats=("npz", "png"))
    work(tmp_path, device="cpu")
    finish(tmp_path)
    good = contents(tmp_path)
    (tmp_path / "samples.npz").unlink()
    (tmp_path / "blocks" / "000004-000008.tar").unlink()
    assert len(missing(tmp_path, plan)) == 3
    work(tmp_path, device="cpu")
    finish(tmp_path)
    assert contents(tmp_path) == good
    data = bytearray((tmp_path / "samples.npz").read_bytes())
    data[3000] ^= 1
    (tmp_path / "samples.npz").write_bytes(bytes(data))
    with pytest.raises(DataError, match="not those that were drawn"):
        finish(tmp_path)


def test_the_sheet_has_the_names_of_classes_where_they_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[str]] = []
    monkeypatch.setattr(blocks, "sheet", lambda images, names: told.append(list(names)) or images[0])
    write_plan(tmp_path, PLAN)
    for low, high in PLAN.blocks():
        blocks.write_block(tmp_path, PLAN, low, np.zeros((high - low, 8, 8, 3), np.uint8), {"passes": 1, "seconds": 1})
    finish(tmp_path)
    finish(tmp_path, ("apple", "pear", "plum", "fig"))
    assert told == [[str(i % 4) for i in range(10)], [("apple", "pear", "plum", "fig")[i % 4] for i in range(10)]]


def test_the_shards_are_a_webdataset(models: Path, tmp_path: Path) -> None:
    begun(models, tmp_path, formats=("png",))
    work(tmp_path, device="cpu")
    finish(tmp_path)
    assert not (tmp_path / "samples.npz").exists()
    with tarfile.open(tmp_path / "blocks" / "000004-000008.tar") as archive:
        assert archive.getnames() == [f"{i:08d}.{s}" for i in range(4, 8) for s in ("png", "json")]
        member = archive.extractfile("00000007.json")
        assert member is not None and json.load(member) == {"id": 7, "seed": 10, "caption": "green"}
    plan = read_plan(tmp_path)
    found = pictures(tmp_path, plan)
    assert found.read(0, 10).shape == (10, 16, 16, 3) and found.captions is not None and found.captions[7] == "green"


@pytest.mark.parametrize("name", ["lpd", "var", "mar"])
def test_models_of_classes_write_labels(name: str, tmp_path: Path) -> None:
    system = toy(name)
    pipeline = Pipeline(system, device="cpu", precision="fp32")
    given = argparse.Namespace(
        model="toy", n=7, seed=0, classes="balanced", block=3, steps=None, order=None, guidance=None, temperature=None,
        top_k=None, top_p=None, format=("npz",),
    )  # fmt: skip
    plan = write_plan(tmp_path, plan_of(pipeline, given, ()))
    for low, high in plan.blocks():
        draw_block(pipeline, tmp_path, plan, low, high)
    finish(tmp_path)
    images, labels = read_batch(tmp_path / "samples.npz")
    assert labels is not None and labels.tolist() == [0, 1, 2, 3, 4, 0, 1] and len(images) == 7


def test_other_settings_weights_and_places_are_refused(models: Path, tmp_path: Path) -> None:
    plan = begun(models, tmp_path / "out")
    with pytest.raises(UsageError, match="seed: 3 there, 4 asked"):
        begun(models, tmp_path / "out", seed=4)
    with pytest.raises(UsageError, match="holds something"):
        begun(models, models)
    shutil.copytree(models / "toy-raster", tmp_path / "other")
    (tmp_path / "o2").mkdir()
    write_plan(tmp_path / "o2", replace(plan, source=str(tmp_path / "other")))
    with pytest.raises(WeightsError, match="not the model"):
        work(tmp_path / "o2", device="cpu")
    path = tmp_path / "out" / "plan.json"
    path.write_text(path.read_text().replace('"seed": 3', '"seed": 9'))
    with pytest.raises(DataError, match="changed"):
        read_plan(tmp_path / "out")


@pytest.mark.parametrize(
    "parts", [{"count": 0}, {"block": 0}, {"seed": -1}, {"formats": ("jpg",)}, {"formats": ()}, {"classes": 0}]
)
def test_a_plan_that_cannot_be_carried_out_is_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        replace(PLAN, **parts)


def test_captions_of_files(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"text": "a"}\n{"caption": "b", "x": 1}\n')
    assert read_captions(path) == ("a", "b")
    for text in ("", "{}", "[1"):
        path.write_text(text)
        with pytest.raises(DataError):
            read_captions(path)


def test_the_command_draws_resumes_and_says_so(
    models: Path, captions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    call = ["sample", str(models / "toy"), "-n", "6", "--captions", str(captions), "--steps", "2", "--block", "4"]
    assert main([*call, "-o", str(out), "--device", "cpu"]) == 0
    assert "6 pictures (0 were there), 2 passes" in capsys.readouterr().out
    assert main([*call, "-o", str(out), "--device", "cpu", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["drawn"] == 0 and told["count"] == 6 and told["seeds"] == [0, 5]
    for more, message in (
        (["--steps", "3"], "settings"),
        (["--workers", "0"], "--workers 0"),
        (["--order", "lqd"], "did you mean 'lpd'"),
        (["--guidance", "nan"], "guidance"),
        (["--order", "raster"], "takes 16 passes"),
        (["--format", "gif"], "npz, png"),
    ):
        assert main([*call, "-o", str(out), "--device", "cpu", *more]) == 2
        assert message in capsys.readouterr().err
    assert main([*call[:4], "-o", str(tmp_path / "new")]) == 2
    assert "--captions FILE" in capsys.readouterr().err and not (tmp_path / "new").exists()


@pytest.mark.slow
def test_processes_and_ranks_draw_what_one_process_draws(models: Path, captions: Path, tmp_path: Path) -> None:
    call = [sys.executable, "-m", "parvis.cli", "sample", str(models / "toy"), "-n", "9", "--captions", str(captions)]
    call += ["--steps", "2", "--block", "2", "--device", "cpu"]
    where = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen([*call, "-o", str(tmp_path / "workers"), "--workers", "2"], env=where),
        *(
            subprocess.Popen(
                [*call, "-o", str(tmp_path / "ranks")],
                env={**where, "RANK": str(r), "WORLD_SIZE": "2", "LOCAL_RANK": str(r), "TORCHELASTIC_RUN_ID": "x"},
            )
            for r in range(2)
        ),
    ]
    assert main([*call[3:], "-o", str(tmp_path / "one")]) == 0
    assert [run.wait(timeout=400) for run in runs] == [0, 0, 0]
    assert contents(tmp_path / "one") == contents(tmp_path / "workers") == contents(tmp_path / "ranks")


@pytest.mark.slow
def test_a_worker_that_fails_is_named_and_the_rest_stays(models: Path, tmp_path: Path) -> None:
    plan = begun(models, tmp_path / "out")
    shutil.copytree(models / "toy", tmp_path / "gone")
    out = tmp_path / "out2"
    write_plan(out, replace(plan, source=str(tmp_path / "gone")))
    (tmp_path / "gone" / "model.safetensors").unlink()
    with pytest.raises(TrainingError, match="run the same command"):
        in_processes(out, 1, "cpu", 4)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'parvis[ray]'")
def test_rays_actors_draw_the_same_though_one_is_killed(models: Path, tmp_path: Path) -> None:
    """In a process of its own: Ray's workers import from there. The killed actor leaves a mark before it dies."""
    for name in ("here", "one", "three", "dead"):
        begun(models, tmp_path / name, 24, 2)
    work(tmp_path / "here", device="cpu")
    script = Path(__file__).with_name("killed_actor.py")
    where = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], env=where, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "mark").read_text().startswith("killed ")
    for name in ("here", "one", "three"):
        finish(tmp_path / name)
    assert contents(tmp_path / "here") == contents(tmp_path / "one") == contents(tmp_path / "three")
    told = (tmp_path / "told").read_text()
    assert "died 5 times and drew nothing" in told and "run the same command again" in told


def test_without_ray_it_says_how_to_get_it(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(models, tmp_path / "out")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'parvis\[ray\]'"):
        with_ray(tmp_path / "out", 2, "cpu", 4)


def test_a_ray_that_does_not_start_is_no_traceback(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**how: Any) -> None:
        raise ConnectionError("nobody there")

    begun(models, tmp_path / "out")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=init))
    monkeypatch.setitem(sys.modules, "ray.data", SimpleNamespace())
    with pytest.raises(TrainingError, match=r"RAY_ADDRESS.*ConnectionError: nobody there"):
        with_ray(tmp_path / "out", 2, "cpu", 4)
