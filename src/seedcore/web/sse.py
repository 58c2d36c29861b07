"""Server-sent events: the format, the heartbeat, the Last-Event-ID header, and the response that sends them."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Annotated, Any

import orjson
from fastapi import Header
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from seedcore.web.methods import HEAD_SCOPE_KEY

HEARTBEAT_S = 15.0

LastEventId = Annotated[str | None, Header(max_length=20_000)]
"""The header Last-Event-ID, for a parameter `last_event_id`: the stream resumes after that event.

An empty header is as good as none (WHATWG HTML §9.2.3: an empty id resets the last event ID).
"""

# What ends a line in an event stream; a JSON text may hold the other characters that Python takes for line ends.
_LINE_END = re.compile(r"\r\n|\n|\r")


def stream_responses(description: str = "Server-sent events") -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers with an `EventStream`, for its OpenAPI document."""
    return {200: {"description": description, "content": {"text/event-stream": {}}}}


class EventStream(StreamingResponse):
    """The response that sends `events` as `encode_stream` encodes them, and closes them when the client leaves."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[Mapping[str, object]], *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._stream = encode_stream(events, heartbeat_s=heartbeat_s)
        super().__init__(self._stream, headers={"Cache-Control": "no-store"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; for a HEAD request the headers alone."""
        async with contextlib.aclosing(self._stream):
            if HEAD_SCOPE_KEY in scope:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": b""})
                return
            await super().__call__(scope, receive, send)


async def encode_stream(
    events: AsyncIterator[Mapping[str, object]], *, heartbeat_s: float = HEARTBEAT_S
) -> AsyncGenerator[bytes]:
    """Encode `{id?, event?, data}` items as a server-sent event stream (WHATWG HTML §9.2), with a comment as heartbeat.

    `data` is JSON text or any JSON value.
    """
    iterator = aiter(events)
    pending: asyncio.Task[Mapping[str, object]] | None = None
    try:
        while True:
            if pending is None:
                pending = asyncio.ensure_future(anext(iterator))
            done, _ = await asyncio.wait({pending}, timeout=heartbeat_s)
            if not done:
                yield b": ping\n\n"
                continue
            try:
                item = pending.result()
            except StopAsyncIteration:
                return
            finally:
                pending = None
            yield _encode(item)
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
        # The source holds something (a place among followers, a connection): release it now, not when it is collected.
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()


def _encode(item: Mapping[str, object]) -> bytes:
    data = item["data"]
    text = data if isinstance(data, str) else orjson.dumps(data).decode()
    lines = "".join(f"data: {line}\n" for line in _LINE_END.split(text))
    names = "".join(f"{name}: {item[name]}\n" for name in ("id", "event") if name in item)
    return f"{names}{lines}\n".encode()
