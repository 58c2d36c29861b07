"""One event stream, from a cursor on."""

from dataclasses import dataclass

import orjson

from seedcore.client.http_retry import SHORTEST_TIMEOUT_S, Policy
from seedcore.client.models import Event
from seedcore.client.protocol import (
    Close,
    Emit,
    Failure,
    Flow,
    Open,
    Read,
    Reply,
    Request,
    Trouble,
    refused,
    unreachable,
)
from seedcore.client.sse_reader import Message, Parser
from seedcore.errors import DeadlineError, UnavailableError
from seedcore.tasks.model import LAST_EVENTS

RENEW_BELOW = 0.9
"""A read's timeout is settled when the stream is opened; when less than this part of it is left, it is opened anew."""


@dataclass(slots=True)
class Cursor:
    """How far a task's events were read. `heard`: pieces of stream that came; `last`: the last event's name."""

    after: int
    last: str = ""
    heard: int = 0


def stream(policy: Policy, path: str, cursor: Cursor, until: float | None = None) -> Flow[Trouble | None]:
    """Emit the events after the cursor, and move it along; None when there are no more, otherwise why it ended."""
    timeout_s = policy.idle_s if until is None else max(SHORTEST_TIMEOUT_S, min(policy.idle_s, until - policy.now()))
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store", "Last-Event-ID": str(cursor.after)}
    got: Reply | Failure = yield Open(Request("GET", path, headers=headers), timeout_s)
    if isinstance(got, Failure):
        return unreachable(policy.base_url, got)
    if got.status == 204:
        return None
    if not got.streams:
        return refused(policy.base_url, got)
    trouble = yield from _read(policy, cursor, until, timeout_s)
    yield Close()
    return trouble


def _read(policy: Policy, cursor: Cursor, until: float | None, timeout_s: float) -> Flow[Trouble | None]:
    parser = Parser()
    while True:
        chunk: bytes | Failure = yield Read()
        if isinstance(chunk, Failure):
            return unreachable(policy.base_url, chunk)
        if not chunk:
            if cursor.last in LAST_EVENTS:
                return None
            return Trouble(UnavailableError(f"{policy.base_url} ended an event stream before its last event."), True)
        cursor.heard += 1
        try:
            for message in parser.feed(chunk):
                event = _event(message)
                cursor.after, cursor.last = event.id, event.event
                yield Emit(event)
        except ValueError as error:
            return Trouble(UnavailableError(f"{policy.base_url} sent no event stream: {error}"), False)
        if until is not None and until - policy.now() < RENEW_BELOW * timeout_s:
            return Trouble(DeadlineError("The time to read this stream is nearly over."), True)


def _event(message: Message) -> Event:
    data = orjson.loads(message.data)
    if not message.id.isdecimal() or not isinstance(data, dict):
        raise ValueError(f"event {message.event!r} has no id or no object as data")
    return Event(int(message.id), message.event, data)
