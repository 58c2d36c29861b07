"""The span of a request that submits tasks."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from seedcore.settings import load_settings
from seedcore.tasks.model import Submitted, TaskSpec
from seedcore.tasks.submission.accept_span import begin_accept
from seedcore.telemetry.traces import pipeline, tracing
from seedcore.telemetry.traces.trace_context import parse_traceparent

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def spans() -> Iterator[list[ReadableSpan]]:
    """What this process records."""
    found: list[ReadableSpan] = []
    tracing.use(pipeline.made(load_settings(), "test", found.append, lambda _timeout_s: True))
    yield found
    tracing.use(None)


def tasks(count: int, traceparent: str | None) -> list[TaskSpec]:
    return [TaskSpec("echo", "{}", traceparent=traceparent) for _ in range(count)]


def stored(found: list[TaskSpec], *, created: bool = True) -> list[Submitted]:
    return [Submitted(task.id, datetime.now(UTC) if created else None) for task in found]


@pytest.mark.parametrize("count", [1, 3])
def test_tasks_are_below_the_request_and_the_request_below_its_caller(spans: list[ReadableSpan], count: int):
    found = tasks(count, CALLER)
    span = begin_accept(found, time.time_ns())
    assert span is not None
    span.end(stored(found))
    (request,) = spans
    context, parent = request.get_span_context(), request.parent
    assert context is not None
    assert parent is not None
    assert (f"{context.trace_id:032x}", f"{parent.span_id:016x}") == (CALLER[3:35], CALLER[36:52])
    assert request.kind is SpanKind.SERVER
    assert {task.traceparent for task in found} == {f"00-{CALLER[3:35]}-{context.span_id:016x}-01"}


def test_without_a_caller_the_request_is_the_root_of_the_tasks_own_trace(spans: list[ReadableSpan]):
    found = tasks(1, None)
    span = begin_accept(found, time.time_ns())
    assert span is not None
    named = parse_traceparent(found[0].traceparent)
    assert named is not None
    assert named.trace_id == found[0].id.int
    span.end(stored(found))
    assert spans[0].parent is None


def test_a_task_that_was_there_before_leaves_no_trace_of_its_own(spans: list[ReadableSpan]):
    found = tasks(1, None)
    span = begin_accept(found, time.time_ns())
    assert span is not None
    span.end(stored(found, created=False))
    assert spans == []


def test_what_is_not_recorded_stays_as_it_was(spans: list[ReadableSpan]):
    for found in (tasks(2, None), tasks(1, f"{CALLER[:-2]}00")):
        before = [task.traceparent for task in found]
        assert begin_accept(found, time.time_ns()) is None
        assert [task.traceparent for task in found] == before
    tracing.use(None)
    assert begin_accept(tasks(1, CALLER), time.time_ns()) is None
