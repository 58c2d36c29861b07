"""The log of everything over HTTP."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from tests.api.conftest import Dispatcher, fields_of, refused, submit

pytestmark = pytest.mark.integration
EVENTS = "/api/v1/events"


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """A server of its own: the test transport answers only when the whole answer has ended, and a log never does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        running = asyncio.create_task(server.serve([listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


async def entries(http: httpx.AsyncClient, count: int, last: str | None = None, **params) -> list[dict]:
    """So many entries of the log."""
    headers = {} if last is None else {"Last-Event-ID": last}
    found: list[dict] = []
    async with asyncio.timeout(10), http.stream("GET", EVENTS, headers=headers, params=params) as answer:
        assert answer.status_code == 200, await answer.aread()
        entry: dict = {}
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "data":
                entry["data"] = json.loads(value)
            elif name in ("id", "event"):
                entry[name] = value
            elif not line and entry:
                found.append(entry)
                entry = {}
                if len(found) == count:
                    break
    return found


async def test_the_log_tells_everything_and_resumes_at_any_entry(app, dispatcher: Dispatcher):
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
        first = await submit(http, 1)
        second = await submit(http, 2)
        await dispatcher.complete(await dispatcher.lease(), {"value": 1})
        seen = await entries(http, 3, begin="start")
        assert [e["event"] for e in seen] == ["submitted", "submitted", "completed"]
        assert [e["data"]["task_ids"] for e in seen] == [[first["id"]], [second["id"]], [first["id"]]]
        assert await entries(http, 2, last=seen[0]["id"]) == seen[1:]
        assert await entries(http, 1, begin="start", event="completed") == seen[2:]
        following = asyncio.create_task(entries(http, 1, last=seen[2]["id"]))
        await dispatcher.complete(await dispatcher.lease(), {"value": 2})
        assert [e["data"]["task_ids"] for e in await following] == [[second["id"]]]


async def test_an_id_that_is_none_is_refused(http: httpx.AsyncClient):
    bad = (
        "7",
        "a~b~c",
        "1:2:~1:2:~-1",
        "1:2:~1:2:3'~4",
        "5:3:~5:5:~0",
        "0:0:~3:3:~0",
        "3:9:7,5~9:9:~0",
        "3:5:7~9:9:~0",
    )
    for text in bad:
        document = refused(await http.get(EVENTS, headers={"Last-Event-ID": text}), 422, "invalid_input")
        assert fields_of(document) == ["Last-Event-ID"]


async def test_a_log_position_that_has_not_come_yet_is_refused_and_an_empty_one_is_none(app):
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
        for text in ("3:3:~900000000:900000000:~0", f"3:3:~{'9' * 20}:{'9' * 20}:~0", "900000000:900000000:~3:3:~0"):
            document = refused(await http.get(EVENTS, headers={"Last-Event-ID": text}), 422, "event_id_ahead")
            assert fields_of(document) == ["Last-Event-ID"]
        await submit(http, 1)
        assert [e["event"] for e in await entries(http, 1, last="", begin="start")] == ["submitted"]
