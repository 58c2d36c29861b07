"""The current span while a skill runs, and spans of skills below it."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from seedcore.settings import load_settings
from seedcore.skills import SkillContext
from seedcore.tasks.model import new_id
from seedcore.telemetry.metrics.metric_registry import REGISTRY
from seedcore.telemetry.traces import pipeline, tracing
from seedcore.telemetry.traces.run_trace import NO_SPAN, RunTrace, begin_run, trace_headers

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def spans() -> Iterator[list[ReadableSpan]]:
    """What this process records."""
    found: list[ReadableSpan] = []
    tracing.use(pipeline.made(load_settings(), "test", found.append, lambda _timeout_s: True))
    yield found
    tracing.use(None)


def run() -> RunTrace:
    made = begin_run(CALLER, str(new_id()), 5)
    assert made is not None
    return made


def test_calls_of_other_services_carry_the_current_span_and_only_inside_a_run(spans: list[ReadableSpan]):
    made = run()
    assert trace_headers() == {}
    made.enter()
    assert trace_headers() == {"traceparent": made.at.traceparent}
    with made.span("inner", "internal", {}):
        assert trace_headers()["traceparent"] != made.at.traceparent
        assert trace_headers()["traceparent"][:35] == CALLER[:35]
    made.leave()
    assert trace_headers() == {}


def test_a_run_that_its_caller_does_not_record_has_no_trace(spans: list[ReadableSpan]):
    assert begin_run(f"{CALLER[:-2]}00", str(new_id()), 5) is None
    assert begin_run("nonsense", "no id", 5) is None


def test_a_span_that_an_exception_ends_says_which(spans: list[ReadableSpan]):
    made = run()
    made.enter()
    with pytest.raises(ValueError, match="hunter2"), made.span("inner", "internal", {}):
        raise ValueError("hunter2")
    made.leave()
    (span,) = spans
    assert (span.status.is_ok, dict(span.attributes or {})) == (False, {"error.type": "ValueError"})
    assert "hunter2" not in span.to_json()


def test_a_skill_whose_run_is_not_recorded_can_say_the_same_and_its_models_count():
    REGISTRY.take()
    context = SkillContext("t", 1, 1, "k", None)
    assert context.span("x", a=1) is NO_SPAN
    with context.span("x") as span, context.model_call("openai", "small-1") as call:
        span.set(b=2)
        call.used(input_tokens=2, money=0.5)
    with pytest.raises(RuntimeError), context.model_call("openai", "small-1"):
        raise RuntimeError
    counts = REGISTRY.take().counts
    assert counts["seedcore_model_calls_total"] == {("small-1", "ok"): 1, ("small-1", "error"): 1}
    assert counts["seedcore_model_money_total"] == {("small-1",): 0.5}


@pytest.mark.parametrize("used", [{"input_tokens": -1}, {"output_tokens": 1.5}, {"money": float("nan")}])
def test_amounts_that_cannot_be_are_refused_and_count_nothing(used: dict[str, float]):
    REGISTRY.take()
    call = SkillContext("t", 1, 1, "k", None).model_call("openai", "small-1")
    with call, pytest.raises(ValueError, match="must be"):
        call.used(**used)  # type: ignore[arg-type]
    assert set(REGISTRY.take().counts) == {"seedcore_model_calls_total"}
