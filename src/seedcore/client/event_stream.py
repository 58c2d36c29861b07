"""Reads one event stream of a task, from a cursor on."""

from dataclasses import dataclass

import orjson

from seedcore.client.http_protocol import (
    CloseStream,
    ConnectionFailure,
    Emit,
    FailedAttempt,
    Request,
    Steps,
    open_stream,
    read_stream,
    refused,
    unreachable,
)
from seedcore.client.http_retry import SHORTEST_TIMEOUT_S, HttpPolicy
from seedcore.client.models import Event
from seedcore.client.sse_reader import SseMessage, SseParser
from seedcore.errors import DeadlineError, UnavailableError
from seedcore.tasks.model import LAST_EVENTS

RENEW_BELOW = 0.9
"""A read's timeout is fixed when the stream opens; when less than this part of it is left, the stream is reopened."""


@dataclass(slots=True)
class Cursor:
    """How far a task's events were read. `last`: name of the last event; `chunks`: pieces of stream received."""

    after: int
    last: str = ""
    chunks: int = 0


def follow_stream(
    policy: HttpPolicy, path: str, cursor: Cursor, until: float | None = None
) -> Steps[FailedAttempt | None]:
    """Emit the events after the cursor and advance it; None after the last event, otherwise why the stream ended."""
    timeout_s = policy.idle_s if until is None else max(SHORTEST_TIMEOUT_S, min(policy.idle_s, until - policy.now()))
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store", "Last-Event-ID": str(cursor.after)}
    reply = yield from open_stream(Request("GET", path, headers=headers), timeout_s)
    if isinstance(reply, ConnectionFailure):
        return unreachable(policy.base_url, reply)
    if reply.status == 204:
        return None
    if not reply.is_event_stream:
        return refused(policy.base_url, reply)
    failed = yield from _read_events(policy, cursor, until, timeout_s)
    yield CloseStream()
    return failed


def _read_events(
    policy: HttpPolicy, cursor: Cursor, until: float | None, timeout_s: float
) -> Steps[FailedAttempt | None]:
    parser = SseParser()
    while True:
        chunk = yield from read_stream()
        if isinstance(chunk, ConnectionFailure):
            return unreachable(policy.base_url, chunk)
        if not chunk:
            if cursor.last in LAST_EVENTS:
                return None
            error = UnavailableError(f"{policy.base_url} ended an event stream before its last event.")
            return FailedAttempt(error, retryable=True)
        cursor.chunks += 1
        try:
            for message in parser.feed(chunk):
                event = _event(message)
                cursor.after, cursor.last = event.id, event.event
                yield Emit(event)
        except ValueError as invalid:
            error = UnavailableError(f"{policy.base_url} sent an invalid event stream: {invalid}")
            return FailedAttempt(error, retryable=False)
        if until is not None and until - policy.now() < RENEW_BELOW * timeout_s:
            return FailedAttempt(DeadlineError("The time to read this stream is nearly over."), retryable=True)


def _event(message: SseMessage) -> Event:
    data = orjson.loads(message.data)
    if not message.id.isdecimal() or not isinstance(data, dict):
        raise ValueError(f"event {message.event!r} has no id or no object as data")
    return Event(int(message.id), message.event, data)
