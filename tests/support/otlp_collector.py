"""A collector of OpenTelemetry for tests: takes OTLP/HTTP, and shows a trace as text."""

import gzip
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue


@dataclass
class CollectedSpan:
    """A span as it arrived; ids are hexadecimal, times nanoseconds."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    begin: int
    end: int
    failed: str | None
    attributes: dict[str, Any]
    resource: dict[str, Any]


@dataclass
class OtlpCollector:
    """What was received. `answer` is its status; while `hold` is not set, it answers nothing."""

    url: str = ""
    answer: int = 200
    spans: list[CollectedSpan] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, headers: dict[str, str], body: bytes) -> None:
        with self.changed:
            self.requests.append(headers)
            if self.answer == 200:
                self.spans += _spans(body)
            self.changed.notify_all()

    def until(self, *names: str, trace: str | None = None, timeout_s: float = 30) -> list[CollectedSpan]:
        """The spans (of a trace) once there are some of all these names."""

        def found() -> list[CollectedSpan]:
            return [span for span in self.spans if trace is None or span.trace == trace]

        with self.changed:
            arrived = self.changed.wait_for(lambda: {*names} <= {span.name for span in found()}, timeout_s)
            assert arrived, [span.name for span in found()]
            return found()


@contextmanager
def otlp_collector() -> Iterator[OtlpCollector]:
    """A collector on a free port of loopback."""
    collector = OtlpCollector()
    collector.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            collector.take({**dict(self.headers), "path": self.path}, body)
            collector.hold.wait(60)
            self.send_response(collector.answer)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield collector
    finally:
        collector.hold.set()
        server.shutdown()
        server.server_close()


def trace_text(spans: Sequence[CollectedSpan], shown: Sequence[str] = ()) -> str:
    """A trace as a tree: name, begin and length in milliseconds, and those of the attributes that are `shown`."""
    ids, begin = {span.id for span in spans}, min(span.begin for span in spans)
    lines = [f"trace {spans[0].trace}"]

    def add(span: CollectedSpan, depth: int) -> None:
        facts = "  ".join(f"{name}={span.attributes[name]}" for name in shown if name in span.attributes)
        named = f"{'  ' * depth}{span.name}"
        times = f"{(span.begin - begin) / 1e6:9.1f} {(span.end - span.begin) / 1e6:9.1f} ms"
        failed = "" if span.failed is None else f"  failed: {span.failed}"
        lines.append(f"{named:<34}{times}  {facts}{failed}".rstrip())
        for child in sorted((s for s in spans if s.parent == span.id), key=lambda s: (s.begin, s.end)):
            add(child, depth + 1)

    roots = sorted((span for span in spans if span.parent not in ids), key=lambda span: span.begin)
    for parent in dict.fromkeys(span.parent for span in roots):
        if parent:
            lines.append(f"  span {parent}: the caller's")
        for span in (root for root in roots if root.parent == parent):
            add(span, 2 if parent else 1)
    return "\n".join(lines)


def _spans(body: bytes) -> list[CollectedSpan]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        CollectedSpan(
            span.name,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.kind,
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            span.status.message if span.status.code == 2 else None,
            {item.key: _value(item.value) for item in span.attributes},
            {item.key: _value(item.value) for item in of_resource.resource.attributes},
        )
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")
