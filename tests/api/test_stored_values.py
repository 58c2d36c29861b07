"""What is stored can be read: values go out as they are kept, and one that no reader can read costs no neighbour."""

import httpx
import pytest

from seedcore.client import AsyncSeedCore
from seedcore.tasks.model import new_id
from tests.api.conftest import TASKS, Dispatcher, submit

pytestmark = pytest.mark.integration

HUGE = '{"value": 1e4300}'
DEEP = '{"value": ' + "[" * 1100 + "]" * 1100 + "}"
WHY = {HUGE: "holds a number that no double can hold", DEEP: "nests deeper than 150 levels"}


async def store(dispatcher: Dispatcher, place: str, params: str, parent: str | None = None) -> str:
    """A task as a release stored it that let everything in; `place` is the table that holds it beside `tasks`."""
    task_id = new_id()
    rows = {
        "ready": "insert into seedcore.ready (id, queue, rank) values ($1, 'default', 0)",
        "dead": "insert into seedcore.dead (id, tick, attempts, error_code)"
        " values ($1, nextval('seedcore.ticks'), 5, 'boom')",
        "finished": "insert into seedcore.finished (id, tick, status, attempts, result)"
        " select id, nextval('seedcore.ticks'), 'completed', 1, params from seedcore.tasks where id = $1",
    }
    async with dispatcher.database.connection() as connection:
        await connection.execute(
            "insert into seedcore.tasks (id, type, params, max_attempts, parent_id)"
            " values ($1, 'echo', $2::text::jsonb, 5, $3::text::uuid)",
            *(task_id, params, parent),
        )
        await connection.execute(rows[place], task_id)
    return str(task_id)


async def answered(http: httpx.AsyncClient, method: str, path: str, status: int = 200) -> httpx.Response:
    answer = await http.request(method, path)
    assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
    return answer


async def test_a_task_that_cannot_be_shown_says_so_and_its_neighbours_are_shown(
    app, http: httpx.AsyncClient, dispatcher: Dispatcher
):
    neighbour = (await submit(http, "fine"))["id"]
    for params, why in WHY.items():
        queued = await store(dispatcher, "ready", params)
        dead = await store(dispatcher, "dead", params)
        done = await store(dispatcher, "finished", params, parent=neighbour)
        said = {"params": why}
        for path in (TASKS, f"{TASKS}?limit=1", "/api/v1/dead"):
            (await answered(http, "GET", path)).json()
        items = {item["id"]: item for item in (await answered(http, "GET", TASKS)).json()["items"]}
        assert (items[queued]["params"], items[queued]["unreadable"]) == (None, said)
        assert items[done]["unreadable"] == said | {"result": why}
        assert items[neighbour]["params"] == {"value": "fine"}
        assert "unreadable" not in items[neighbour]
        assert (await answered(http, "GET", f"{TASKS}/{queued}")).json() == items[queued]
        assert (await answered(http, "GET", "/api/v1/dead")).json()["items"][0]["id"] == dead
        plan = (await answered(http, "GET", f"{TASKS}/{neighbour}/plan")).json()
        assert plan["steps"][-1] == items[done]
        assert "event: submitted" in (await answered(http, "GET", f"{TASKS}/{dead}/events")).text
        assert (await answered(http, "POST", f"{TASKS}/{queued}/cancel", 202)).json()["status"] == "cancelled"
        assert (await answered(http, "POST", f"{TASKS}/{dead}/retry", 202)).json()["status"] == "queued"
        async with AsyncSeedCore("http://test", transport=httpx.ASGITransport(app)) as client:
            assert (await client.get(queued)).unreadable == said
            assert {str(task.id) for task in [task async for task in client.find()]} >= {queued, dead, done, neighbour}


async def test_values_go_out_as_they_are_kept(http: httpx.AsyncClient, dispatcher: Dispatcher):
    kept = '{"value": [1180591620717411303424, 0.12345678901234567890123, 1.0, 100000000000000000000000, "9e999"]}'
    task_id = await store(dispatcher, "finished", kept)
    for path in (TASKS, f"{TASKS}/{task_id}"):
        text = (await answered(http, "GET", path)).text
        assert f'"params":{kept}' in text
        assert f'"result":{kept}' in text
