"""What the schema says may be sent, and what it says may not, made by schemathesis: no fault of the server's, and no
answer that the schema does not know."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
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

from apart import report
from parvis.serve.app import create_app
from parvis.serve.settings import Settings
from served import running

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def schema(models: Path) -> Iterator[Any]:
    with running(models, Settings(names=("testserver",))) as service:
        yield schemathesis.openapi.from_asgi("/openapi.json", create_app(service))


def fuzz(schema: Any, examples: int) -> Counter[int]:
    """Ask every operation so many things, of which half should be refused; status -> how many had it."""
    statuses: Counter[int] = Counter()
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(max_examples=examples, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
            def check(case: Any) -> None:
                statuses[case.call_and_validate(checks=CHECKS).status_code] += 1

            with suppress(Unsatisfiable):  # nothing can be wrong about an operation that takes nothing
                check()
    return statuses


def test_a_slice(schema: Any) -> None:
    assert fuzz(schema, 8).total() >= 40


@pytest.mark.slow
def test_at_length(schema: Any) -> None:
    start, before = time.perf_counter(), getrusage(RUSAGE_SELF).ru_maxrss
    found = fuzz(schema, 1000)
    statuses = {str(status): count for status, count in sorted(found.items())}
    report("schemathesis", cases=found.total(), statuses=statuses, seconds=time.perf_counter() - start,
           growth_mib=(getrusage(RUSAGE_SELF).ru_maxrss - before) / 1024)  # fmt: skip
    assert found.total() >= 5000
