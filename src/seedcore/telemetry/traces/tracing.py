"""The tracing of this process: off, or an OpenTelemetry pipeline for SeedCore's spans and those of skills."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from seedcore.telemetry.logs import mask
from seedcore.telemetry.traces.trace_context import TraceContext
from seedcore.telemetry.traces.trace_sampling import TraceSampling

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

Attribute = str | bool | int | float
FLUSH_S = 2.0
"""A process that ends waits so long for a collector."""

MAX_TEXT = 4096
"""Characters of one attribute; of a longer one, the beginning."""


class Tracing:
    """Makes spans from recorded times, and hands them on.

    Args:
        provider: of OpenTelemetry; knows what this process is.
        add: takes a finished span.
        sampling: which traces are recorded.
        flush: sends what is there within seconds.
    """

    def __init__(
        self,
        provider: "TracerProvider",
        add: "Callable[[ReadableSpan], None]",
        sampling: TraceSampling,
        flush: Callable[[float], object],
    ) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        from seedcore import __version__

        self.provider, self.sampling, self.flush, self.add = provider, sampling, flush, add
        self._api, self._span, self._scope = trace, ReadableSpan, InstrumentationScope("seedcore", __version__)
        self._kinds = {kind.name.lower(): kind for kind in trace.SpanKind}
        self._recorded = trace.TraceFlags(trace.TraceFlags.SAMPLED)

    def record(
        self,
        name: str,
        at: TraceContext,
        parent_id: int,
        times: tuple[int, int],
        attributes: Mapping[str, Attribute | None],
        *,
        kind: str = "internal",
        error: tuple[str, str] | None = None,
    ) -> None:
        """Take a span that has ended.

        Args:
            name: what happened.
            at: its own trace and id.
            parent_id: the id of the span above it; 0: there is none.
            times: begin and end, nanoseconds since 1970; an end before the begin (clocks differ) is the begin.
            attributes: facts; those that are None are left out.
            kind: `internal`, `server`, `client`, `producer` or `consumer`.
            error: code and message, when it failed.
        """
        found = {key: _bounded(value) for key, value in attributes.items() if value is not None}
        status = self._api.Status()
        if error is not None:
            found["error.type"] = error[0]
            status = self._api.Status(self._api.StatusCode.ERROR, mask(error[1][:MAX_TEXT]))
        self.add(
            self._span(
                name,
                self._context(at.trace_id, at.span_id),
                self._context(at.trace_id, parent_id) if parent_id else None,
                self.provider.resource,
                found,
                kind=self._kinds[kind],
                status=status,
                start_time=times[0],
                end_time=max(times),
                instrumentation_scope=self._scope,
            )
        )

    def _context(self, trace_id: int, span_id: int) -> "trace_api.SpanContext":
        return self._api.SpanContext(trace_id, span_id, is_remote=False, trace_flags=self._recorded)


if TYPE_CHECKING:
    from opentelemetry import trace as trace_api

_active: Tracing | None = None


def active() -> Tracing | None:
    """The tracing of this process; None when it is off."""
    return _active


def use(tracing: Tracing | None) -> Tracing | None:
    """Let this process trace by `tracing`, or not at all; returns it."""
    global _active
    _active = tracing
    return tracing


def flush(timeout_s: float) -> None:
    """Send what is there, for at most so long."""
    if _active is not None:
        _active.flush(timeout_s)


def _bounded(value: Attribute) -> Attribute:
    return mask(value[:MAX_TEXT]) if isinstance(value, str) else value


def wall_ns(monotonic: float) -> int:
    """The time of day, in nanoseconds since 1970, of a time of the monotonic clock."""
    return time.time_ns() - int((time.monotonic() - monotonic) * 1e9)
