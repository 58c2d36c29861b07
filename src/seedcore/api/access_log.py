"""Logs one line for each request that failed; successes are in the task's events."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seedcore.telemetry.logs import get_logger

REFUSED, FAILED = 400, 500


class FailureLog:
    """Log each answer of 400 and above: with its method, path, status and time, never its query, headers or body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = get_logger("seedcore.api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, and look at the status."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= REFUSED:
                self._write(scope, message["status"], time.monotonic() - began)
            await send(message)

        await self._app(scope, receive, watched)

    def _write(self, scope: Scope, status: int, seconds: float) -> None:
        facts = {"method": scope["method"], "path": scope["path"], "status": status, "seconds": round(seconds, 3)}
        if status >= FAILED:
            self._log.error("request failed", **facts)
        else:
            self._log.info("request refused", **facts)
