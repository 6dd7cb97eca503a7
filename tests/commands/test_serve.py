"""``parvis serve``: what it refuses to start with, and a real process that is told to stop."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from parvis.cli import main
from parvis.errors import UsageError
from parvis.pipeline import Pipeline
from parvis.serve.service import load_all
from parvis.serve.settings import KEY, find_key
from served import GENERATE, until

LONG = {"prompt": "red", "n": 10, "steps": 16}


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("serve --host 0.0.0.0", "set a key"),
        ("serve --port -1", "a port is"),
        ("serve --deadline 0", "the limit seconds"),
        ("serve --queue 0", "--queue"),
        ("serve --lanes 0", "--lanes"),
        ("serve --slots 0", "slots"),
        ("serve --api-key-file nowhere", "cannot be read"),
        ("serve --model toyy", "did you mean 'toy'"),
        ("serve --api-key abc", "unknown argument"),
    ],
)
def test_what_it_does_not_start_with(
    call: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY, raising=False)
    assert main(call.split()) == 2
    assert message in capsys.readouterr().err


def test_without_the_extra_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "parvis.serve.run", None)
    monkeypatch.delattr("parvis.serve.run", raising=False)
    assert main(["serve"]) == 2
    assert "pip install 'parvis[serve]'" in capsys.readouterr().err


def test_the_key_comes_from_a_file_or_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "from the environment")
    assert find_key(None) == "from the environment"
    file = tmp_path / "key"
    file.write_text("from the file\n")
    assert find_key(file) == "from the file"
    file.write_text("\n")
    with pytest.raises(UsageError, match="empty"):
        find_key(file)
    monkeypatch.setenv(KEY, "")
    assert find_key(None) is None


@pytest.mark.parametrize(
    ("call", "names"),
    [("", ["emoji"]), ("--model a b", ["a", "b"]), ("--model a --model b", ["a", "b"])],
)
def test_several_models_are_given_at_once_or_one_by_one(
    call: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def loaded(given: list[str], *how: str | None) -> dict[str, Pipeline]:
        asked.extend(given)
        raise UsageError("enough is known")

    monkeypatch.setattr("parvis.serve.service.load_all", loaded)
    assert main(["serve", *call.split()]) == 2
    assert asked == names


@pytest.mark.usefixtures("bundle")
def test_models_are_called_as_they_were_given(models: Path) -> None:
    assert list(load_all(["toy", str(models / "toy-raster")], None, None)) == ["toy", "toy-raster"]
    with pytest.raises(UsageError, match="two models"):
        load_all(["toy", str(models / "toy")], None, None)


@contextmanager
def process(models: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``parvis serve`` in a process of its own; gives it and its address."""
    command = [sys.executable, "-m", "parvis.cli", "serve", "--model", str(models / "toy"), "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as started:
        try:
            assert started.stderr is not None
            line = json.loads(started.stderr.readline())
            assert line["event"] == "listening" and line["models"] == ["toy"]
            yield started, line["url"]
        finally:
            started.kill()


def test_a_signal_ends_it_well_and_two_at_once(models: Path) -> None:
    """Drawing goes on after SIGTERM, then the exit code is 0; a second signal ends it in the middle."""
    with process(models, "--slots", "1") as (started, url):
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(httpx.post(url + GENERATE, json=LONG, timeout=60)))
        asking.start()
        until(lambda: "parvis_requests_running 1" in httpx.get(url + "/metrics").text or answers)
        started.send_signal(signal.SIGTERM)
        asking.join(60)
        assert answers[0].status_code == 200 and len(answers[0].json()["data"]) == 10
        assert started.wait(30) == 0
    with process(models, "--grace", "60") as (started, url):
        body = json.dumps(LONG).encode()
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as dawdling:
            dawdling.sendall(f"POST {GENERATE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n".encode())
            dawdling.sendall(b"Content-Type: application/json\r\n\r\n" + body[:5])
            until(lambda: httpx.get(url + "/ready").status_code == 200)
            started.send_signal(signal.SIGTERM)
            until(lambda: httpx.get(url + "/ready").status_code == 503)
            assert started.poll() is None
            started.send_signal(signal.SIGTERM)
            assert started.wait(5) == 128 + signal.SIGTERM
