"""The log of everything, dead letters and limits over HTTP."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from seedcore.tasks import reaping
from tests.api.conftest import TASKS, Dispatcher, fields_of, refused, submit

pytestmark = pytest.mark.integration
EVENTS, DEAD, LIMITS = "/api/v1/events", "/api/v1/dead", "/api/v1/limits"


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


async def test_a_dead_letter_tells_every_error_and_runs_again(http: httpx.AsyncClient, dispatcher: Dispatcher, app):
    task = await submit(http, 1)
    other = await submit(http, 2)
    await dispatcher.put_off(await dispatcher.lease(), 0)
    async with app.state.gateway.database.connection() as connection:
        assert await reaping.promote(connection) == 1
    leased = {str(lease.id): lease for lease in [await dispatcher.lease(), await dispatcher.lease()]}
    await dispatcher.fail(leased[task["id"]])
    await dispatcher.complete(leased[other["id"]], {"value": 2})

    (letter,) = (await http.get(DEAD)).json()["items"]
    assert (letter["id"], letter["status"]) == (task["id"], "failed")
    assert [(e["attempt"], e["code"]) for e in letter["errors"]] == [(1, "skill_timeout"), (2, "skill_failed")]
    assert (await http.get(DEAD, params={"code": "other"})).json()["items"] == []
    counted = (await http.get(f"{DEAD}/counts")).json()["items"]
    assert [(c["type"], c["code"], c["tasks"]) for c in counted] == [("echo", "skill_failed", 1)]

    answer = await http.post(f"{DEAD}/requeue", json={"code": "skill_failed"})
    assert (answer.status_code, answer.json()) == (202, {"ids": [task["id"]]})
    again = (await http.get(f"{TASKS}/{task['id']}")).json()
    assert (again["status"], again["attempts"], again["errors"]) == ("queued", 0, [])
    assert (await http.post(f"{DEAD}/requeue", json={"ids": [task["id"]]})).json() == {"ids": []}


@pytest.mark.parametrize("body", [{}, {"ids": [], "type": "x"}, {"ids": ["x"]}, {"type": "a", "ids": [str(id)]}])
async def test_what_runs_again_must_be_named(http: httpx.AsyncClient, body):
    refused(await http.post(f"{DEAD}/requeue", json=body), 422, "invalid_input")


async def test_a_key_lets_through_what_its_limit_allows(http: httpx.AsyncClient, dispatcher: Dispatcher, app):
    first = await submit(http, 1, limit={"key": "customer/42", "max_running": 1})
    second = await submit(http, 2, limit={"key": "customer/42"})
    async with app.state.gateway.database.connection() as connection:
        assert await reaping.admit(connection) == 1
    state = (await http.get(f"{LIMITS}/customer/42")).json()
    assert (state["max_running"], state["running"], state["waiting"]) == (1, 1, 1)
    lease = await dispatcher.lease()
    assert str(lease.id) == first["id"]
    refused(await http.delete(f"{LIMITS}/customer/42"), 409, "conflict")
    await dispatcher.complete(lease)
    lease = await dispatcher.lease()
    assert str(lease.id) == second["id"]
    await dispatcher.complete(lease)
    assert (await http.get(LIMITS)).json()["items"][0]["waiting"] == 0
    assert (await http.delete(f"{LIMITS}/customer/42")).status_code == 204
    refused(await http.get(f"{LIMITS}/customer/42"), 404, "not_found")


async def test_a_wider_limit_takes_hold_at_once(http: httpx.AsyncClient, dispatcher: Dispatcher):
    body = {"max_running": None, "rate_per_s": 0.001, "burst": 1}
    assert (await http.put(f"{LIMITS}/k", json=body)).json()["rate_per_s"] == 0.001
    await submit(http, 1, limit={"key": "k"})
    await submit(http, 2, limit={"key": "k"})
    assert (await http.put(f"{LIMITS}/k", json={**body, "burst": 1})).json()["waiting"] == 1
    assert (await http.put(f"{LIMITS}/k", json={"max_running": 5})).json()["waiting"] == 0
    assert len({(await dispatcher.lease()).id, (await dispatcher.lease()).id}) == 2
    refused(await http.put(f"{LIMITS}/k", json={"max_running": 0}), 422, "invalid_input")


async def test_a_deadline_and_a_period_are_kept_with_the_task(http: httpx.AsyncClient, app):
    late = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    task = await submit(http, 1, deadline=late, idempotency_key="k", idempotency_period_s=0.001)
    async with app.state.gateway.database.connection() as connection:
        assert await reaping.close_late(connection) == 1
    ended = (await http.get(f"{TASKS}/{task['id']}")).json()
    assert (ended["status"], ended["error"]["code"]) == ("failed", "deadline_exceeded")
    assert (await submit(http, 5, idempotency_key="k"))["id"] != task["id"]
