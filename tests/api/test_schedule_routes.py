"""Schedules over HTTP."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest

from seedcore.tasks.schedules import firing
from tests.api.conftest import TASKS, fields_of, refused

pytestmark = pytest.mark.integration
SCHEDULES = "/api/v1/schedules"
ECHO = {"type": "echo", "params": {"value": 1}}


async def make(http: httpx.AsyncClient, name: str = "nightly", **fields: Any) -> dict[str, Any]:
    answer = await http.post(SCHEDULES, json={"id": name, "task": ECHO, "cron": "30 2 * * *", **fields})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{SCHEDULES}/{name}"
    return answer.json()


async def test_a_schedule_is_made_read_and_listed_with_its_next_ticks(http: httpx.AsyncClient):
    made = await make(http, timezone="Europe/Berlin", catch_up="last")
    assert (await http.get(f"{SCHEDULES}/nightly")).json() == made
    template = {"queue": "default", "domain": None, "priority": 0, "max_attempts": 5, "timeout_s": None, "limit": None}
    assert made["task"] == {**ECHO, **template}
    assert (made["cron"], made["every_s"], made["timezone"]) == ("30 2 * * *", None, "Europe/Berlin")
    assert (made["paused"], made["fired"], made["skipped"], made["last_at"], made["error"]) == (False, 0, 0, None, None)
    ticks = [datetime.fromisoformat(tick) for tick in made["next_ticks"]]
    assert len(ticks) == 5
    assert made["next_at"] == made["next_ticks"][0]
    assert all(later - earlier > timedelta(hours=22) for earlier, later in pairwise(ticks))
    assert datetime.now(UTC) < ticks[0] <= datetime.now(UTC) + timedelta(hours=25)
    (listed,) = (await http.get(SCHEDULES)).json()["items"]
    assert listed == {name: value for name, value in made.items() if name != "next_ticks"}


async def test_the_list_goes_in_pages(http: httpx.AsyncClient):
    for name in ("a", "b", "c"):
        await make(http, name)
    first = (await http.get(SCHEDULES, params={"limit": 2})).json()
    rest = (await http.get(SCHEDULES, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [item["id"] for item in first["items"] + rest["items"]] == ["a", "b", "c"]
    assert (first["next_cursor"], rest["next_cursor"]) == ("b", None)


async def test_one_that_is_there_is_409_and_one_that_is_not_404(http: httpx.AsyncClient):
    await make(http)
    refused(await http.post(SCHEDULES, json={"id": "nightly", "task": ECHO, "every_s": 5}), 409, "conflict")
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/fire")):
        refused(await http.request(method, f"{SCHEDULES}/nothing{path}"), 404, "not_found")


async def test_put_defines_it_whole(http: httpx.AsyncClient):
    new = await http.put(f"{SCHEDULES}/s", json={"task": ECHO, "every_s": 90, "catch_up": "all", "max_catch_up": 7})
    assert (new.status_code, new.headers["location"]) == (201, f"{SCHEDULES}/s")
    again = await http.put(f"{SCHEDULES}/s", json={"task": {**ECHO, "priority": 5}, "cron": "0 0 * * *"})
    assert again.status_code == 200
    body = again.json()
    assert (body["cron"], body["every_s"], body["catch_up"], body["max_catch_up"]) == ("0 0 * * *", None, "skip", 100)
    assert body["task"]["priority"] == 5
    assert body["created_at"] == new.json()["created_at"]
    assert body["updated_at"] > body["created_at"]
    assert (await http.delete(f"{SCHEDULES}/s")).status_code == 204
    refused(await http.get(f"{SCHEDULES}/s"), 404, "not_found")


async def test_pause_resume_and_firing_by_hand(http: httpx.AsyncClient):
    await make(http)
    paused = await http.post(f"{SCHEDULES}/nightly/pause")
    assert (paused.status_code, paused.json()["paused"]) == (200, True)
    assert (paused.json()["next_at"], paused.json()["next_ticks"]) == (None, [])
    fired = await http.post(f"{SCHEDULES}/nightly/fire")
    assert (fired.status_code, fired.json()["status"]) == (201, "queued")
    assert fired.headers["location"] == f"{TASKS}/{fired.json()['id']}"
    key = {"Idempotency-Key": "by hand"}
    answers = [await http.post(f"{SCHEDULES}/nightly/fire", headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json()["id"] == answers[1].json()["id"] != fired.json()["id"]
    resumed = (await http.post(f"{SCHEDULES}/nightly/resume")).json()
    assert (resumed["paused"], resumed["fired"], resumed["last_task_id"]) == (False, 2, answers[0].json()["id"])
    assert len(resumed["next_ticks"]) == 5


async def test_its_tasks_are_like_any_other(http: httpx.AsyncClient, app):
    await make(http)
    async with app.state.gateway.database.connection() as connection:
        await connection.execute("update seedcore.schedules set next_at = now()")
        assert (await firing.fire(connection)).fired == 1
    schedule = (await http.get(f"{SCHEDULES}/nightly")).json()
    task = (await http.get(f"{TASKS}/{schedule['last_task_id']}")).json()
    assert (task["status"], task["type"], task["params"]) == ("queued", "echo", {"value": 1})
    assert task["idempotency_key"] == f"schedule:nightly:{schedule['last_at']}"


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        ({"id": None}, ["id"]),
        ({"id": "two words"}, ["id"]),
        ({"id": "x" * 101}, ["id"]),
        ({"cron": None}, ["cron"]),
        ({"every_s": 5}, ["cron"]),
        ({"cron": "* * * *"}, ["cron"]),
        ({"cron": "61 * * * *"}, ["cron"]),
        ({"cron": "0 0 30 2 *"}, ["cron"]),
        ({"cron": "0 " * 200}, ["cron"]),
        ({"cron": None, "every_s": 0.5}, ["every_s"]),
        ({"cron": None, "every_s": "often"}, ["every_s"]),
        ({"cron": None, "every_s": 1e9}, ["every_s"]),
        ({"timezone": "Europe/Nowhere"}, ["timezone"]),
        ({"timezone": "x" * 101}, ["timezone"]),
        ({"catch_up": "some"}, ["catch_up"]),
        ({"max_catch_up": 101}, ["max_catch_up"]),
        ({"max_catch_up": 0}, ["max_catch_up"]),
        ({"starts_at": "2030-01-01T00:00:00"}, ["starts_at"]),
        ({"starts_at": "9998-01-01T00:00:00Z"}, ["starts_at"]),
        ({"ends_at": "2020-01-01T00:00:00Z"}, ["ends_at"]),
        ({"starts_at": "2031-01-01T00:00:00Z", "ends_at": "2030-01-01T00:00:00Z"}, ["ends_at"]),
        ({"starts_at": "2031-01-01T03:00:00Z", "ends_at": "2031-01-01T04:00:00Z"}, ["ends_at"]),
        ({"task": None}, ["task"]),
        ({"task": {}}, ["task.type"]),
        ({"task": {"type": "no.such.skill"}}, ["task.type"]),
        ({"task": {"type": "echo"}}, ["task.params.value"]),
        ({"task": {**ECHO, "priority": 101, "queue": "Bad Queue"}}, ["task.queue", "task.priority"]),
        ({"task": {**ECHO, "limit": {"key": ""}}}, ["task.limit.key"]),
        ({"task": {**ECHO, "run_after": "2030-01-01T00:00:00Z", "deadline": 1}}, ["task.run_after", "task.deadline"]),
        ({"task": {**ECHO, "idempotency_key": "k"}}, ["task.idempotency_key"]),
        ({"paused": True}, ["paused"]),
    ],
)
async def test_a_wrong_field_is_422_and_named(http: httpx.AsyncClient, changed: dict[str, Any], fields: list[str]):
    body = {"id": "s", "task": ECHO, "cron": "0 0 * * *", **changed}
    answer = await http.post(SCHEDULES, json={name: value for name, value in body.items() if value is not None})
    assert fields_of(refused(answer, 422, "invalid_input")) == fields
    assert (await http.get(SCHEDULES)).json()["items"] == []


async def test_what_cannot_be_an_id_or_a_cursor_is_422(http: httpx.AsyncClient):
    assert fields_of(refused(await http.get(f"{SCHEDULES}/a b"), 422, "invalid_input")) == ["schedule_id"]
    assert fields_of(refused(await http.get(SCHEDULES, params={"cursor": "a\0"}), 422, "invalid_input")) == ["cursor"]


async def test_params_over_the_limit_are_413(http: httpx.AsyncClient):
    task = {"type": "echo", "params": {"value": "x" * 300_000}}
    answer = await http.post(SCHEDULES, json={"id": "s", "task": task, "every_s": 5})
    assert fields_of(refused(answer, 413, "too_large")) == ["task.params"]
