"""Counts requests, and times them to the beginning of their answer: an event stream may never end."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seedcore.telemetry.metrics import counter, histogram

_REQUESTS, _SECONDS = counter("seedcore_http_requests_total"), histogram("seedcore_http_request_seconds")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CLASSES = ("0xx", "1xx", "2xx", "3xx", "4xx", "5xx")


class RequestMeter:
    """ASGI middleware around all others of the application `name`; what gets no answer has the status `none`."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self.app = app
        self._seconds_key = (name,)
        self._keys = {
            method: {status: (name, method, status) for status in _CLASSES} for method in (*_METHODS, "other")
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, and count it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, answered = time.perf_counter(), False
        method = scope["method"] if scope["method"] in _METHODS else "other"

        async def counted(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                _SECONDS.observe_all({self._seconds_key: (time.perf_counter() - began,)})
                _REQUESTS.add_all({self._keys[method][_CLASSES[message["status"] // 100]]: 1})
            await send(message)

        try:
            await self.app(scope, receive, counted)
        finally:
            if not answered:
                _REQUESTS.add_all({(*self._seconds_key, method, "none"): 1})
