"""The process that runs CPU-heavy skills, one call after the other.

Started as `python -m seedcore.worker.execution.process_worker FD PARENT`.

What crosses is JSON in frames of a 4-byte length: nothing is unpickled. The socket is a descriptor of its own, so that
what a skill prints disturbs nothing. When the host goes, this process goes with it.
"""

import ctypes
import importlib
import os
import signal
import socket
import struct
import sys
import threading
from typing import TYPE_CHECKING, cast

import orjson
from structlog.typing import FilteringBoundLogger

from seedcore.settings import Settings, get_settings
from seedcore.skills.context import ProgressSink
from seedcore.skills.host_protocol import Call
from seedcore.skills.reports import SkillProgress
from seedcore.skills.skill_decorator import MARK, SkillContext, SkillSpec
from seedcore.telemetry.logs import bind_task, configure_logs, get_logger, unbind_task
from seedcore.telemetry.metrics import counter
from seedcore.telemetry.metrics.metric_registry import REGISTRY
from seedcore.telemetry.traces.run_trace import RunTrace
from seedcore.worker.execution.attempt_codec import AttemptFailure, ProcessCall, attempt, failure_of
from seedcore.worker.execution.run_scope import enter_run

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

LENGTH = struct.Struct("!I")
EVERY_S = 0.1
"""The progress of a call is written at most this often, and once more at its end."""

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer calls until the host closes the socket."""
    link = socket.socket(fileno=int(sys.argv[1]))
    _end_with_parent(int(sys.argv[2]))
    settings = get_settings()
    configure_logs(settings)
    _collect_spans(settings)
    process = os.getpid()
    while (frame := _read(link)) is not None:
        progress = _ProgressFrames(link)
        answer = orjson.dumps(_answer(orjson.loads(frame), settings.max_result_bytes, progress))
        if os.getpid() != process:
            # The skill has forked, and this is the copy: a second answer would be read as that of the next call.
            os._exit(0)
        progress.close()
        _send(link, answer)


def _end_with_parent(parent: int) -> None:
    """Let the kernel end this process when its parent ends, also while a skill computes (Linux; elsewhere: at EOF)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


class _ProgressFrames:
    """Tells the host how far a call is, whole frames one after the other: the first report at once, later ones not more
    often than EVERY_S, the last one before the answer."""

    def __init__(self, link: socket.socket) -> None:
        self._link, self._process, self._lock = link, os.getpid(), threading.Lock()
        self._newest: SkillProgress | None = None
        self._timer: threading.Timer | None = None
        self._over = False

    def report(self, task_id: str, token: int, progress: SkillProgress) -> None:
        """See `context.ProgressSink`; a skill may have threads, and a copy that it has forked says nothing."""
        if os.getpid() != self._process:
            return
        with self._lock:
            self._newest = progress
            if self._timer is None and not self._over:
                self._tell()

    def close(self) -> None:
        """Send what is left; from now on nothing is sent."""
        with self._lock:
            self._over = True
            if self._timer is not None:
                self._timer.cancel()
            self._send()

    def _tell(self) -> None:
        self._send()
        self._timer = threading.Timer(EVERY_S, self._later)
        self._timer.daemon = True
        self._timer.start()

    def _later(self) -> None:
        with self._lock:
            self._timer = None
            if self._newest is not None and not self._over:
                self._tell()

    def _send(self) -> None:
        newest, self._newest = self._newest, None
        if newest is not None:
            _send(self._link, orjson.dumps({"progress": newest}))


def _send(link: socket.socket, frame: bytes) -> None:
    link.sendall(LENGTH.pack(len(frame)) + frame)


def _read(link: socket.socket) -> bytes | None:
    head = _exactly(link, LENGTH.size)
    return None if head is None else _exactly(link, LENGTH.unpack(head)[0])


def _exactly(link: socket.socket, size: int) -> bytes | None:
    parts, left = [], size
    while left:
        part = link.recv(min(left, 1 << 20))
        if not part:
            return None
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _answer(frame: dict[str, object], limit: int, sink: ProgressSink) -> dict[str, object]:
    if "ping" in frame:
        return {"ready": True}
    call = cast(ProcessCall, frame)
    attempted, meter = _call_of(call), _Meter()
    bound, trace = bind_task(attempted), enter_run(attempted)
    try:
        answer = _run(call, limit, trace, meter, sink)
    finally:
        unbind_task(bound)
        if trace is not None:
            trace.leave()
    if meter.usage is not None:
        answer["usage"] = meter.usage
    return answer | _recorded()


def _call_of(call: ProcessCall) -> Call:
    return Call(
        call["task_id"],
        call["token"],
        call["attempt"],
        call["skill"],
        call["params"],
        call["agent"],
        None,
        call["idempotency_key"],
        call["tenant"],
        call["traceparent"],
    )


_spans: list["ReadableSpan"] = []


def _collect_spans(settings: Settings) -> None:
    """Spans go to the host with the answer."""
    if settings.otel_sdk_disabled or settings.otel_traces_exporter == "none":
        return
    from seedcore.telemetry.traces import pipeline, span_codec, tracing

    def add(span: "ReadableSpan") -> None:
        if len(_spans) < span_codec.MAX_SPANS:
            _spans.append(span)
        else:
            counter("seedcore_spans_dropped_total").add(1)

    tracing.use(pipeline.made(settings, f"skills-{os.getpid()}", add, lambda _timeout_s: True))


def _recorded() -> dict[str, object]:
    """Spans and counts of the call."""
    found: dict[str, object] = {}
    if _spans:
        from seedcore.telemetry.traces import span_codec

        found["spans"] = span_codec.json_of(_spans)
        _spans.clear()
    if counted := REGISTRY.take().counts:
        found["counts"] = [(name, key, n) for name, series in counted.items() for key, n in series.items()]
    return found


class _Meter:
    usage: tuple[float, float] | None = None


def _run(call: ProcessCall, limit: int, trace: RunTrace | None, meter: _Meter, sink: ProgressSink) -> dict[str, object]:
    # Its lines name the task: `RunScope` has bound it.
    log: FilteringBoundLogger = get_logger("seedcore.worker.process")
    context = SkillContext(
        call["task_id"],
        call["attempt"],
        call["token"],
        call["idempotency_key"],
        log,
        agent_id=call["agent"],
        meter=meter,
        sink=sink,
        tenant=call["tenant"],
        trace=trace,
    )
    ending: str | AttemptFailure
    try:
        spec = _spec(call["module"], call["function"])
    except BaseException as error:  # noqa: BLE001 - importing a skill's module may raise anything
        ending = failure_of(error, log)
    else:
        ending = attempt(spec, call["params"], context, limit)
    return ending._asdict() if isinstance(ending, AttemptFailure) else {"result": ending}


def _spec(module: str, function: str) -> SkillSpec:
    spec: SkillSpec = getattr(getattr(importlib.import_module(module), function), MARK)
    return spec


if __name__ == "__main__":
    main()
