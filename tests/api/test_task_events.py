"""The event stream of a task: to its end, resumed, and after a retry."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.api.conftest import TASKS, Dispatcher, fields_of, refused, submit

pytestmark = pytest.mark.integration


def events_of(text: str) -> list[tuple[int, str, dict[str, Any]]]:
    """(id, event, data) of every event; comments are skipped."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


async def follow(http: httpx.AsyncClient, task_id: str, after: int | None = None) -> httpx.Response:
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    async with asyncio.timeout(10):
        return await http.get(f"{TASKS}/{task_id}/events", headers=headers)


async def test_a_stream_follows_a_task_to_its_end_and_closes(http: httpx.AsyncClient, dispatcher: Dispatcher):
    task = await submit(http)
    reading = asyncio.create_task(follow(http, task["id"]))
    lease = await dispatcher.lease()
    await dispatcher.put_off(lease, 0)
    await asyncio.sleep(0.3)
    async with dispatcher.database.connection() as connection:
        await connection.execute("delete from seedcore.deferred")
        await connection.execute("insert into seedcore.ready (id, queue, rank) values ($1, 'default', 0)", lease.id)
    await dispatcher.complete(await dispatcher.lease(), {"value": 1})
    answer = await reading
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer.text)
    assert [event for _, event, _ in events] == ["submitted", "leased", "retried", "leased", "started", "completed"]
    assert [id_ for id_, _, _ in events] == sorted({id_ for id_, _, _ in events})
    assert all(data["task_id"] == task["id"] and data["at"] for _, _, data in events)
    assert events[2][2]["code"] == "skill_timeout"


async def test_a_stream_resumes_after_the_last_event_id(http: httpx.AsyncClient, dispatcher: Dispatcher):
    task = await submit(http)
    await dispatcher.complete(await dispatcher.lease(), {"value": 1})
    whole = events_of((await follow(http, task["id"])).text)
    for n, (id_, _, _) in enumerate(whole[:-1]):
        assert events_of((await follow(http, task["id"], id_)).text) == whole[n + 1 :]


async def test_a_client_that_has_the_last_event_is_told_to_stay_away(http: httpx.AsyncClient, dispatcher: Dispatcher):
    task = await submit(http)
    await dispatcher.complete(await dispatcher.lease(), {"value": 1})
    whole = events_of((await follow(http, task["id"])).text)
    answer = await follow(http, task["id"], whole[-1][0])
    assert (answer.status_code, answer.content) == (204, b""), "EventSource reconnects unless it is told 204"


async def test_a_retried_task_is_followed_past_its_first_end(http: httpx.AsyncClient, dispatcher: Dispatcher):
    task = await submit(http)
    await dispatcher.fail(await dispatcher.lease())
    failed = events_of((await follow(http, task["id"])).text)
    assert failed[-1][1] == "failed"
    await http.post(f"{TASKS}/{task['id']}/retry")
    reading = asyncio.create_task(follow(http, task["id"], failed[-1][0]))
    await dispatcher.complete(await dispatcher.lease(), {"value": 1})
    assert [event for _, event, _ in events_of((await reading).text)] == ["retried", "leased", "started", "completed"]


@pytest.mark.parametrize("value", ["x", "-1", "1.5", str(2**63)])
async def test_a_bad_last_event_id_is_422_and_hurts_no_other_follower(
    http: httpx.AsyncClient, dispatcher: Dispatcher, value: str
):
    task = await submit(http)
    reading = asyncio.create_task(follow(http, task["id"]))
    answer = await http.get(f"{TASKS}/{task['id']}/events", headers={"Last-Event-ID": value})
    assert fields_of(refused(answer, 422, "invalid_input")) == ["last-event-id"]
    await dispatcher.complete(await dispatcher.lease(), {"value": 1})
    assert (await reading).status_code == 200


async def test_an_event_id_that_has_not_come_yet_is_refused_whether_or_not_the_task_has_ended(
    http: httpx.AsyncClient, dispatcher: Dispatcher
):
    task = await submit(http)
    for value in (9_000_000_000, 2**63 - 1):
        answer = await follow(http, task["id"], value)
        assert fields_of(refused(answer, 422, "event_id_ahead")) == ["Last-Event-ID"]
    await dispatcher.complete(await dispatcher.lease(), {"value": 1})
    last = events_of((await follow(http, task["id"])).text)[-1][0]
    assert (await follow(http, task["id"], last)).status_code == 204
    refused(await follow(http, task["id"], 9_000_000_000), 422, "event_id_ahead")


async def test_an_empty_last_event_id_is_as_good_as_none(http: httpx.AsyncClient, dispatcher: Dispatcher):
    task = await submit(http)
    await dispatcher.complete(await dispatcher.lease(), {"value": 1})
    events = events_of((await follow(http, task["id"])).text)
    answer = await http.get(f"{TASKS}/{task['id']}/events", headers={"Last-Event-ID": ""})
    assert events_of(answer.text) == events
