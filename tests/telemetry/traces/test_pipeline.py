"""Where spans go, and what becomes of them when nobody takes them."""

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

from seedcore.settings import Settings, load_settings
from seedcore.telemetry.metrics.metric_registry import REGISTRY
from seedcore.telemetry.traces import gen_ai, pipeline, trace_setup, tracing
from seedcore.telemetry.traces.trace_context import TraceContext
from seedcore.telemetry.traces.tracing import Tracing
from tests.support.otlp_collector import OtlpCollector, otlp_collector

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.fixture
def collector() -> Iterator[OtlpCollector]:
    with otlp_collector() as running:
        yield running


def sending_to(url: str, **changed: Any) -> Settings:
    values = {"otel_traces_exporter": "otlp", "otel_exporter_otlp_endpoint": url, "otel_bsp_schedule_delay": 20}
    return load_settings(**values | changed)


def record(by: Tracing, n: int) -> None:
    for span in range(1, n + 1):
        by.record(f"span {span}", TraceContext(7, span, sampled=True), 0, (1, 2), {"n": span})


def dropped() -> float:
    return sum(REGISTRY.take().counts.get("seedcore_spans_dropped_total", {}).values())


def test_settings_reach_the_collector(collector: OtlpCollector):
    settings = sending_to(
        f"{collector.url}/base",
        otel_exporter_otlp_headers="api-key=a%20key,x=y",
        otel_exporter_otlp_compression="gzip",
        otel_bsp_max_export_batch_size=3,
    )
    by = pipeline.exporting(settings, "test")
    record(by, 7)
    assert by.flush(20)
    assert len(collector.spans) == 7
    headers = {name.lower(): value for name, value in collector.requests[0].items()}
    assert (headers["path"], headers["api-key"], headers["x"]) == ("/base/v1/traces", "a key", "y")
    assert headers["content-encoding"] == "gzip"
    assert len(collector.requests) == 3


def test_a_full_queue_drops_and_counts_while_a_collector_hangs_and_nobody_waits(collector: OtlpCollector):
    collector.hold.clear()
    dropped()
    by = pipeline.exporting(
        sending_to(collector.url, otel_bsp_max_queue_size=100, otel_bsp_max_export_batch_size=10), "test"
    )
    record(by, 10)
    with collector.changed:
        assert collector.changed.wait_for(lambda: bool(collector.requests), 20)
    began = time.perf_counter()
    record(by, 5000)
    took = time.perf_counter() - began
    assert dropped() == 4900
    assert took < 2.0
    assert not by.flush(0.05)
    collector.hold.set()
    assert by.flush(20)
    assert len(collector.spans) == 110


@pytest.mark.parametrize("answer", [400, 401])
def test_what_a_collector_refuses_is_dropped_and_counted(collector: OtlpCollector, answer: int):
    collector.answer = answer
    dropped()
    by = pipeline.exporting(sending_to(collector.url), "test")
    record(by, 5)
    assert by.flush(20)
    assert dropped() == 5


def test_a_collector_that_is_not_there_costs_its_spans_and_no_more():
    dropped()
    by = pipeline.exporting(sending_to("http://127.0.0.1:1", otel_exporter_otlp_timeout=0.2), "test")
    began = time.perf_counter()
    record(by, 5)
    assert time.perf_counter() - began < 1.0
    assert by.flush(20)
    assert dropped() == 5


def test_the_console_shows_one_object_a_span():
    stream = io.StringIO()
    by = pipeline.exporting(
        load_settings(otel_traces_exporter="console", otel_bsp_schedule_delay=10), "test", stream=stream
    )
    record(by, 2)
    assert by.flush(20)
    assert [json.loads(line)["name"] for line in stream.getvalue().splitlines()] == ["span 1", "span 2"]


def test_secrets_in_attributes_and_messages_are_masked(collector: OtlpCollector):
    by = pipeline.exporting(sending_to(collector.url), "test")
    url = "postgres://u:hunter2@h/db"
    by.record("x", TraceContext(7, 1, sampled=True), 0, (1, 2), {"at": url}, error=("code", f"no {url}"))
    assert by.flush(20)
    assert "hunter2" not in repr(collector.spans)
    assert collector.spans[0].failed == "no postgres://u:***@h/db"


@pytest.mark.parametrize("changed", [{}, {"otel_sdk_disabled": True, "otel_traces_exporter": "otlp"}])
def test_without_an_exporter_nothing_is_traced(changed: dict[str, Any]):
    assert trace_setup.configure_traces(load_settings(**changed), "test") is None
    assert tracing.active() is None


def test_without_an_exporter_a_worker_imports_nothing_of_opentelemetry():
    program = (
        "import sys, seedcore.skills, seedcore.worker.dispatcher, seedcore.worker.execution.process_worker\n"
        "from seedcore.settings import load_settings\n"
        "from seedcore.telemetry.traces.trace_setup import configure_traces\n"
        "configure_traces(load_settings(), 'x')\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_names_for_generative_ai_are_those_of_the_pinned_conventions():
    ours = {value for name, value in vars(gen_ai).items() if name.isupper() and str(value).startswith("gen_ai.")}
    theirs = {str(value) for name, value in vars(gen_ai_attributes).items() if name.isupper()}
    assert ours
    assert ours <= theirs
    pinned = (Path(__file__).parents[3] / "constraints.txt").read_text()
    assert "opentelemetry-semantic-conventions==0.66b2\n" in pinned
