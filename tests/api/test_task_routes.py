"""/api/v1 on a real database: what the contract fixes for tasks, batches, lists and control."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from seedcore.tasks import reaping
from tests.api.conftest import TASK_FIELDS, TASKS, Dispatcher, fields_of, refused, submit

pytestmark = pytest.mark.integration


async def status_of(http: httpx.AsyncClient, task_id: str) -> str:
    return (await http.get(f"{TASKS}/{task_id}")).json()["status"]


async def test_a_submitted_task_is_201_and_has_every_fixed_field(http: httpx.AsyncClient):
    fields = {"domain": "demo", "priority": 7, "queue": "graph", "max_attempts": 2, "idempotency_key": "k"}
    answer = await http.post(TASKS, json={"type": "echo", "params": {"value": [1, {"a": None}]}, **fields})
    assert answer.status_code == 201
    task = answer.json()
    assert task.keys() >= TASK_FIELDS
    assert {name: task[name] for name in fields} == fields
    assert (task["type"], task["params"], task["status"], task["attempts"]) == (
        "echo",
        {"value": [1, {"a": None}]},
        "queued",
        0,
    )
    assert answer.headers["location"] == f"{TASKS}/{task['id']}"
    assert (await http.get(answer.headers["location"])).json() == task
    assert abs(datetime.now(UTC) - datetime.fromisoformat(task["created_at"])) < timedelta(minutes=1)


async def test_a_task_without_options_gets_the_defaults(http: httpx.AsyncClient):
    task = await submit(http)
    names = ("domain", "priority", "queue", "idempotency_key", "max_attempts", "result", "error", "decision")
    assert [task[name] for name in names] == [None, 0, "default", None, 5, None, None, None]
    assert [task[name] for name in ("parent_id", "run_after", "started_at", "finished_at")] == [None] * 4


async def test_a_finished_task_shows_result_decision_and_times(http: httpx.AsyncClient, dispatcher: Dispatcher):
    task = await submit(http)
    lease = await dispatcher.lease()
    running = (await http.get(f"{TASKS}/{task['id']}")).json()
    assert (running["status"], running["attempts"]) == ("running", 1)
    await dispatcher.complete(lease, {"value": 1})
    done = (await http.get(f"{TASKS}/{task['id']}")).json()
    assert (done["status"], done["result"], done["error"]) == ("completed", {"value": 1}, None)
    assert done["decision"]["agent"] == "a-1"
    assert done["created_at"] <= done["started_at"] <= done["finished_at"]


async def test_a_failed_task_shows_code_and_message(http: httpx.AsyncClient, dispatcher: Dispatcher):
    task = await submit(http)
    await dispatcher.fail(await dispatcher.lease(), "policy_rejected")
    done = (await http.get(f"{TASKS}/{task['id']}")).json()
    assert (done["status"], done["error"]) == ("failed", {"code": "policy_rejected", "message": "it broke"})


@pytest.mark.parametrize("way", ["header", "field"])
async def test_the_same_key_again_is_200_and_the_first_task(http: httpx.AsyncClient, way: str):
    body = {"type": "echo", "params": {"value": {"a": 1, "b": 2}}}
    key = {"headers": {"Idempotency-Key": "once"}} if way == "header" else {}
    fields = {"idempotency_key": "once"} if way == "field" else {}
    first = await http.post(TASKS, json=body | fields, **key)
    again = await http.post(TASKS, json={"type": "echo", "params": {"value": {"b": 2, "a": 1}}} | fields, **key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["idempotency_key"] == "once"
    assert again.headers["location"] == first.headers["location"]


async def test_the_same_key_with_other_params_is_409(http: httpx.AsyncClient):
    await submit(http, 1, idempotency_key="once")
    for body in ({"type": "echo", "params": {"value": 2}}, {"type": "goal", "params": {"goal": "x"}}):
        answer = await http.post(TASKS, json=body | {"idempotency_key": "once"})
        assert fields_of(refused(answer, 409, "conflict")) == ["idempotency_key"]
    assert len((await http.get(TASKS)).json()["items"]) == 1


async def test_a_key_is_unique_within_its_queue_alone(http: httpx.AsyncClient):
    first = await submit(http, 1, idempotency_key="once")
    other = await submit(http, 2, idempotency_key="once", queue="graph")
    assert other["id"] != first["id"]


async def test_header_and_field_that_differ_are_refused(http: httpx.AsyncClient):
    body = {"type": "echo", "params": {"value": 1}, "idempotency_key": "one"}
    answer = await http.post(TASKS, json=body, headers={"Idempotency-Key": "two"})
    assert fields_of(refused(answer, 422, "invalid_input")) == ["idempotency_key"]
    assert (await http.post(TASKS, json=body, headers={"Idempotency-Key": "one"})).status_code == 201


async def test_a_task_for_later_waits_in_the_queue(http: httpx.AsyncClient):
    due = datetime.now(UTC) + timedelta(hours=1)
    task = await submit(http, run_after=due.isoformat())
    assert (task["status"], datetime.fromisoformat(task["run_after"])) == ("queued", due)
    assert (await http.get("/api/v1/queue")).json()["queues"]["default"]["deferred"] == 1


async def test_a_timeout_comes_back_as_it_went(http: httpx.AsyncClient):
    for timeout_s in (0.001, 0.1, 2.5, 86_400):
        assert (await submit(http, timeout_s=timeout_s))["timeout_s"] == timeout_s


async def test_a_goal_needs_no_skill(http: httpx.AsyncClient):
    answer = await http.post(TASKS, json={"type": "goal", "params": {"goal": "summary", "inputs": {"text": "x"}}})
    assert answer.status_code == 201
    assert answer.json()["type"] == "goal"


@pytest.mark.parametrize("key", ["Zürich-7", "注文-1", "naïve ☕"])
async def test_a_key_in_utf8_is_the_same_key_in_header_and_body(http: httpx.AsyncClient, key: str):
    body = {"type": "echo", "params": {"value": 1}}
    first = await http.post(TASKS, json=body, headers={b"Idempotency-Key": key.encode()})
    again = await http.post(TASKS, json=body | {"idempotency_key": key})
    both = await http.post(TASKS, json=body | {"idempotency_key": key}, headers={b"Idempotency-Key": key.encode()})
    assert (first.status_code, again.status_code, both.status_code) == (201, 200, 200)
    assert first.json()["id"] == again.json()["id"] == both.json()["id"]
    assert first.json()["idempotency_key"] == key


@pytest.mark.parametrize("key", [b"Z\xfcrich", b"", "ü".encode() * 501, b"\xed\xa0\x80", b"a\0b"])
async def test_a_key_header_that_is_no_text_in_utf8_is_422(http: httpx.AsyncClient, key: bytes):
    headers = {b"Idempotency-Key": key}
    answer = await http.post(TASKS, json={"type": "echo", "params": {"value": 1}}, headers=headers)
    assert fields_of(refused(answer, 422, "invalid_input")) == ["idempotency-key"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"params": {}}, ["type"]),
        ({"type": "no.such.skill"}, ["type"]),
        ({"type": ""}, ["type"]),
        ({"type": 5}, ["type"]),
        ({"type": "echo"}, ["params.value"]),
        ({"type": "echo", "params": 5}, ["params"]),
        ({"type": "echo", "params": {"value": 1}, "prio": 1}, ["prio"]),
        ({"type": "echo", "params": {"value": 1}, "priority": 101, "queue": "Bad Queue"}, ["queue", "priority"]),
        ({"type": "echo", "params": {"value": 1}, "max_attempts": 0}, ["max_attempts"]),
        ({"type": "echo", "params": {"value": 1}, "timeout_s": 0}, ["timeout_s"]),
        ({"type": "echo", "params": {"value": 1}, "run_after": "2026-01-01T00:00:00"}, ["run_after"]),
        ({"type": "echo", "params": {"value": 1}, "run_after": "9999-12-31T23:59:59-23:59"}, ["run_after"]),
        ({"type": "echo", "params": {"value": 1}, "run_after": "0001-01-01T00:00:00+23:59"}, ["run_after"]),
        ({"type": "echo", "params": {"value": 1}, "idempotency_key": ""}, ["idempotency_key"]),
        ({"type": "echo", "params": {"value": 1}, "idempotency_key": "a\0b"}, ["idempotency_key"]),
        ({"type": "echo", "params": {"value": 1}, "domain": "a\0b"}, ["domain"]),
        ({"type": "echo", "params": {"value": "a\0b"}}, ["params"]),
        ({"type": "echo", "params": {"value": 2**70}}, ["params"]),
        ({"type": "goal", "params": {}}, ["params.goal"]),
        ({"type": "goal", "params": {"goal": "x", "inputs": []}}, ["params.inputs"]),
        ({"type": "goal", "params": {"goal": ["x"] * 2000}}, ["params.goal"]),
        ({"type": "goal", "params": {"goal": "x", "on_failure": "panic"}}, ["params.on_failure"]),
        ({"type": "goal", "params": {"goal": "x", "on_failure": {"none": "skip"}}}, ["params.on_failure.none"]),
        ({"type": "goal", "params": {"goal": "x", "budget": {"steps": 17}}}, ["params.budget.steps"]),
        ({"type": "goal", "params": {"goal": "x", "budget": {"tokens": 0}}}, ["params.budget.tokens"]),
        ({"type": "goal", "params": {"goal": "x", "budget": {"days": 1}}}, ["params.budget.days"]),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
async def test_what_is_not_allowed_is_422_and_named(http: httpx.AsyncClient, body: Any, fields: list[str]):
    document = refused(await http.post(TASKS, json=body), 422, "invalid_input")
    assert fields_of(document) == fields
    assert document["detail"]
    assert (await http.get(TASKS)).json()["items"] == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_a_number_that_json_cannot_keep_is_refused_and_not_changed(http: httpx.AsyncClient, number: str):
    content = f'{{"type": "echo", "params": {{"value": [null, {number}]}}}}'
    answer = await http.post(TASKS, content=content, headers={"content-type": "application/json"})
    assert fields_of(refused(answer, 422, "invalid_input")) == ["params"]


async def test_null_is_a_value_like_any_other(http: httpx.AsyncClient):
    assert (await submit(http, [None, {"null": None}]))["params"] == {"value": [None, {"null": None}]}


@pytest.mark.parametrize("value", [2**53 + 1, -(2**63), 1.5e15, 5e-324, "\u2028\U0001f600\\u0000", {"": []}])
async def test_values_come_back_as_they_went(http: httpx.AsyncClient, value: Any):
    task = await submit(http, value)
    assert task["params"]["value"] == value


async def test_deeply_nested_params_are_kept_or_refused_but_never_break(http: httpx.AsyncClient):
    for depth, expected in ((99, 201), (100, 422), (250, 422), (255, 422), (900, 422), (5000, 400)):
        content = '{"type": "echo", "params": {"value": ' + "[" * depth + "]" * depth + "}}"
        answer = await http.post(TASKS, content=content, headers={"content-type": "application/json"})
        assert answer.status_code == expected, (depth, answer.text)
    assert (await http.get(TASKS)).status_code == 200


@pytest.mark.parametrize("content", ["{", "", "\xff", '{"type": "echo",}'])
async def test_malformed_json_is_400(http: httpx.AsyncClient, content: str):
    answer = await http.post(TASKS, content=content, headers={"content-type": "application/json"})
    refused(answer, *((422, "invalid_input") if not content else (400, "malformed_request")))


async def test_params_over_the_limit_are_413_and_named(http: httpx.AsyncClient):
    answer = await http.post(TASKS, json={"type": "echo", "params": {"value": "x" * 256 * 1024}})
    document = refused(answer, 413, "too_large")
    assert fields_of(document) == ["params"]
    assert document["limit"] == 256 * 1024
    await submit(http, "x" * (256 * 1024 - len('{"value":""}')))


def echoes(*values: Any, **fields: Any) -> dict[str, Any]:
    return {"tasks": [{"type": "echo", "params": {"value": value}, **fields} for value in values]}


async def test_a_batch_is_201_with_its_ids_in_order(http: httpx.AsyncClient):
    answer = await http.post(f"{TASKS}/batch", json=echoes(*range(50)))
    assert answer.status_code == 201
    ids = answer.json()["ids"]
    values = [(await http.get(f"{TASKS}/{task_id}")).json()["params"]["value"] for task_id in ids]
    assert values == list(range(50))


async def test_one_wrong_task_refuses_the_whole_batch_and_is_named(http: httpx.AsyncClient):
    body = echoes(1, 2, 3)
    body["tasks"][1] = {"type": "echo", "params": {}}
    body["tasks"][2] = {"type": "nope", "priority": 1000}
    document = refused(await http.post(f"{TASKS}/batch", json=body), 422, "invalid_input")
    assert fields_of(document) == ["tasks.1.params.value", "tasks.2.priority"]
    assert (await http.get(TASKS)).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "tasks"), ({"tasks": []}, "tasks"), ({"tasks": [5]}, "tasks.0"), ({"tasks": [{}], "x": 1}, "x")],
)
async def test_a_batch_of_another_shape_is_422(http: httpx.AsyncClient, body: Any, field: str):
    assert field in fields_of(refused(await http.post(f"{TASKS}/batch", json=body), 422, "invalid_input"))


async def test_a_value_that_postgresql_cannot_keep_names_its_task(http: httpx.AsyncClient):
    document = refused(await http.post(f"{TASKS}/batch", json=echoes(1, "a\0b", 2)), 422, "invalid_input")
    assert fields_of(document) == ["tasks.1.params"]
    assert (await http.get(TASKS)).json()["items"] == []


async def test_a_batch_in_which_keys_repeat_answers_with_the_first_tasks(http: httpx.AsyncClient):
    before = await submit(http, 1, idempotency_key="a")
    body = echoes(1, 2, 2, 1)
    for task, key in zip(body["tasks"], ["a", "b", "b", "a"], strict=True):
        task["idempotency_key"] = key
    answer = await http.post(f"{TASKS}/batch", json=body)
    assert answer.status_code == 201
    ids = answer.json()["ids"]
    assert ids == [before["id"], ids[1], ids[1], before["id"]]
    assert len((await http.get(TASKS)).json()["items"]) == 2


async def test_a_repeated_key_with_other_params_refuses_the_whole_batch(http: httpx.AsyncClient):
    body = echoes(1, 2, idempotency_key="same")
    refused(await http.post(f"{TASKS}/batch", json=body), 409, "conflict")
    assert (await http.get(TASKS)).json()["items"] == []


async def test_too_many_tasks_are_413(app: FastAPI, http: httpx.AsyncClient):
    document = refused(await http.post(f"{TASKS}/batch", json=echoes(*range(10_001))), 413, "too_large")
    assert (fields_of(document), document["limit"]) == (["tasks"], 10_000)


async def test_too_large_params_in_a_batch_name_their_task(http: httpx.AsyncClient):
    document = refused(await http.post(f"{TASKS}/batch", json=echoes(1, "x" * 256 * 1024)), 413, "too_large")
    assert fields_of(document) == ["tasks.1.params"]


async def test_a_batch_over_the_byte_limit_is_413(http: httpx.AsyncClient):
    answer = await http.post(f"{TASKS}/batch", json=echoes(*["x" * 200_000] * 90))
    assert refused(answer, 413, "too_large")["limit"] == 16 * 1024 * 1024


@pytest.mark.parametrize("path", ["", "/events", "/plan", "/cancel", "/retry", "/approve", "/reject"])
async def test_an_unknown_id_is_404_and_a_malformed_one_422(http: httpx.AsyncClient, path: str):
    method = "GET" if path in ("", "/events", "/plan") else "POST"
    unknown = uuid4()
    document = refused(await http.request(method, f"{TASKS}/{unknown}{path}"), 404, "not_found")
    assert str(unknown) in document["detail"]
    document = refused(await http.request(method, f"{TASKS}/not-an-id{path}"), 422, "invalid_input")
    assert fields_of(document) == ["task_id"]


async def test_a_list_is_paged_newest_first_without_gap_or_repeat(http: httpx.AsyncClient):
    ids = (await http.post(f"{TASKS}/batch", json=echoes(*range(7)))).json()["ids"]
    seen, cursor = [], None
    for expected in (3, 3, 1):
        answer = await http.get(TASKS, params={"limit": 3} | ({"cursor": cursor} if cursor else {}))
        page = answer.json()
        assert page.keys() == {"items", "next_cursor"}
        assert len(page["items"]) == expected
        seen += [task["id"] for task in page["items"]]
        cursor = page["next_cursor"]
        await submit(http, "comes in between")
    assert cursor is None
    assert seen == sorted(ids, reverse=True)


async def test_a_list_is_filtered_by_every_filter(http: httpx.AsyncClient, dispatcher: Dispatcher):
    done = await submit(http, 1, domain="a", priority=9)
    failed = await submit(http, 2, priority=8)
    running = await submit(http, 3, priority=7)
    ended = await submit(http, 4)
    queued = await submit(http, 5, queue="graph")
    goal = (await http.post(TASKS, json={"type": "goal", "params": {"goal": "x"}, "queue": "graph"})).json()
    await dispatcher.complete(await dispatcher.lease())
    await dispatcher.fail(await dispatcher.lease())
    await dispatcher.lease()
    await http.post(f"{TASKS}/{ended['id']}/cancel")

    async def found(**filters: str) -> set[str]:
        return {task["id"] for task in (await http.get(TASKS, params=filters)).json()["items"]}

    assert await found(status="completed") == {done["id"]}
    assert await found(status="failed") == {failed["id"]}
    assert await found(status="running") == {running["id"]}
    assert await found(status="cancelled") == {ended["id"]}
    assert await found(status="queued") == {queued["id"], goal["id"]}
    assert await found(status="waiting") == await found(status="approval") == set()
    assert await found(type="goal") == {goal["id"]}
    assert await found(queue="graph", type="echo") == {queued["id"]}
    assert await found(domain="a") == {done["id"]}
    assert await found(parent_id=done["id"]) == set()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cursor", "x"),
        ("status", "done"),
        ("status", ""),
        ("parent_id", "x"),
        ("limit", "0"),
        ("limit", "501"),
        ("sort", "up"),
        ("type", "nul\0"),
        ("queue", "nul\0"),
        ("domain", "nul\0"),
    ],
)
async def test_a_bad_filter_is_422_and_named(http: httpx.AsyncClient, name: str, value: str):
    document = refused(await http.get(TASKS, params={name: value}), 422, "invalid_input")
    assert fields_of(document) == [name]


async def test_the_steps_of_a_plan_are_tasks_in_order(http: httpx.AsyncClient, dispatcher: Dispatcher):
    goal = (await http.post(TASKS, json={"type": "goal", "params": {"goal": "x"}})).json()
    assert (await http.get(f"{TASKS}/{goal['id']}/plan")).json() == {"id": goal["id"], "steps": []}
    ids = await dispatcher.plan(await dispatcher.lease())
    steps = (await http.get(f"{TASKS}/{goal['id']}/plan")).json()["steps"]
    assert [(step["id"], step["step"], step["status"]) for step in steps] == [
        (str(ids[0]), "one", "queued"),
        (str(ids[1]), "two", "waiting"),
    ]
    assert {step["parent_id"] for step in steps} == {goal["id"]}
    assert await status_of(http, goal["id"]) == "waiting"
    for value in (1, 2):
        await dispatcher.complete(await dispatcher.lease(), {"value": value})
    done = (await http.get(f"{TASKS}/{goal['id']}")).json()
    assert (done["status"], done["result"]) == ("completed", {"value": 2})


async def test_cancel_is_202_once_and_then_409(http: httpx.AsyncClient):
    task = await submit(http)
    answer = await http.post(f"{TASKS}/{task['id']}/cancel")
    assert answer.status_code == 202
    assert answer.json()["status"] == "cancelled"
    document = refused(await http.post(f"{TASKS}/{task['id']}/cancel"), 409, "conflict")
    assert document["task_status"] == "cancelled"


async def test_cancel_wins_over_a_late_completion(http: httpx.AsyncClient, dispatcher: Dispatcher):
    task = await submit(http)
    lease = await dispatcher.lease()
    assert (await http.post(f"{TASKS}/{task['id']}/cancel")).json()["status"] == "cancelled"
    assert not await dispatcher.complete(lease, {"value": 1})
    assert (await http.get(f"{TASKS}/{task['id']}")).json()["result"] is None


async def test_a_completed_task_cannot_be_cancelled_or_retried(http: httpx.AsyncClient, dispatcher: Dispatcher):
    task = await submit(http)
    await dispatcher.complete(await dispatcher.lease(), {"value": 1})
    for action in ("cancel", "retry", "approve", "reject"):
        refused(await http.post(f"{TASKS}/{task['id']}/{action}"), 409, "conflict")
    assert await status_of(http, task["id"]) == "completed"


async def test_a_failed_task_is_retried_with_all_its_attempts(http: httpx.AsyncClient, dispatcher: Dispatcher):
    task = await submit(http)
    await dispatcher.fail(await dispatcher.lease())
    answer = await http.post(f"{TASKS}/{task['id']}/retry")
    assert answer.status_code == 202
    again = answer.json()
    assert (again["status"], again["attempts"], again["error"], again["finished_at"]) == ("queued", 0, None, None)
    await dispatcher.complete(await dispatcher.lease(), {"value": 1})
    assert await status_of(http, task["id"]) == "completed"


async def test_a_held_task_is_released_by_approve(http: httpx.AsyncClient, dispatcher: Dispatcher):
    task = await submit(http)
    await dispatcher.hold(await dispatcher.lease(), rule="costly")
    held = (await http.get(f"{TASKS}/{task['id']}")).json()
    assert (held["status"], held["decision"]["rule"]) == ("approval", "costly")
    answer = await http.post(f"{TASKS}/{task['id']}/approve")
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert (await dispatcher.lease()).approved


@pytest.mark.parametrize(("body", "message"), [({"reason": "too dear"}, "too dear"), (None, "rejected by a person")])
async def test_a_held_task_is_ended_by_reject(http: httpx.AsyncClient, dispatcher: Dispatcher, body: Any, message: str):
    task = await submit(http)
    await dispatcher.hold(await dispatcher.lease())
    answer = await http.post(f"{TASKS}/{task['id']}/reject", json=body)
    assert answer.status_code == 202
    assert (answer.json()["status"], answer.json()["error"]) == (
        "failed",
        {"code": "approval_rejected", "message": message},
    )


async def test_a_reason_that_cannot_be_kept_is_422(http: httpx.AsyncClient, dispatcher: Dispatcher):
    task = await submit(http)
    await dispatcher.hold(await dispatcher.lease())
    answer = await http.post(f"{TASKS}/{task['id']}/reject", json={"reason": "a\0b"})
    assert fields_of(refused(answer, 422, "invalid_input")) == ["reason"]


async def test_the_queue_tells_depths_totals_and_dispatchers(http: httpx.AsyncClient, dispatcher: Dispatcher):
    await http.post(f"{TASKS}/batch", json=echoes(1, 2, 3))
    await submit(http, queue="graph")
    await dispatcher.lease()
    state = (await http.get("/api/v1/queue")).json()
    assert {name: queue["ready"] for name, queue in state["queues"].items()} == {"default": 2, "graph": 1}
    assert 0 <= state["queues"]["default"]["oldest_ready_s"] < 60
    assert (state["running"], state["waiting"], state["approval"]) == (1, 0, 0)
    assert [d["name"] for d in state["dispatchers"]] == ["player"]


async def test_skills_are_listed_with_their_schemas(http: httpx.AsyncClient):
    items = {item["name"]: item for item in (await http.get("/api/v1/skills")).json()["items"]}
    echo = items["echo"]
    assert (echo["organ"], echo["timeout_s"], echo["description"]) == ("utility", 5, "Return the value.")
    assert list(echo["params_schema"]["properties"]) == ["value"]
    assert list(echo["result_schema"]["properties"]) == ["value"]
    assert list(items) == sorted(items)


async def test_a_deadline_and_a_period_are_kept_with_the_task(http: httpx.AsyncClient, app):
    late = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    task = await submit(http, 1, deadline=late, idempotency_key="k", idempotency_period_s=0.001)
    async with app.state.gateway.database.connection() as connection:
        assert await reaping.close_late(connection) == 1
    ended = (await http.get(f"{TASKS}/{task['id']}")).json()
    assert (ended["status"], ended["error"]["code"]) == ("failed", "deadline_exceeded")
    assert (await submit(http, 5, idempotency_key="k"))["id"] != task["id"]
