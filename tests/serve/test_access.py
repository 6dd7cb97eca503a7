"""Who may ask: the key on every route, names without one, and what a server refuses to start with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parvis.errors import UsageError
from parvis.serve.access import OPEN, OPEN_UNDER
from parvis.serve.app import create_app
from parvis.serve.guard import given_id
from parvis.serve.service import Service
from parvis.serve.settings import Limits, Settings, local
from served import GENERATE, KEY, call, error, running


@pytest.fixture(scope="module")
def service(models: Path) -> Iterator[Service]:
    with running(models) as service:
        yield service


@pytest.fixture
def locked(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setattr(service, "settings", Settings(key=KEY))
    return service


def paths(app: Any) -> set[tuple[str, str]]:
    """(method, address) of every route, also of those that are mounted or made by the framework."""
    found: set[tuple[str, str]] = set()
    for route in app.routes:
        found |= paths(route.original_router) if hasattr(route, "original_router") else set()
        path = getattr(route, "path", "")
        methods = getattr(route, "methods", None) or {"GET"} if path else set()
        found |= {(method, path.replace("{model}", "toy") or "/") for method in methods}
    return found


def test_every_route_but_health_and_the_page_wants_the_key(locked: Service) -> None:
    app = create_app(locked)
    asked = paths(app)
    assert {("POST", GENERATE), ("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/page")} <= asked
    for method, path in asked | {("GET", "/nothing"), ("POST", "/health"), ("GET", "//v1/models")}:
        answer = call(locked, method, path)
        if method in ("GET", "HEAD") and (path in OPEN or path.startswith(OPEN_UNDER)):
            assert answer.status_code != 401, path
        else:
            assert answer.status_code == 401, (method, path)
            assert method == "HEAD" or error(answer)["code"] == "invalid_api_key"
    assert OPEN == ("/health", "/ready", "/") and OPEN_UNDER == "/page/"


@pytest.mark.parametrize(
    "given", ["", "Bearer", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", KEY, "Bearer \xff"]
)
def test_a_wrong_key_is_none(locked: Service, given: str) -> None:
    answer = call(locked, "GET", "/v1/models", headers={"authorization": given.encode("latin-1")})  # type: ignore[dict-item]
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"


def test_the_key_opens_whatever_the_name(locked: Service) -> None:
    headers = {"authorization": f"bearer {KEY}", "host": "pictures.example"}
    assert call(locked, "GET", "/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "localhost:8000"}, 200),
        ({"host": "127.0.0.1"}, 200),
        ({"host": "[::1]:80"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": "evil.example@localhost.evil.example"}, 403),
        ({"host": ""}, 403),
        ({"host": "[::1"}, 403),
        ({"host": "169.254.169.254"}, 403),
        ({"origin": "http://localhost:3000"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_without_a_key_only_this_machine_is_answered(service: Service, headers: dict[str, str], status: int) -> None:
    answer = call(service, "GET", "/v1/models", headers=headers)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers


def test_a_further_name_can_be_allowed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "settings", Settings(names=("pictures.example",)))
    assert call(service, "GET", "/v1/models", headers={"host": "pictures.example"}).status_code == 200


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "0.0.0.0"}, "set a key"),
        ({"host": "::"}, "set a key"),
        ({"host": "pictures.example"}, "set a key"),
        ({"key": "short"}, "16 or more"),
        ({"key": "k" * 20 + "\n"}, "printable"),
        ({"port": 70000}, "65535"),
        ({"grace": -1.0}, "grace"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Settings(**settings)


def test_a_key_allows_any_address_and_is_never_shown() -> None:
    assert KEY not in repr(Settings(host="0.0.0.0", key=KEY))
    assert local("127.0.0.9") and local("::1") and local("localhost") and not local("10.0.0.1")
    with pytest.raises(UsageError, match="pixels"):
        Limits(pixels=0)


def test_ids_of_requests_come_back_if_they_are_harmless(service: Service) -> None:
    assert call(service, "GET", "/health", headers={"x-request-id": "a-1.B_2"}).headers["x-request-id"] == "a-1.B_2"
    for bad in ("", "a b", "x" * 65, "\u00e9", 'a"b'):
        assert given_id(bad) != bad and len(given_id(bad)) == 32


def test_the_page_is_served_with_a_strict_policy_and_nothing_beside_it(service: Service) -> None:
    page = call(service, "GET", "/")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    assert call(service, "GET", "/page/index.html").content == page.content
    for answer in (page, call(service, "GET", "/v1/models"), call(service, "GET", "/nothing")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    for path in (
        "../app.py",
        "..%2fapp.py",
        "%2e%2e/app.py",
        "....//app.py",
        "/etc/passwd",
        "%00",
        "a%5c..%5capp.py",
        ".",
    ):
        answer = call(service, "GET", f"/page/{path}")
        assert answer.status_code in (400, 404, 405) and error(answer)
