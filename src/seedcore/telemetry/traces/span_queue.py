"""Spans on their way to a collector: a bounded queue that a thread of its own empties, so that no task waits for it."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

WARN_EVERY_S = 60.0
_DROPPED = "seedcore_spans_dropped_total"


class SpanExport(Protocol):
    """Where spans go: an exporter of OpenTelemetry."""

    def export(self, spans: "Sequence[ReadableSpan]") -> object:
        """Send spans; the result's name is SUCCESS when they have arrived."""

    def shutdown(self) -> None:
        """End: an export that is under way tries no more."""


class SpanQueue:
    """Any thread adds; what is over the bound, or cannot be sent, is dropped and counted.

    Args:
        exporter: where spans go.
        max_spans: in the queue.
        batch: spans that are sent at once; that many are sent without delay.
        delay_s: pause in which spans gather.

    Attributes:
        dropped: spans that were lost.
    """

    def __init__(self, exporter: SpanExport, *, max_spans: int, batch: int, delay_s: float) -> None:
        self._exporter, self._max, self._batch, self._delay_s = exporter, max_spans, batch, delay_s
        self._spans: deque[ReadableSpan] = deque()
        self._some, self._hurry, self._idle = threading.Event(), threading.Event(), threading.Event()
        self._idle.set()
        self._starting, self._thread = threading.Lock(), None
        self._closed = False
        self.dropped, self._warned_at = 0, float("-inf")
        self._log = get_logger("seedcore.traces")

    _thread: threading.Thread | None

    def add(self, span: "ReadableSpan") -> None:
        """Send a span soon."""
        if self._closed or len(self._spans) >= self._max:
            self.drop(1)
            return
        self._spans.append(span)
        if not self._some.is_set():
            self._idle.clear()
            self._some.set()
            self._start()
        if len(self._spans) >= self._batch:
            self._hurry.set()

    def drop(self, count: int) -> None:
        """Count spans that are lost."""
        self.dropped += count
        counter(_DROPPED).add(count)

    def flush(self, timeout_s: float) -> bool:
        """Send what is there; False when it took longer."""
        self._hurry.set()
        return self._idle.wait(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Send what is there for so long, then nothing more."""
        self.flush(timeout_s)
        self._closed = True
        self._exporter.shutdown()
        self._some.set()
        self._hurry.set()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._closed:
            self._some.wait()
            self._hurry.wait(self._delay_s)
            self._hurry.clear()
            # First this, then the queue: what is added from now on sets it again.
            self._some.clear()
            while self._spans and not self._closed:
                self._send([self._spans.popleft() for _ in range(min(len(self._spans), self._batch))])
            if not self._some.is_set():
                self._idle.set()

    def _send(self, batch: "list[ReadableSpan]") -> None:
        try:
            reason = getattr(self._exporter.export(batch), "name", "no answer")
        except Exception as error:  # noqa: BLE001 - whatever a collector does, it must not end this thread
            reason = f"{type(error).__name__}: {error}"
        if reason == "SUCCESS":
            return
        self.drop(len(batch))
        if time.monotonic() - self._warned_at > WARN_EVERY_S:
            self._warned_at = time.monotonic()
            self._log.warning("spans could not be exported", spans=len(batch), reason=reason, dropped=self.dropped)
