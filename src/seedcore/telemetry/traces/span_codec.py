"""Spans on their way from a skill's process to its host, as JSON: none of those processes talks to a collector, and one
that is killed loses only the spans of its last call."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict, cast

from opentelemetry import trace
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.util.types import AttributeValue

from seedcore.telemetry.traces.tracing import Tracing

MAX_SPANS = 1000
"""Spans of one call that cross; more are dropped and counted."""

_KINDS = {kind.value: kind for kind in trace.SpanKind}
_CODES = {code.value: code for code in trace.StatusCode}


class EventJson(TypedDict):
    """An event of a span."""

    name: str
    at: int
    attributes: dict[str, AttributeValue]


class SpanJson(TypedDict):
    """A span; ids are hexadecimal, since JSON's readers round large numbers."""

    name: str
    trace: str
    span: str
    parent: str | None
    kind: int
    begin: int
    end: int
    code: int
    message: str | None
    scope: str
    attributes: dict[str, AttributeValue]
    events: list[EventJson]


def json_of(spans: Iterable[ReadableSpan]) -> list[SpanJson]:
    """Spans that have ended."""
    return [_json(span) for span in spans]


def spans_of(found: Sequence[object], by: Tracing) -> list[ReadableSpan]:
    """The spans, as if they were of this process."""
    return [_span(cast(SpanJson, item), by) for item in found]


def _json(span: ReadableSpan) -> SpanJson:
    context = span.get_span_context()
    assert context is not None
    scope = span.instrumentation_scope
    return {
        "name": span.name,
        "trace": f"{context.trace_id:x}",
        "span": f"{context.span_id:x}",
        "parent": None if span.parent is None else f"{span.parent.span_id:x}",
        "kind": span.kind.value,
        "begin": span.start_time or 0,
        "end": span.end_time or 0,
        "code": span.status.status_code.value,
        "message": span.status.description,
        "scope": "" if scope is None else scope.name,
        "attributes": _plain(span.attributes),
        "events": [{"name": e.name, "at": e.timestamp, "attributes": _plain(e.attributes)} for e in span.events],
    }


def _plain(attributes: Mapping[str, AttributeValue] | None) -> dict[str, AttributeValue]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in (attributes or {}).items()}


def _span(found: SpanJson, by: Tracing) -> ReadableSpan:
    trace_id, parent = int(found["trace"], 16), found["parent"]
    return ReadableSpan(
        found["name"],
        _context(trace_id, found["span"]),
        None if parent is None else _context(trace_id, parent),
        by.provider.resource,
        found["attributes"],
        [Event(event["name"], event["attributes"], event["at"]) for event in found["events"]],
        kind=_KINDS[found["kind"]],
        status=trace.Status(_CODES[found["code"]], found["message"]),
        start_time=found["begin"],
        end_time=found["end"],
        instrumentation_scope=InstrumentationScope(found["scope"]),
    )


def _context(trace_id: int, span_id: str) -> trace.SpanContext:
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    return trace.SpanContext(trace_id, int(span_id, 16), is_remote=False, trace_flags=flags)
