"""The server on Ray Serve: its arguments, one replica without Ray, and two replicas of which one is killed."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from pydantic import ValidationError

import parvis
from parvis.errors import EngineStopped, UsageError
from parvis.serve.ray import Args, Replica, app, begin
from parvis.serve.settings import KEY as VARIABLE
from served import GENERATE, KEY, error, picture, until

ROOT = Path(__file__).parents[2]
HEADERS = {"Authorization": f"Bearer {KEY}"}
ASKED = {"prompt": "red apple", "seed": 5, "steps": 8}
LONG = {"prompt": "green apple", "n": 10, "steps": 64, "stream": True, "x_partials": "all"}
SECONDS = 240


def test_arguments_are_words_of_a_command_line_and_values_of_a_file() -> None:
    told = Args.model_validate({"model": "emoji-64,./mine", "replicas": "3", "cpus": "0.5", "log_prompts": "true"})
    assert told.model == ("emoji-64", "./mine") and told.replicas == 3 and told.cpus == 0.5 and told.log_prompts
    assert Args.model_validate({"model": ["a", "b"]}).model == ("a", "b") and Args().model == ("emoji",)
    assert app.__annotations__["args"] is Args, "Ray converts nothing where the annotation is a string"


@pytest.mark.parametrize("wrong", [{"replicas": 0}, {"deadline": "inf"}, {"grace": -1}, {"queue": "many"}, {"gpu": 1}])
def test_arguments_that_mean_nothing_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Args.model_validate(wrong)


def test_a_key_that_is_given_as_an_argument_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValidationError, match="api_key") as caught:
        Args.model_validate({"api_key": KEY})
    assert KEY not in str(caught.value)


def test_without_ray_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'parvis\[ray\]'"):
        app(Args())


def test_there_must_be_a_key(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(UsageError, match="wants a key"):
        begin(Args(model=(str(models / "toy"),)), "a")


def test_a_replica_is_the_server_with_a_name(models: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    replica = Replica()
    replica.app = begin(Args(model=(str(models / "toy"),), slots=2, api_key_file=tmp_path / "key"), "a1")
    replica.check_health()

    async def ask(method: str, path: str, **what: Any) -> httpx.Response:
        transport = httpx.ASGITransport(replica.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://any.example", timeout=60) as client:
            return await client.request(method, path, **what)

    asked = {"prompt": "red apple", "seed": 5, "steps": 4}
    answer = asyncio.run(ask("POST", GENERATE, json=asked, headers=HEADERS | {"x-request-id": "mine"}))
    assert answer.status_code == 200 and answer.headers["x-replica"] == "a1"
    assert "x-request-id" not in answer.headers, "Ray's proxy adds it"
    alone = parvis.load(models / "toy", device="cpu").generate("red apple", seed=5, steps=4)
    assert (np.asarray(picture(answer.json()["data"][0]["b64_json"])) == np.asarray(alone[0])).all()
    refused = asyncio.run(ask("POST", GENERATE, json=asked))
    assert refused.status_code == 401 and refused.headers["x-replica"] == "a1"
    assert asyncio.run(ask("GET", "/ready")).status_code == 200

    replica.__del__()
    with pytest.raises(EngineStopped):
        replica.check_health()
    assert asyncio.run(ask("GET", "/ready")).status_code == 503


@dataclass
class Cluster:
    """Two replicas behind Ray's proxy."""

    url: str
    process: subprocess.Popen[str]
    folder: Path

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=8, timeout=60)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.url + path, headers=HEADERS | headers, timeout=60)

    def names(self, calls: int = 40) -> set[str]:
        """The replicas that answer."""
        return {answer.headers["x-replica"] for answer in (self.get("/ready") for _ in range(calls))} - {""}

    def counts(self, name: str) -> dict[str, float]:
        """What a replica counts."""
        answer = self.get("/metrics")
        while answer.headers["x-replica"] != name:
            answer = self.get("/metrics")
        lines = [line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#")]
        return {what: float(value) for what, _, value in lines}

    def processes(self) -> list[int]:
        """The replicas' processes; those of other clusters on this machine are not among them."""
        parents = {int(path.name): parent(path) for path in Path("/proc").glob("[0-9]*")}
        mine = {self.process.pid}
        for _ in range(4):
            mine |= {process for process, above in parents.items() if above in mine}
        return sorted(process for process in mine if title(process).startswith("ray::ServeReplica"))


def parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def title(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs Ray: pip install 'parvis[ray]'")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # Ray's sockets lie there: a long name would be too long for them
    call = [sys.executable, str(Path(__file__).with_name("replicas.py"))]
    call += [json.dumps({"model": "emoji-64", "replicas": 2, "grace": 5}), str(port), str(folder)]
    where = {**os.environ, VARIABLE: KEY, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            call, env=where, stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT, text=True
        )
    try:
        until(lambda: process.poll() is not None or '{"up":' in (folder / "said").read_text(), SECONDS)
        assert process.poll() is None, (folder / "said").read_text()[-3000:]
        yield Cluster(f"http://127.0.0.1:{port}", process, folder)
    finally:
        process.communicate(timeout=SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_both_replicas_draw_the_same_picture_of_a_seed(cluster: Cluster) -> None:
    drawn: dict[str, set[bytes]] = {}
    for _ in range(30):
        answer = cluster.client.images.with_raw_response.generate(
            prompt="red apple", extra_body={"seed": 5, "steps": 8}
        )
        found = answer.parse().data
        assert found is not None and found[0].b64_json is not None
        drawn.setdefault(answer.headers["x-replica"], set()).add(picture(found[0].b64_json).tobytes())
    alone = parvis.load("emoji-64", device="cpu").generate("red apple", seed=5, steps=8)
    assert list(drawn.values()) == [{alone[0].tobytes()}] * 2


@pytest.mark.slow
def test_keys_errors_and_ids_are_as_without_ray(cluster: Cluster) -> None:
    assert httpx.get(f"{cluster.url}/ready").json() == {"status": "ready"}
    assert httpx.get(cluster.url).headers["content-type"].startswith("text/html")
    for path in ("/v1/models", "/metrics", "/nowhere"):
        refused = httpx.get(cluster.url + path)
        assert refused.status_code == 401 and error(refused)["code"] == "invalid_api_key"
    wrong = httpx.post(cluster.url + GENERATE, json=ASKED | {"model": "other"}, headers=HEADERS)
    assert wrong.status_code == 404 and error(wrong)["code"] == "model_not_found"
    assert cluster.get("/ready", **{"x-request-id": "mine-1"}).headers.get_list("x-request-id") == ["mine-1"]


@pytest.mark.slow
def test_streams_are_streams_and_a_client_that_leaves_is_noticed(cluster: Cluster) -> None:
    told = cluster.client.images.generate(
        prompt="red apple", stream=True, partial_images=2, extra_body={"seed": 5, "steps": 8}
    )
    kinds = [event.type for event in told]
    assert kinds == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]

    with httpx.stream("POST", cluster.url + GENERATE, json=LONG, headers=HEADERS, timeout=60) as answer:
        assert next(answer.iter_lines()).startswith("event: image_generation.partial_image")
    name = answer.headers["x-replica"]
    until(lambda: cluster.counts(name)["parvis_requests_running"] == 0)
    ended = cluster.counts(name)
    assert ended['parvis_request_success_total{finished_reason="cancelled"}'] == 10


@pytest.mark.slow
def test_a_killed_replica_is_replaced_and_clients_are_served_meanwhile(cluster: Cluster) -> None:
    before, processes = cluster.names(), cluster.processes()
    assert len(before) == len(processes) == 2
    os.kill(processes[0], signal.SIGKILL)
    pictures = set()
    for _ in range(10):
        found = cluster.client.images.generate(prompt="red apple", extra_body={"seed": 5, "steps": 8}).data
        assert found is not None and found[0].b64_json is not None
        pictures.add(picture(found[0].b64_json).tobytes())
    assert len(pictures) == 1
    end = time.monotonic() + SECONDS
    while len(after := cluster.names()) < 2 or after == before:
        assert time.monotonic() < end, f"{before} before, {after} after"
    assert len(after) == 2 and len(after & before) == 1
    assert processes[0] not in cluster.processes() and len(cluster.processes()) == 2


@pytest.mark.slow
def test_rays_metrics_have_the_counts_of_every_replica(cluster: Cluster) -> None:
    names = cluster.names()
    (port,) = (path.read_text() for path in (cluster.folder / "session_latest").glob("metrics_export_port*"))

    def told() -> set[str]:
        lines = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text.splitlines()
        drawn = [line for line in lines if line.startswith("ray_parvis_steps_total{")]
        return {name for name in names for line in drawn if f'replica="{name}"' in line}

    until(lambda: told() == names)


@pytest.mark.slow
def test_neither_key_nor_prompts_are_in_rays_logs(cluster: Cluster) -> None:
    logs = [path for path in cluster.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    said = [path.read_bytes() for path in logs]
    assert any(b"/v1/images/generations" in text for text in said), "these are the logs"
    assert not any(KEY.encode() in text or b"red apple" in text for text in said)
