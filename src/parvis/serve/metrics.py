"""What Prometheus is told: the engine's counts and the server's, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

import torch
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from parvis.engine.metrics import Histogram, Metrics
from parvis.serve.service import Service


def registry(service: Service) -> CollectorRegistry:
    """A registry of its own, so that several servers of one process do not meet."""
    made = CollectorRegistry(auto_describe=False)
    made.register(Counts(service))
    return made


class Counts(Collector):
    """Names as vLLM and TGI have them, under ``parvis_``; seconds and ratios are Prometheus' base units."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def collect(self) -> Iterator[Metric]:
        now = self.service.engine.metrics()
        yield _gauge("requests_running", "Pictures being drawn", now.running)
        yield _gauge("requests_waiting", "Pictures waiting in the queue", now.waiting)
        yield _gauge("kv_cache_usage_ratio", "Share of the cache budget in use; of the slots where there is none",
                     self._used(now))  # fmt: skip
        yield _counter("image_tokens", "Tokens of finished pictures", now.tokens)
        yield _counter("steps", "Passes of the engine", now.steps)
        yield self._finished(now)
        yield self._rejected()
        yield _histogram("e2e_request_latency_seconds", "Submission to picture", now.request_seconds)
        yield _histogram("time_to_first_partial_seconds", "Submission to first partial image", now.partial_seconds)
        yield _histogram("step_latency_seconds", "One pass of the engine", now.step_seconds)
        yield _histogram("queue_time_seconds", "Submission to first pass", now.queue_seconds)
        yield _histogram("batch_size", "Pictures that shared a run through a model", now.batch)
        build = GaugeMetricFamily("parvis_build_info", "Versions", labels=["version", "torch"])
        build.add_metric([metadata.version("parvis"), torch.__version__], 1)
        yield build

    def _used(self, now: Metrics) -> float:
        budget = self.service.engine.budget
        if budget.cache_bytes is None:
            return now.running / budget.slots
        return now.cache_bytes / budget.cache_bytes

    def _finished(self, now: Metrics) -> Metric:
        made = CounterMetricFamily("parvis_request_success", "Pictures by how they ended", labels=["finished_reason"])
        ends = {
            "done": now.done,
            "cancelled": now.cancelled,
            "expired": now.expired,
            "failed": now.failed - now.expired,
        }
        for reason, count in ends.items():
            made.add_metric([reason], count)
        return made

    def _rejected(self) -> Metric:
        made = CounterMetricFamily("parvis_request_rejected", "Requests answered with an error", labels=["reason"])
        for reason, count in sorted(self.service.rejected.items()):
            made.add_metric([reason], count)
        return made


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(f"parvis_{name}", told, value)


def _counter(name: str, told: str, value: float) -> Metric:
    return CounterMetricFamily(f"parvis_{name}", told, value)


def _histogram(name: str, told: str, seen: Histogram) -> Metric:
    """Prometheus wants each bucket to hold those below it as well."""
    below, buckets = 0, []
    for bound, count in zip([*map(str, seen.bounds), "+Inf"], seen.counts, strict=True):
        below += count
        buckets.append((bound, float(below)))
    return HistogramMetricFamily(f"parvis_{name}", told, buckets, seen.total)
