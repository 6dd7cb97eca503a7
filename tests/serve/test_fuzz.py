"""What the schema says may be sent, and what it says may not, made by schemathesis: no fault of the server's, and no
answer that the schema does not know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from parvis.serve.app import create_app
from parvis.serve.settings import Settings
from served import running

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def schema(models: Path) -> Iterator[Any]:
    with running(models, Settings(names=("testserver",))) as service:
        yield schemathesis.openapi.from_asgi("/openapi.json", create_app(service))


def fuzz(schema: Any, examples: int) -> int:
    """Ask every operation so many things, of which half should be refused; how many were asked."""
    asked = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(max_examples=examples, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
            def check(case: Any) -> None:
                nonlocal asked
                asked += 1
                case.call_and_validate(checks=CHECKS)

            with suppress(Unsatisfiable):  # nothing can be wrong about an operation that takes nothing
                check()
    return asked


def test_a_slice(schema: Any) -> None:
    assert fuzz(schema, 8) >= 40


@pytest.mark.slow
def test_at_length(schema: Any) -> None:
    assert fuzz(schema, 1000) >= 5000
