"""The way of an answer to its client: its record, its deadline, and the rights of who reads an event stream."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import Message, Receive, Scope, Send

from seedcore import errors
from seedcore.web.problems import problem_response

SETTLE_S = 10.0
"""What a request gets beyond its deadline for being recorded."""


class StreamRefusedError(Exception):
    """Who reads an event stream may not do so any more."""


class ResponseChannel:
    """The `send` channel; it knows whether the response has begun, and lifts the deadline of event streams.

    `settle` is awaited once with the status, before the answer leaves. `recheck` is awaited before each part of an
    event stream, which has a heartbeat; it raises when its reader may not go on.
    """

    def __init__(
        self,
        send: Send,
        settle: Callable[[int], Awaitable[None]] | None = None,
        recheck: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._send, self._settle, self._recheck = send, settle, recheck
        self._streams = False
        self.started = False
        self.deadline: asyncio.Timeout | None = None

    @property
    def settled(self) -> bool:
        """Whether the answer has been recorded, or is being recorded."""
        return self._settle is None

    async def __call__(self, message: Message) -> None:
        """Pass the message on.

        Raises:
            StreamRefusedError: it is part of an event stream whose reader may not go on; nothing is sent.
        """
        if message["type"] == "http.response.start":
            await self._begin(message["status"])
            kind = dict(message.get("headers", ())).get(b"content-type", b"")
            if kind.startswith(b"text/event-stream") and self.deadline is not None:
                self._streams = True
                self.deadline.reschedule(None)
        elif self._streams and self._recheck is not None:
            try:
                await self._recheck()
            except errors.SeedCoreError as error:
                raise StreamRefusedError(error.detail) from None
        await self._send(message)

    async def end(self) -> None:
        """End an answer that has begun."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def fail(self, error: errors.SeedCoreError, scope: Scope, receive: Receive) -> None:
        """Send the problem document; when bytes have left already, the connection can only be cut."""
        if self.started:
            raise error
        # The deadline is over, or no longer counts.
        self.deadline = None
        await problem_response(error)(scope, receive, self)

    async def _begin(self, status: int) -> None:
        """Record the answer before it leaves; the deadline allows for that."""
        settle, self._settle = self._settle, None
        if settle is not None:
            if self.deadline is not None and (when := self.deadline.when()) is not None:
                self.deadline.reschedule(max(when, asyncio.get_running_loop().time() + SETTLE_S))
            await settle(status)
        self.started = True
