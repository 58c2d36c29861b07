"""The trace of a skill's run: its span is the current one while the skill runs, and spans of the skill are below it."""

import time
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Self
from uuid import UUID

from seedcore.telemetry.logs import mask
from seedcore.telemetry.traces import tracing
from seedcore.telemetry.traces.trace_context import TraceContext, parse_traceparent, run_span_id
from seedcore.telemetry.traces.tracing import MAX_TEXT, Attribute, Tracing

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span


class RunTrace:
    """The run of one attempt that is recorded.

    Attributes:
        at: the run's span.
        began_ns: when it began, nanoseconds since 1970.
    """

    __slots__ = ("_parent", "_token", "_tracing", "at", "began_ns")

    def __init__(self, by: Tracing, caller: TraceContext, task_id: int, token: int) -> None:
        self._tracing, self._parent = by, caller.span_id
        self.at = TraceContext(caller.trace_id, run_span_id(task_id, token), sampled=True)
        self.began_ns = time.time_ns()
        self._token: Token[Context] | None = None

    def enter(self) -> None:
        """The run's span is the current one, until `leave`."""
        from opentelemetry import context, trace

        parent = trace.SpanContext(
            self.at.trace_id, self.at.span_id, is_remote=False, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED)
        )
        self._token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(parent)))

    def leave(self) -> None:
        """As it was before; from the context that entered."""
        from opentelemetry import context

        if self._token is not None:
            context.detach(self._token)
            self._token = None

    def end(
        self, name: str, attributes: dict[str, Attribute | None], error: tuple[str, str] | None, began_ns: int = 0
    ) -> None:
        """The run is over: take its span."""
        times = (began_ns or self.began_ns, time.time_ns())
        self._tracing.record(name, self.at, self._parent, times, attributes, kind="consumer", error=error)

    def span(self, name: str, kind: str, attributes: dict[str, Attribute]) -> "OpenSpan":
        """A span of the skill's own, below the current one."""
        return OpenSpan(self, name, kind, attributes)


def begin_run(traceparent: str, task_id: str, token: int) -> RunTrace | None:
    """The trace of an attempt's run; None when it is not recorded."""
    by = tracing.active()
    if by is None:
        return None
    caller = parse_traceparent(traceparent)
    return None if caller is None or not caller.sampled else RunTrace(by, caller, UUID(task_id).int, token)


def current_traceparent() -> str | None:
    """The `traceparent` of the current span, for calls of other services; None when nothing is recorded."""
    if tracing.active() is None:
        return None
    from opentelemetry import trace

    found = trace.get_current_span().get_span_context()
    recorded = found.is_valid and found.trace_flags.sampled
    return TraceContext(found.trace_id, found.span_id, sampled=True).traceparent if recorded else None


def trace_headers() -> dict[str, str]:
    """The headers of a call of another service: `traceparent` where the current span is recorded."""
    current = current_traceparent()
    return {} if current is None else {"traceparent": current}


class NoSpan:
    """A span that is not recorded."""

    def set(self, **attributes: Attribute) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Nothing."""


class OpenSpan(NoSpan):
    """A span that lasts as long as its `with`; an exception that ends it makes it one that failed."""

    def __init__(self, run: RunTrace, name: str, kind: str, attributes: dict[str, Attribute]) -> None:
        self._run, self._name, self._kind, self._attributes = run, name, kind, attributes
        self._span: Span | None = None
        self._token: Token[Context] | None = None

    def set(self, **attributes: Attribute) -> None:
        """Set attributes; values are texts, numbers and truth values."""
        self.set_all(attributes)

    def set_all(self, attributes: dict[str, Attribute]) -> None:
        """Set attributes whose names are no identifiers."""
        if self._span is not None:
            self._span.set_attributes(_shown(attributes))

    def __enter__(self) -> Self:
        from opentelemetry import context, trace

        above = None
        if not trace.get_current_span().get_span_context().is_valid:
            # A thread that the skill has started itself.
            at = self._run.at
            flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
            parent = trace.SpanContext(at.trace_id, at.span_id, is_remote=False, trace_flags=flags)
            above = trace.set_span_in_context(trace.NonRecordingSpan(parent))
        kind = trace.SpanKind[self._kind.upper()]
        self._span = trace.get_tracer("seedcore").start_span(self._name, above, kind, _shown(self._attributes))
        self._token = context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """It has ended."""
        from opentelemetry import context, trace

        assert self._span is not None
        assert self._token is not None
        context.detach(self._token)
        if kind is not None:
            self._span.set_attribute("error.type", kind.__name__)
            self._span.set_status(trace.Status(trace.StatusCode.ERROR))
        self._span.end()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """It has ended."""
        self.__exit__(kind, error, at)


NO_SPAN = NoSpan()


def _shown(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    return {name: mask(value[:MAX_TEXT]) if isinstance(value, str) else value for name, value in attributes.items()}
