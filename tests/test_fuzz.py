"""No request whatsoever is answered with 500: every operation of every application, in this process."""

import asyncio
import contextlib
import gzip
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi import FastAPI

from benchmarks.fuzz import Answer, Plan, Sent, fuzz
from seedcore.api.app import build_app
from seedcore.cognitive.service import CognitiveService
from seedcore.coordinator.service import CoordinatorService
from seedcore.energy.service import EnergyService
from seedcore.ml.service import MLService
from seedcore.organism.service import OrganismService
from seedcore.settings import Settings, load_settings
from seedcore.state.service import StateService
from seedcore.telemetry.logs import configure_logs
from seedcore.web.service_base import ServiceBase
from tests.organism.fake_hosts import Pool

pytestmark = pytest.mark.integration

BUDGET_S = 7.0
"""Seconds for each application, whatever the machine: what is left out then, `python -m benchmarks.fuzz` has."""


@pytest.fixture
def apart(pg_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of services that reach no other service, and no Ray."""
    assert pg_settings.pg_dsn is not None
    # Nothing listens on port 1: a SeedCore that happens to run here is not asked.
    settings = load_settings(
        data_dir=pg_settings.data_dir, pg_dsn=pg_settings.pg_dsn.get_secret_value(), http_port=1, request_timeout_s=5
    )
    configure_logs(settings)
    monkeypatch.setattr(OrganismService, "_record_ray_address", lambda _self: None)
    return settings


@asynccontextmanager
async def serving(kind: Callable[..., ServiceBase] | None, settings: Settings) -> AsyncIterator[FastAPI]:
    if kind is None:
        app = build_app(settings)
        yield app
        await app.state.gateway.aclose()
    else:
        app = kind({}, settings).build_app()
        async with app.router.lifespan_context(app):
            yield app


async def asked(app: FastAPI, sent: Sent) -> Answer:
    """The answer of an application; of a stream only how it begins."""
    raw, _, query = sent.url.partition("?")
    scope = {
        "type": "http", "http_version": "1.1", "method": sent.method, "scheme": "http", "root_path": "", "client": None,
        "server": ("test", 80), "path": unquote(raw), "raw_path": raw.encode(), "query_string": query.encode(),
        "headers": [(name.lower(), value) for name, value in sent.headers],
    }  # fmt: skip
    waiting = [{"type": "http.request", "body": sent.body, "more_body": False}]
    answer, streams, body, packed = Answer(0, "", ""), asyncio.Event(), bytearray(), False

    async def receive() -> Any:
        if waiting:
            return waiting.pop()
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        nonlocal packed
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            answer.status, packed = message["status"], headers.get(b"content-encoding") == b"gzip"
            answer.content_type = headers.get(b"content-type", b"").decode()
            if answer.content_type.startswith("text/event-stream"):
                streams.set()
        else:
            body.extend(message.get("body", b""))

    running = asyncio.ensure_future(app(scope, receive, send))
    beginning = asyncio.ensure_future(streams.wait())
    await asyncio.wait({running, beginning}, return_when=asyncio.FIRST_COMPLETED)
    beginning.cancel()
    if not running.done():
        running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    answer.body = (gzip.decompress(body) if packed else bytes(body)).decode()
    return answer


APPLICATIONS = {
    "gateway": None,
    "state": StateService,
    "energy": EnergyService,
    "cognitive": CognitiveService,
    "coordinator": CoordinatorService,
    "organism": partial(OrganismService, provisioner=Pool),
    "ml": MLService,
}


@pytest.mark.parametrize("name", APPLICATIONS)
async def test_no_request_is_answered_with_500(apart: Settings, name: str):
    """Hypothesis wants one event loop for all examples: they run in this one, by hand."""
    async with serving(APPLICATIONS[name], apart) as app:
        loop, count = asyncio.get_running_loop(), 0

        def ask(sent: Sent) -> Answer:
            nonlocal count
            count += 1
            return asyncio.run_coroutine_threadsafe(asked(app, sent), loop).result(30)

        plan = Plan(examples=1, broken=12, until=time.monotonic() + BUDGET_S)
        faults = await asyncio.to_thread(lambda: list(fuzz(app.openapi(), ask, plan)))
    assert count > 0
    assert faults == []
