"""Several processes: the same run as one, divided or not, and checkpoints that any number of them goes on from."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from parvis.errors import OutputError, TrainingError, UsageError
from parvis.train import FitConfig
from parvis.train.distributed import ALONE, World, join, lost
from parvis.train.spread import blocks_of
from training_worker import SOURCE, metrics, net, start, train

pytest.importorskip("accelerate")

ROUNDING = 2e-6
"""Relative, of float32 losses: sums over parts are added up in another order."""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two gloo processes: whole and stopped after five steps, copied (DDP) and divided (FSDP2)."""
    out = tmp_path_factory.mktemp("two")
    specs = [
        {"out": str(out / f"{kind}-{length}"), "shard": kind == "divided", "until": until, "log_every": every}
        for kind in ("copied", "divided")
        for length, until, every in (("whole", None, 1), ("half", 5, 1), ("thirds", None, 3))
        if (kind, length) != ("divided", "thirds")
    ]
    specs += [{"out": str(out / "copied-half")}]
    for process in start(*specs):
        code, lines, err = process.finish()
        assert code == 0, err
        (out / f"said-{lines[0]['rank']}").write_text(json.dumps(lines))
    return out


def test_two_processes_take_the_steps_of_one(two: Path, tmp_path: Path) -> None:
    one = train(out=tmp_path)
    alone = metrics(tmp_path)
    assert [line["step"] for line in alone] == list(range(1, 11)) and alone[0]["grad"] > 0.3  # it is clipped
    for kind in ("copied", "divided"):
        both = metrics(two / f"{kind}-whole")
        for line, expected in zip(both, alone, strict=True):
            assert line == pytest.approx(expected, rel=ROUNDING)
    said = [json.loads((two / f"said-{rank}").read_text()) for rank in (0, 1)]
    for mine, other in zip(*said, strict=True):
        assert mine["weights"] == other["weights"] and mine["average"] == other["average"]
        assert mine["rank"] == 0 and other["rank"] == 1
    assert said[0][0]["bias"] == pytest.approx(one["bias"], rel=ROUNDING)


def test_a_report_is_the_mean_of_its_steps_over_all_processes(two: Path) -> None:
    lines = metrics(two / "divided-whole")
    means = [sum(line["loss"] for line in lines[i : i + 3]) / 3 for i in (0, 3, 6)]
    assert [line["loss"] for line in metrics(two / "copied-thirds")][:3] == pytest.approx(means, rel=ROUNDING)


def test_two_processes_go_on_to_the_bit(two: Path) -> None:
    assert metrics(two / "copied-half") == metrics(two / "copied-whole")
    said = json.loads((two / "said-0").read_text())
    assert said[-1] == said[0]


@pytest.mark.parametrize("kind", ["copied", "divided"])
def test_one_process_goes_on_from_two(two: Path, kind: str, tmp_path: Path) -> None:
    half = two / ("divided-half" if kind == "divided" else "copied-thirds")
    if kind == "copied":
        for path in (half / "checkpoints").glob("step-*10"):
            path.rename(tmp_path / path.name)  # from step 8
    assert train(out=half)["step"] == 10
    expected = metrics(two / f"{kind}-whole")[-1]
    assert metrics(half)[-1]["loss"] == pytest.approx(expected["loss"], rel=ROUNDING)


def test_shards_are_safetensors_with_sums_and_no_pickle(two: Path, tmp_path: Path) -> None:
    folder = two / "divided-whole/checkpoints/step-00000010"
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 3 and names[-1] == "state.json" and all(n.endswith(".safetensors") for n in names[:2])
    listed = json.loads((folder / "state.json").read_text())["files"]
    assert sorted(listed) == names[:2]
    rows = []
    for name in names[:2]:
        with safe_open(folder / name, "pt") as file:
            rows.append(file.get_slice("model.table.weight").get_shape()[0])
    assert rows == [3, 2]  # neither holds the whole table of five
    damaged = bytearray((folder / names[0]).read_bytes())
    damaged[-1] ^= 1
    (folder / names[0]).write_bytes(damaged)
    with pytest.raises(TrainingError, match=r"damaged.*SHA-256"):
        train(out=two / "divided-whole")


@pytest.mark.slow
def test_two_processes_go_on_from_one(tmp_path: Path) -> None:
    train(out=tmp_path / "whole")
    for shard in (False, True):
        out = tmp_path / str(shard)
        train(out=out, until=5)
        for process in start({"out": str(out), "shard": shard}):
            code, _, err = process.finish()
            assert code == 0, err
        for line, expected in zip(metrics(out), metrics(tmp_path / "whole"), strict=True):
            assert line == pytest.approx(expected, rel=ROUNDING)


LAUNCHERS = {
    "torchrun": "torch.distributed.run --nproc-per-node 2",
    "accelerate": "accelerate.commands.launch --multi_gpu --num_processes 2 --main_process_port 29517",
    "fsdp": "accelerate.commands.launch --use_fsdp --fsdp_version 2 --num_processes 2 --main_process_port 29518",
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_launchers_start_it(launcher: str, tmp_path: Path) -> None:
    """On a CPU as well: accelerate's ``--multi_gpu`` means several processes, what they compute on is asked later."""
    more = "--num_machines 1 --mixed_precision no --dynamo_backend no" if launcher != "torchrun" else ""
    worker = str(Path(__file__).parent.parent / "training_worker.py")
    found = subprocess.run(
        [sys.executable, "-m", *LAUNCHERS[launcher].split(), *more.split(), worker, json.dumps({"out": str(tmp_path)})],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE)},
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    lines = [json.loads(line) for line in found.stdout.replace("}{", "}\n{").splitlines() if line.startswith("{")]
    assert sorted(line["rank"] for line in lines) == [0, 1] and lines[0]["weights"] == lines[1]["weights"]
    assert bool(list(tmp_path.glob("checkpoints/*/shard-*"))) == (launcher == "fsdp")
    train(out=tmp_path / "one")
    assert metrics(tmp_path)[-1] == pytest.approx(metrics(tmp_path / "one")[-1], rel=ROUNDING)


def test_one_process_agrees_with_itself() -> None:
    assert ALONE.main and ALONE.any(True, False) == [True, False] and ALONE.total({"a": 2.0}) == {"a": 2.0}
    assert ALONE.share(lambda: 3) == 3 and ALONE.every(lambda: 4) == [4]


def test_without_accelerate_one_process_trains_and_two_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert join("cpu").size == 1 and train(steps=2)["step"] == 2
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match=r"several processes need.*parvis\[train\]"):
        join("cpu")
    monkeypatch.delenv("WORLD_SIZE")
    with pytest.raises(UsageError, match="trackers need"):
        join("cpu", trackers=("wandb",))


def test_muon_cannot_be_divided_and_a_batch_needs_an_image_for_every_part() -> None:
    with pytest.raises(UsageError, match=r"muon.*shard"):
        FitConfig(steps=1, batch=1, optimizer="muon", shard=True)
    with pytest.raises(UsageError, match="16 images cannot be taken in 17 parts"):
        train(steps=1, accumulate=17)


def test_blocks_are_found_and_leaves_are_not() -> None:
    model = net()
    assert blocks_of(model) == list(model.blocks)
    assert blocks_of(nn.ModuleList([nn.Linear(2, 2)])) == []


def test_errors_of_dead_neighbours_are_told_from_others() -> None:
    assert lost(RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1"))
    assert lost(torch.distributed.DistBackendError("NCCL")) and not lost(RuntimeError("shapes do not fit"))
    assert not lost(OutputError("NCCL"))
    assert dataclasses.replace(ALONE, rank=1).main is False and isinstance(ALONE, World)
