"""The real gateway behind real HTTP, and somebody who plays the dispatcher."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import uvicorn

from seedcore.api.app import build_app
from seedcore.client import AsyncSeedCore, SeedCore
from seedcore.settings import Settings
from seedcore.tasks import leases
from seedcore.tasks.model import Lease, Outcome, Status
from seedcore.telemetry.logs import configure_logs
from tests.api.conftest import Dispatcher, dispatcher

__all__ = ["Caller", "Gateway", "dispatcher"]

DEADLINE_S = 20


class Gateway:
    """The gateway on a port of its own, in a thread; it can be stopped and started again at the same address."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        config = uvicorn.Config(
            build_app(self._settings),
            host="127.0.0.1",
            port=self.port,
            log_level="critical",
            access_log=False,
            timeout_graceful_shutdown=0,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="gateway", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(DEADLINE_S)
            assert not self._thread.is_alive()
            self._server = None


@pytest.fixture
def gateway(pg_settings: Settings) -> Iterator[Gateway]:
    configure_logs(pg_settings)
    gateway = Gateway(pg_settings)
    gateway.start()
    yield gateway
    gateway.stop()


class Caller:
    """Calls either client by the same words, from a test's event loop."""

    def __init__(self, kind: str, url: str, **arguments: Any) -> None:
        self.kind, self.url, self.arguments = kind, url, arguments

    async def __call__(self, name: str, *args: Any, **kwargs: Any) -> Any:
        async with asyncio.timeout(DEADLINE_S):
            if self.kind == "sync":
                return await asyncio.to_thread(self._sync, name, args, kwargs)
            async with AsyncSeedCore(self.url, **self.arguments) as client:
                answer = getattr(client, name)(*args, **kwargs)
                return [item async for item in answer] if name in ("find", "events") else await answer

    def _sync(self, name: str, args: Any, kwargs: Any) -> Any:
        with SeedCore(self.url, **self.arguments) as client:
            answer = getattr(client, name)(*args, **kwargs)
            return list(answer) if name in ("find", "events") else answer


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, gateway: Gateway) -> Caller:
    return Caller(request.param, gateway.url)


@pytest.fixture
async def echoing(dispatcher: Dispatcher) -> AsyncIterator[None]:
    """Completes every task with its own params, like the skill `echo`."""

    async def work() -> None:
        while True:
            async with dispatcher.database.connection() as connection:
                held = await leases.claim(connection, "default", dispatcher.session, 500)
                await leases.finish(
                    connection,
                    [
                        Outcome(x.id, x.token, Status.COMPLETED, result=x.params, follow_up=x.follow_up, decision="{}")
                        for x in held
                    ],
                )
            if not held:
                await asyncio.sleep(0.01)

    working = asyncio.create_task(work())
    yield
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working


async def leased(dispatcher: Dispatcher) -> Lease:
    """The next task, of either lane, once there is one."""
    async with asyncio.timeout(DEADLINE_S), dispatcher.database.connection() as connection:
        while True:
            for slow in (False, True):
                for lease in await leases.claim(connection, "default", dispatcher.session, 1, slow=slow):
                    return lease
            await asyncio.sleep(0.01)
