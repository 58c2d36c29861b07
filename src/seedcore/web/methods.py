"""Answers by one table of the methods that each path takes: 405, OPTIONS, and HEAD wherever there is GET."""

import re
from dataclasses import dataclass, field
from typing import cast

from fastapi import FastAPI
from fastapi.responses import Response
from fastapi.routing import iter_route_contexts
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seedcore.errors import MethodNotAllowedError
from seedcore.web.bodies import check_content_type

HEAD_SCOPE_KEY = "seedcore.head"
"""Marks the scope of a HEAD request, which routes see as GET: an endless response stops at its headers."""


@dataclass(slots=True)
class PathMethods:
    """The methods that one path (or pattern of paths) takes."""

    pattern: re.Pattern[str]
    methods: set[str] = field(default_factory=lambda: {"OPTIONS"})
    with_body: set[str] = field(default_factory=set)

    @property
    def allow(self) -> str:
        """The value of the header Allow."""
        return ", ".join(sorted(self.methods))


class MethodTable:
    """The paths of an application. A literal path wins over those with parameters, whatever their order."""

    def __init__(self, app: FastAPI) -> None:
        found: dict[str, PathMethods] = {}
        for route in iter_route_contexts(app.routes):
            if route.path is None or route.methods is None:
                continue
            entry = found.setdefault(route.path, PathMethods(compile_path(route.path)[0]))
            entry.methods |= route.methods | ({"HEAD"} if "GET" in route.methods else set())
            if getattr(route, "body_field", None) is not None:
                entry.with_body |= route.methods
        self.entries = found
        self._patterns = [entry for path, entry in found.items() if "{" in path]

    def find(self, path: str) -> PathMethods | None:
        """The methods of a path; None when there is no such path."""
        exact = self.entries.get(path)
        return exact or next((entry for entry in self._patterns if entry.pattern.match(path)), None)


class MethodsMiddleware:
    """ASGI middleware that answers from the table, and passes to the application what it takes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._table: MethodTable | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it."""
        entry = self._find(scope) if scope["type"] == "http" else None
        if entry is None:
            await self.app(scope, receive, send)
            return
        method = scope["method"]
        if method == "OPTIONS":
            await Response(status_code=204, headers={"Allow": entry.allow})(scope, receive, send)
        elif method not in entry.methods:
            raise MethodNotAllowedError(
                f"{scope['path']} does not take {method}, only {entry.allow}.", allow=entry.allow
            )
        elif method == "HEAD":
            await self.app({**scope, "method": "GET", HEAD_SCOPE_KEY: True}, receive, _without_body(send))
        else:
            if method in entry.with_body:
                check_content_type({name.lower(): value for name, value in scope["headers"]})
            await self.app(scope, receive, send)

    def _find(self, scope: Scope) -> PathMethods | None:
        # Not in the constructor: routes are added after it.
        if self._table is None:
            self._table = MethodTable(cast(FastAPI, scope["app"]))
        return self._table.find(scope["path"].removeprefix(scope.get("root_path", "")))


def _without_body(send: Send) -> Send:
    async def headers_alone(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return headers_alone
