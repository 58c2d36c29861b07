"""Callers of several tenants, for tests that need no stored keys: the caller is put in behind the guard."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from seedcore.web.access.caller import Caller, put_caller
from seedcore.web.guard import RequestGuard

NAME = b"x-test-caller"
CALLERS: Mapping[str, Caller] = {
    "acme": Caller("acme-key", "key", tenant="acme"),
    "blind": Caller("acme-blind", "key", tenant="acme", payloads=False),
    "umbra": Caller("umbra-key", "key", tenant="umbra"),
    "default": Caller("default-key", "key", tenant="default"),
    "platform": Caller("root", "key"),
    "watcher": Caller("watcher", "key", payloads=False),
}


class Callers:
    """Gives a request the caller that its header names."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        names = [value.decode() for name, value in scope.get("headers", ()) if name == NAME]
        if names:
            put_caller(scope, CALLERS[names[0]])
        await self.app(scope, receive, send)


def install(app: FastAPI) -> None:
    """Behind the guard, which puts its own caller in."""
    names = [middleware.cls for middleware in app.user_middleware]
    app.user_middleware.insert(names.index(RequestGuard) + 1, Middleware(Callers))


@asynccontextmanager
async def client_of(app: FastAPI, name: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {NAME.decode(): name}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", headers=headers) as client:
        yield client
