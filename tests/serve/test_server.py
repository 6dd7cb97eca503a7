"""The server on a socket: clients that leave, dawdle or speak nonsense, a full queue, and how it stops."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from parvis.errors import ServingError
from parvis.serve import images
from parvis.serve.asking import prepare
from parvis.serve.run import Server
from parvis.serve.service import Service
from parvis.serve.settings import Limits, Settings
from served import GENERATE, error, gated, listening, running, slow, until

RED = {"prompt": "red", "seed": 1, "steps": 16}
QUICK = Limits(header_seconds=1.5, body_seconds=1.5, write_seconds=0.5, body_bytes=200_000, json_bytes=100_000)


@pytest.fixture
def service(models: Path) -> Iterator[Service]:
    with running(models, Settings(limits=QUICK), slots=2, queue=2) as service:
        yield service


@pytest.fixture
def server(service: Service) -> Iterator[Server]:
    with listening(service) as server:
        yield server


def raw(server: Server, data: bytes, seconds: float = 20.0) -> bytes:
    """Send this and read until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as connection:
        connection.sendall(data)
        found = b""
        while part := connection.recv(65536):
            found += part
        return found


def told(answer: bytes) -> tuple[int, dict[str, Any]]:
    """The status and what is in the envelope."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


def head(*lines: str) -> bytes:
    return "\r\n".join([f"POST {GENERATE} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


JSON = "Content-Type: application/json"


def test_more_pictures_than_may_ever_wait_are_no_matter_of_waiting(server: Server) -> None:
    answer = httpx.post(server.url + GENERATE, json=RED | {"n": 3})
    told = error(answer)
    assert answer.status_code == 400 and told["param"] == "n" and "3 pictures" in told["message"]
    assert "Retry-After" not in answer.headers
    assert httpx.post(server.url + GENERATE, json=RED | {"n": 2}, timeout=60).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_slot_and_harms_nobody(
    server: Server, service: Service, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    kept: list[str] = []

    def keep() -> None:
        kept.append(httpx.post(server.url + GENERATE, json=RED, timeout=60).json()["data"][0]["b64_json"])

    keep()
    slow(service, monkeypatch, 0.2)
    neighbour = threading.Thread(target=keep)
    body = json.dumps({**RED, "seed": 2, "stream": stream} | ({"x_partials": "all"} if stream else {})).encode()
    neighbour.start()
    until(lambda: service.engine.metrics().running == 1)
    with socket.create_connection(("127.0.0.1", server.port)) as leaving:
        leaving.sendall(head(JSON, f"Content-Length: {len(body)}") + body)
        until(lambda: service.engine.metrics().running == 2)
        seen = b""
        while stream and b"image_generation.partial_image" not in seen:
            seen += leaving.recv(4096)
    until(lambda: service.engine.metrics().cancelled == 1)
    neighbour.join(60)
    until(lambda: service.engine.metrics().running == 0)
    assert kept[0] == kept[1]


def test_a_full_queue_is_told_at_once(server: Server, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = gated(service, monkeypatch)
    with httpx.Client(base_url=server.url, timeout=60) as client:
        waiting = [threading.Thread(target=client.post, args=(GENERATE,), kwargs={"json": RED}) for _ in range(2)]
        for thread in waiting:
            thread.start()
        until(lambda: service.engine.metrics().waiting == 2)
        seconds = []
        for _ in range(30):
            start = time.perf_counter()
            answer = client.post(GENERATE, json=RED)
            seconds.append(time.perf_counter() - start)
            assert answer.status_code == 429 and error(answer)["code"] == "queue_full"
            assert int(answer.headers["retry-after"]) >= 1
        assert min(seconds) < 0.05  # the slowest say more of a busy machine than of the server
        gate.set()
        for thread in waiting:
            thread.join(60)


def test_nobody_is_prepared_in_vain(server: Server, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, prepared = gated(service, monkeypatch), list[Any]()

    def preparing(*given: Any) -> Any:
        prepared.append(given)
        time.sleep(0.3)
        return prepare(*given)

    monkeypatch.setattr(images, "prepare", preparing)
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(httpx.post(server.url + GENERATE, json=RED, timeout=60).status_code)

    asking = [threading.Thread(target=ask) for _ in range(8)]
    for thread in asking:
        thread.start()
    until(lambda: len(statuses) == 6)
    assert set(statuses) == {429} and len(prepared) == 2
    until(lambda: service.engine.metrics().waiting == 2)
    gate.set()
    for thread in asking:
        thread.join(60)
    assert sorted(statuses)[:2] == [200, 200]


def test_a_short_answer_comes_at_once_on_an_old_connection(server: Server) -> None:
    """Its body does not wait until the client has confirmed the headers (Nagle's rule, 40 ms)."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        seconds = sorted(client.get("/health").elapsed.total_seconds() for _ in range(24))
    assert seconds[6] < 0.03  # the slow ones say more of a busy machine than of the server


def test_more_pictures_than_fit_are_none(server: Server, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(service, monkeypatch, 0.1)

    def ask(n: int) -> int:
        return httpx.post(server.url + GENERATE, json={**RED, "n": n}, timeout=60).status_code

    others = [threading.Thread(target=ask, args=(n,)) for n in (2, 1)]
    others[0].start()
    until(lambda: service.engine.metrics().running == 2)
    others[1].start()
    until(lambda: service.engine.metrics().waiting == 1)
    assert ask(2) == 429, "there is room for one"
    for other in others:
        other.join(60)
    until(lambda: service.engine.metrics().running == service.engine.metrics().waiting == 0)
    assert service.engine.metrics().done == 3


def test_headers_that_do_not_come_are_not_waited_for(server: Server) -> None:
    for beginning in (b"", b"POST", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: "):
        status, inside = told(raw(server, beginning))
        assert (status, inside["code"]) == (408, "timeout")
    again = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea"
    answers = raw(server, again)
    assert answers.startswith(b"HTTP/1.1 200") and b"HTTP/1.1 408" in answers
    assert not server.server_state.connections


def test_many_slow_clients_keep_nobody_waiting(server: Server) -> None:
    dawdling = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    for connection in dawdling:
        connection.sendall(b"POST / HTTP/1.1\r\n")
    assert httpx.post(server.url + GENERATE, json=RED, timeout=30).status_code == 200
    until(lambda: not server.server_state.connections)
    for connection in dawdling:
        connection.close()


def test_a_body_that_does_not_come_is_not_waited_for(server: Server) -> None:
    status, inside = told(raw(server, head(JSON, "Content-Length: 100") + b'{"pro'))
    assert (status, inside["code"]) == (408, "timeout")


def test_a_body_that_is_too_large_is_not_read(server: Server) -> None:
    status, inside = told(raw(server, head(JSON, "Content-Length: 99999999999", "Connection: close")))
    assert (status, inside["code"]) == (413, "too_large")
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    status, inside = told(raw(server, head(JSON, "Transfer-Encoding: chunked", "Connection: close") + chunk * 2))
    assert (status, inside["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nBad Header\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"x" * 40_000,
        head(JSON, "Content-Length: 5", "Transfer-Encoding: chunked") + b"zz\r\n",
        head("Content-Length: -5"),
    ],
)
def test_what_is_no_http_is_refused_in_the_envelope(server: Server, nonsense: bytes) -> None:
    status, inside = told(raw(server, nonsense))
    assert status == 400 and inside["type"] == "invalid_request_error"


def test_an_answer_that_is_not_read_is_not_kept(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ask = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        connection.setblocking(False)
        until(lambda: server.server_state.connections)
        try:
            for _ in range(20_000):
                connection.send(ask)
        except (BlockingIOError, ConnectionError):
            pass
        until(lambda: not server.server_state.connections)


def test_told_to_stop_it_finishes_what_runs(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = gated(service, monkeypatch)
    with listening(service) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(client.post(GENERATE, json=RED)))
        asking.start()
        until(lambda: service.engine.metrics().waiting == 1)
        server.handle_exit(signal.SIGTERM, None)
        assert client.get("/ready").status_code == 503
        assert client.post(GENERATE, json=RED).status_code == 503
        assert not answers and client.get("/health").status_code == 200
        gate.set()
        asking.join(60)
        assert answers[0].status_code == 200
        until(lambda: server.should_exit)


def test_a_port_that_is_taken_is_said(server: Server, service: Service) -> None:
    service.settings = Settings(port=server.port)
    with pytest.raises(ServingError, match="another --port"):
        Server(service)
