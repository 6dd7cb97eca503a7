"""What those who watch over a server see: health, readiness, counts, the log."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

from parvis.serve.errors import refusal
from parvis.serve.guard import JsonLines, log
from parvis.serve.settings import Settings
from served import GENERATE, call, error, running


def counts(text: str) -> dict[str, float]:
    return {
        sample.name
        + "".join(
            f"{{{v}}}" for k, v in sample.labels.items() if k != "le" and "build" not in sample.name
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("le", "+Inf") == "+Inf"
    }


def test_counts_are_those_of_the_requests(models: Path) -> None:
    with running(models) as service:
        before = counts(call(service, "GET", "/metrics").text)
        assert before["parvis_requests_running"] == before["parvis_steps_total"] == 0
        for _ in range(2):
            assert call(service, "POST", GENERATE, json={"prompt": "red", "n": 2, "steps": 4}).status_code == 200
        call(service, "POST", GENERATE, json={"prompt": "red", "stream": True, "partial_images": 1})
        call(service, "POST", GENERATE, json={"prompt": "red", "stepz": 1})
        call(service, "GET", "/nothing")
        now = counts(call(service, "GET", "/metrics").text)
    assert now["parvis_request_success_total{done}"] == 5 and now["parvis_request_success_total{failed}"] == 0
    assert now["parvis_image_tokens_total"] == 5 * 16 and now["parvis_steps_total"] >= 9
    assert (
        now["parvis_request_rejected_total{unknown_parameter}"] == now["parvis_request_rejected_total{not_found}"] == 1
    )
    for name in ("e2e_request_latency", "queue_time"):
        assert now[f"parvis_{name}_seconds_count"] == now[f"parvis_{name}_seconds_bucket"] == 5
    assert now["parvis_time_to_first_partial_seconds_count"] == 1
    assert now["parvis_step_latency_seconds_count"] == now["parvis_steps_total"]
    assert now["parvis_batch_size_count"] > 0 and now["parvis_build_info"] == 1
    assert {"parvis_requests_waiting", "parvis_kv_cache_usage_ratio"} <= set(now)


def test_readiness_ends_with_the_engine_and_health_does_not(models: Path) -> None:
    with running(models) as service:
        assert call(service, "GET", "/ready").json() == {"status": "ready"}
        service.drain()
        assert call(service, "GET", "/ready").status_code == 503
        answer = call(service, "POST", GENERATE, json={"prompt": "red"})
        assert answer.status_code == 503 and error(answer)["code"] == "stopping" and answer.headers["retry-after"]
    assert call(service, "GET", "/ready").status_code == 503
    assert call(service, "GET", "/health").status_code == 200
    assert call(service, "HEAD", "/health").status_code == 200


@pytest.mark.parametrize("told", [False, True])
def test_the_log_is_json_and_says_no_prompt_unless_told_to(
    models: Path, told: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, log.name)
    with running(models, Settings(log_prompts=told)) as service:
        call(service, "POST", GENERATE, json={"prompt": "red apple", "n": 2}, headers={"x-request-id": "mine"})
        call(service, "GET", "/nothing?prompt=red+apple")
        monkeypatch.setattr(service.engine, "submit", lambda work: 1 / 0)
        broken = call(service, "POST", GENERATE, json={"prompt": "red apple"})
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records if record.name == log.name]
    assert (
        lines[0] | {"id": "mine", "status": 200, "n": 2, "model": "toy", "path": GENERATE, "event": "request"}
        == lines[0]
    )
    assert ("red apple" in json.dumps(lines)) == told and (lines[0].get("prompt") == "red apple") == told
    assert (lines[1]["status"], lines[1]["code"], lines[1]["path"]) == (404, "not_found", "/nothing")
    assert broken.status_code == 500 and "ZeroDivision" not in broken.text and error(broken)["type"] == "server_error"
    failed = next(line for line in lines if line["event"] == "failed")
    assert "ZeroDivisionError" in failed["error"] and failed["id"] == broken.headers["x-request-id"]


def test_no_memory_on_a_cpu_is_told_as_what_it_is() -> None:
    """PyTorch has an error of its own for devices only."""
    with pytest.raises(RuntimeError, match="can't allocate memory") as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    for raised in (caught.value, torch.OutOfMemoryError("CUDA out of memory"), MemoryError()):
        refused = refusal(raised)
        assert (refused.status, refused.code) == (503, "engine_oom") and refused.headers["Retry-After"]
    assert refusal(RuntimeError("shape mismatch")).status == 500
