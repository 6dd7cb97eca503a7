"""What may happen to a long run: kill -9, a full disk, a dead neighbour, a loss that is not finite, a signal.

Every test shows that its fault has struck. The long ones are marked slow; docs/long_runs.md has what they found.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from parvis.errors import OutputError, Stopped
from parvis.train.checkpoint import steps_of
from parvis.train.interrupt import Interrupt
from parvis.train.shards import sha256_of
from training_worker import metrics, start, train

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="kills and limits as Linux has them")
pytestmark = LINUX
two = pytest.mark.skipif(find_spec("accelerate") is None, reason="several processes need accelerate")


def whole(folder: Path) -> bool:
    """Whether every checkpoint of a run has all files that it lists, with the bytes that were meant."""
    for step in steps_of(folder):
        path = folder / f"step-{step:08d}"
        listed = json.loads((path / "state.json").read_text())["files"]
        if {p.name for p in path.iterdir()} != {*listed, "state.json"}:
            return False
        if any(sha256_of(path / name) != entry["sha256"] for name, entry in listed.items()):
            return False
    return bool(steps_of(folder))


@pytest.mark.parametrize("every", [1, 3])
def test_five_and_five_are_ten_in_every_printed_digit(tmp_path: Path, every: int) -> None:
    expected = train(out=tmp_path / "a", log_every=every)
    train(out=tmp_path / "b", log_every=every, until=5)
    assert train(out=tmp_path / "b", log_every=every, seed_of_net=9) == expected
    assert metrics(tmp_path / "b") == metrics(tmp_path / "a")


def killed_and_resumed(out: Path, kills: int, seed: int, processes: int = 1, shard: bool = False) -> dict[str, int]:
    """Kills a run ``kills`` times, half of them while a checkpoint is being written; checks what is left each time."""
    draw, written, lost = random.Random(seed), 0, 0
    settings = {"steps": 12 * kills, "checkpoint_every": 3, "log_every": 1, "width": 192, "shard": shard}
    checkpoints = out / "checkpoints"
    for kill in range(kills):
        begun = max(steps_of(checkpoints), default=0)
        lives = start({"out": str(out), "slow": 0.004, **settings}, processes=processes)
        goal, writing = begun + draw.randrange(1, 9), kill % 2 == 0
        until = time.monotonic() + 60
        while time.monotonic() < until and lives[0].process.is_alive():
            lines = (out / "metrics.jsonl").read_text().splitlines() if (out / "metrics.jsonl").exists() else []
            far = len(lines) and lines[-1].endswith("}") and json.loads(lines[-1])["step"] >= goal
            if far and not writing:
                time.sleep(draw.random() * 0.02)
                break
            if far and writing and any(checkpoints.glob(".step-*.partial")):
                time.sleep(draw.random() * 0.002)
                break
        victim = draw.choice(lives)
        os.kill(victim.process.pid, signal.SIGKILL)
        codes = []
        for life in lives:
            code, _, text = life.finish(60)
            codes.append(code)
            assert code in (-signal.SIGKILL, 1), text
        assert -signal.SIGKILL in codes, "the fault did not strike"
        written += any(checkpoints.glob(".step-*.partial"))
        if steps_of(checkpoints):
            assert whole(checkpoints)
        logged = max(line["step"] for line in metrics(out))
        newest = max(steps_of(checkpoints), default=0)
        lost = max(lost, int(logged) - newest)
        assert newest >= begun
    for life in start({"out": str(out), **settings}, processes=processes):
        code, lines, text = life.finish()
        assert code == 0, text
    (life,) = start({"out": str(out.parent / "uninterrupted"), **settings}, processes=1)  # on as many threads
    code, expected, text = life.finish()
    assert code == 0, text
    if processes == 1:
        assert lines[-1] == expected[-1]
    assert not list(checkpoints.glob(".*")), "what the kills left was not swept"
    return {"kills": kills, "while writing": written, "most steps lost": lost, "steps": settings["steps"]}


def test_a_run_killed_four_times_ends_as_one_that_was_not(tmp_path: Path) -> None:
    found = killed_and_resumed(tmp_path / "out", 4, seed=0)
    assert metrics(tmp_path / "out") == metrics(tmp_path / "uninterrupted")
    assert found["most steps lost"] <= 4


@pytest.mark.slow
def test_a_run_killed_thirty_times_ends_as_one_that_was_not(tmp_path: Path) -> None:
    found = killed_and_resumed(tmp_path / "out", 30, seed=1)
    print(found)
    assert metrics(tmp_path / "out") == metrics(tmp_path / "uninterrupted")
    assert found["while writing"] >= 8 and found["most steps lost"] <= 4


@pytest.mark.slow
@pytest.mark.parametrize(("shard", "kills"), [(False, 10), (True, 5)])
def test_two_processes_killed_often_end_as_if_not(tmp_path: Path, shard: bool, kills: int) -> None:
    print(killed_and_resumed(tmp_path / "out", kills, seed=2, processes=2, shard=shard))
    for line, expected in zip(metrics(tmp_path / "out"), metrics(tmp_path / "uninterrupted"), strict=True):
        assert line == pytest.approx(expected, rel=1e-4)


def test_a_limit_on_files_is_an_output_error_and_older_checkpoints_stay(tmp_path: Path) -> None:
    train(out=tmp_path, until=4, width=64)
    before = {p: p.read_bytes() for p in (tmp_path / "checkpoints").rglob("*") if p.is_file()}
    (life,) = start({"out": str(tmp_path), "width": 64, "limit": 20_000}, processes=1)
    code, lines, text = life.finish()
    assert code == 1 and lines[-1]["error"] == "OutputError" and "File too large" in lines[-1]["message"], text
    assert "step-00000008" in lines[-1]["message"]
    assert {p: p.read_bytes() for p in (tmp_path / "checkpoints").rglob("*") if p.is_file()} == before
    assert train(out=tmp_path, width=64) == train(width=64)


def test_a_full_disk_is_an_output_error_and_older_checkpoints_stay(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", str(disk).encode(), b"tmpfs", 0, b"size=400k"):
        pytest.skip("a file system of some kilobytes needs root")
    try:
        free = os.statvfs(disk)
        assert free.f_blocks * free.f_frsize <= 450_000
        with pytest.raises(OutputError, match="No space left on device") as caught:
            train(out=disk, width=64, checkpoint_every=1, keep=100)
        left = steps_of(disk / "checkpoints")
        assert left and f"step-{left[-1] + 1:08d}" in str(caught.value)
        assert whole(disk / "checkpoints") and not list((disk / "checkpoints").glob(".*"))
    finally:
        libc.umount2(str(disk).encode(), 2)


@two
@pytest.mark.slow
def test_one_process_with_a_full_disk_ends_both(tmp_path: Path) -> None:
    for life in start({"out": str(tmp_path), "until": 4, "width": 64, "shard": True}):
        assert life.finish()[0] == 0
    lives = start({"out": str(tmp_path), "width": 64, "shard": True, "limit": 10_000})
    for code, lines, text in [life.finish() for life in lives]:
        assert code == 1 and lines[-1]["error"] == "OutputError" and "File too large" in lines[-1]["message"], text
    assert steps_of(tmp_path / "checkpoints") == [4] and whole(tmp_path / "checkpoints")
    assert not list((tmp_path / "checkpoints").glob(".*"))


@two
@pytest.mark.parametrize("shard", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("victim", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_killed_process_ends_the_other(tmp_path: Path, shard: bool, victim: int) -> None:
    lives = start({"out": str(tmp_path), "fault": ["SIGKILL", 6, victim], "shard": shard, "timeout": 600.0})
    lives[victim].process.join(60)
    dead = time.monotonic()
    code, lines, text = lives[1 - victim].finish(60)
    assert time.monotonic() - dead < 60
    assert code == 1 and lines[-1]["error"] == "TrainingError" and "no answer from another" in lines[-1]["message"], (
        text
    )
    code, lines, _ = lives[victim].finish()
    assert code == -signal.SIGKILL and lines[-1] == {"fault": "SIGKILL", "rank": victim, "step": 6}
    assert steps_of(tmp_path / "checkpoints") == [4] and whole(tmp_path / "checkpoints")
    train(out=tmp_path)
    train(out=tmp_path / "alone")
    assert metrics(tmp_path)[-1] == pytest.approx(metrics(tmp_path / "alone")[-1], rel=1e-5)


@two
@pytest.mark.slow
def test_a_process_that_hangs_is_given_up(tmp_path: Path) -> None:
    lives = start({"out": str(tmp_path), "fault": ["SIGSTOP", 6, 1], "timeout": 5.0})
    code, lines, text = lives[0].finish(60)
    assert code == 1 and "no answer from another" in lines[-1]["message"], text
    assert lives[1].process.is_alive()
    lives[1].kill()
    assert lives[1].finish()[1][-1]["fault"] == "SIGSTOP"


@two
@pytest.mark.parametrize("shard", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_nan_in_one_process_stops_both(tmp_path: Path, shard: bool) -> None:
    lives = start({"out": str(tmp_path), "fault": ["nan", 5, 1], "shard": shard, "log_every": 100})
    for rank, (code, lines, text) in enumerate(life.finish() for life in lives):
        assert code == 1 and "not finite at step 6" in lines[-1]["message"], text
        assert "step-00000004" in lines[-1]["message"]
        assert rank == 0 or lines[0] == {"fault": "nan", "rank": 1, "step": 5}
    assert steps_of(tmp_path / "checkpoints") == [4]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_writes_a_checkpoint_and_the_run_goes_on_from_it(tmp_path: Path, name: str) -> None:
    (life,) = start({"out": str(tmp_path), "fault": [name, 5, 0]}, processes=1)
    code, lines, text = life.finish()
    assert code == 128 + getattr(signal, name) and lines[0]["fault"] == name, text
    assert lines[-1]["error"] == "Stopped" and f"{name} after step 6" in lines[-1]["message"]
    assert steps_of(tmp_path / "checkpoints") == [4, 6]
    assert train(out=tmp_path) == train(out=tmp_path / "alone")
    assert metrics(tmp_path) == metrics(tmp_path / "alone")


@two
def test_a_signal_to_one_process_stops_both_at_the_same_step(tmp_path: Path) -> None:
    lives = start({"out": str(tmp_path), "fault": ["SIGTERM", 5, 1]})
    for code, lines, text in [life.finish() for life in lives]:
        assert code == 143 and "SIGTERM after step 6" in lines[-1]["message"], text
    assert steps_of(tmp_path / "checkpoints") == [4, 6]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own answer to SIGINT, which a test run in the background was started to ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_without_a_folder_signals_mean_what_they_meant() -> None:
    with pytest.raises(KeyboardInterrupt):
        train(fault=("SIGINT", 3, 0))


@pytest.mark.usefixtures("interruptible")
def test_a_second_signal_counts_when_it_is_not_the_echo_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with pytest.raises(KeyboardInterrupt), Interrupt() as interrupt:
        for later in (0.0, 0.5):
            now = 100.0 + later
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            assert interrupt.number == signal.SIGINT
        now = 103.0
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert Stopped("x", signal.SIGTERM).exit_code == 143
