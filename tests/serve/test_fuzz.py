"""What the schema says may be sent, and what it says may not, made by schemathesis: no fault of the server's, and no
answer that the schema does not know."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
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


def fuzz(schema: Any, examples: int, rounds: int = 1) -> Counter[int]:
    """Ask every operation so many things in each round, half of them wrong; status -> how many had it."""
    statuses: Counter[int] = Counter()
    operations = [result.ok() for result in schema.get_all_operations()]
    for operation, number in itertools.product(operations, range(rounds)):
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @seed(number)
            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(max_examples=examples, suppress_health_check=list(HealthCheck), database=None, derandomize=False)
            def check(case: Any) -> None:
                statuses[case.call_and_validate(checks=CHECKS).status_code] += 1

            try:
                check()
            except Unsatisfiable:  # nothing can be wrong about an operation that takes nothing
                continue
            except ValueError as error:  # schemathesis cannot always make a wrong file; the next round draws others
                if str(error) != "Unsupported type: 'Binary'":
                    raise
    return statuses


def test_a_slice(schema: Any) -> None:
    assert fuzz(schema, 8).total() >= 40


@pytest.mark.slow
def test_at_length(schema: Any) -> None:
    start, before = time.perf_counter(), getrusage(RUSAGE_SELF).ru_maxrss
    found = fuzz(schema, 75, rounds=10)
    statuses = {str(status): count for status, count in sorted(found.items())}
    report("schemathesis", cases=found.total(), statuses=statuses, seconds=time.perf_counter() - start,
           growth_mib=(getrusage(RUSAGE_SELF).ru_maxrss - before) / 1024)  # fmt: skip
    assert found.total() >= 5000
