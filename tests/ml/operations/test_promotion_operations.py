"""The gate over HTTP: outcomes of tasks, promotions and rollbacks, and how odd input is answered."""

import json
import sys
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from seedcore.ml.service import MLService
from seedcore.schemas.ml.promotions import OutcomesRequest
from seedcore.settings import Settings
from seedcore.web.access.caller import Caller
from tests.ml.gate.support import store_version
from tests.ml.support import started_service


@pytest.fixture
async def service(pg_settings: Settings) -> AsyncIterator[MLService]:
    async with started_service(pg_settings) as service:
        for version in (1, 2):
            store_version(service.parts.store, version)
        store_version(service.parts.store, 1, name="texts", label_kind="string", labels=["a", "b"])
        store_version(service.parts.store, 1, name="price", task="regression", label_kind="number", labels=[])
        yield service


async def add_task(
    service: MLService, state: str, name: object = "m", type_: str = "ml.predict", tenant: str = "default"
) -> str:
    task = uuid4()
    params = json.dumps({"name": name, "features": {}})
    async with service.parts.database.connection() as connection:
        await connection.execute(
            "insert into seedcore.tasks (id, type, params, max_attempts, tenant) values ($1, $2, $3, 3, $4)",
            task,
            type_,
            params,
            tenant,
        )
        if state == "running":
            await connection.execute(
                "insert into seedcore.leases (id, token, owner, attempts) values ($1, 1, $2, 1)", task, uuid4()
            )
        elif state == "completed":
            await connection.execute(
                "insert into seedcore.finished (id, tick, status, attempts) values ($1, 1, 'completed', 1)", task
            )
    return str(task)


async def post_raw(http: httpx.AsyncClient, path: str, body: object) -> httpx.Response:
    """As `json.dumps` has it: with lone surrogates as escapes."""
    return await http.post(path, content=json.dumps(body), headers={"content-type": "application/json"})


async def post(http: httpx.AsyncClient, path: str, body: object, status: int = 200) -> Any:
    answer = await http.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def labels(service: MLService) -> dict[str, object]:
    async with service.parts.database.connection() as connection:
        rows = await connection.fetch("select task_id, label::text as label from seedcore.outcomes")
    return {str(row["task_id"]): json.loads(row["label"]) for row in rows}


async def test_outcomes_of_known_tasks_are_stored_and_the_first_label_stays(
    service: MLService, http: httpx.AsyncClient
):
    ended, running = await add_task(service, "completed"), await add_task(service, "running")
    queued = await add_task(service, "queued")
    other = await add_task(service, "completed", type_="echo")
    nameless = await add_task(service, "completed", name=None)
    foreign = str(uuid4())
    given = [(ended, 1), (running, 0), (queued, 1), (other, 1), (nameless, 1), (foreign, 1), (ended, 0), (foreign, 1)]
    body = {"outcomes": [{"task_id": task, "label": label} for task, label in given]}
    assert await post(http, "/outcomes", body) == {
        "accepted": 2,
        "unknown": [queued, other, nameless, foreign],
        "repeated": 1,
    }
    assert await post(http, "/outcomes", {"outcomes": [{"task_id": ended, "label": 0}]}) == {
        "accepted": 0,
        "unknown": [],
        "repeated": 1,
    }
    assert await labels(service) == {ended: 1, running: 0}


async def test_a_tenant_sees_its_own_tasks_alone(service: MLService):
    mine, theirs = await add_task(service, "completed", tenant="acme"), await add_task(service, "completed")
    request = OutcomesRequest.model_validate({"outcomes": [{"task_id": t, "label": 1} for t in (mine, theirs)]})
    acme = Caller("key", "key", tenant="acme")
    answer = await service.promotions.outcomes(request, caller=acme)
    assert (answer.accepted, answer.unknown) == (1, [UUID(theirs)])
    answer = await service.promotions.outcomes(request)
    assert (answer.accepted, answer.repeated, answer.unknown) == (1, 1, [])


ODD_LABELS: list[tuple[str, object]] = [
    ("m", "1"),
    ("m", True),
    ("m", 1.5),
    ("m", 1e308),
    ("texts", 1),
    ("texts", "a\0b"),
    ("texts", "\ud800"),
    ("texts", "a" * 2_000),
    ("price", "12"),
    ("price", True),
]


async def test_a_label_of_another_kind_is_refused_by_name_and_nothing_is_stored(
    service: MLService, http: httpx.AsyncClient
):
    tasks = {name: await add_task(service, "completed", name=name) for name in ("m", "texts", "price")}
    good = await add_task(service, "completed")
    for name, label in ODD_LABELS:
        answer = await post_raw(
            http, "/outcomes", {"outcomes": [{"task_id": good, "label": 1}, {"task_id": tasks[name], "label": label}]}
        )
        assert answer.status_code == 422, answer.text
        assert {error["field"] for error in answer.json()["errors"]} == {"outcomes.1.label"}
    assert await labels(service) == {}


ODD_OUTCOMES: list[tuple[object, str]] = [
    ({}, "outcomes"),
    ({"outcomes": []}, "outcomes"),
    ({"outcomes": [{"task_id": "x", "label": 1}]}, "outcomes.0.task_id"),
    ({"outcomes": [{"task_id": str(uuid4())}]}, "outcomes.0.label"),
    ({"outcomes": [{"task_id": str(uuid4()), "label": None}]}, "outcomes.0.label"),
    ({"outcomes": [{"task_id": str(uuid4()), "label": {"a": 1}}]}, "outcomes.0.label"),
    ({"outcomes": [{"task_id": str(uuid4()), "label": 1, "loss": 0}]}, "outcomes.0.loss"),
    ({"outcomes": [{"task_id": str(uuid4()), "label": 1}] * 10_001}, "outcomes"),
]
ODD_CHANGES: list[tuple[dict[str, object], str]] = [
    ({"gain": 0.2}, "gain"),
    ({"evidence": {"accuracy": 1.0}}, "evidence"),
    ({"name": "../x"}, "name"),
    ({"name": None}, "name"),
    ({"reason": "a\0"}, "reason"),
    ({"reason": "\ud800"}, "reason"),
    ({"reason": "x" * 3_000}, "reason"),
]
ODD_QUERIES = ["cursor=x", "limit=0", "limit=501", "name=../x", "name=%00", "other=1", "cursor=&name="]


async def test_odd_input_is_refused_by_field_and_figures_are_never_taken(http: httpx.AsyncClient):
    for body, field in ODD_OUTCOMES:
        answer = await post_raw(http, "/outcomes", body)
        assert answer.status_code == 422, answer.text
        assert any(error["field"].startswith(field) for error in answer.json()["errors"])
    for path, rest in (("/xgboost/promote", {"version": 1}), ("/xgboost/rollback", {})):
        for change, field in ODD_CHANGES:
            answer = await post_raw(http, path, {"name": "m", "reason": "r"} | rest | change)
            assert answer.status_code == 422, answer.text
            assert answer.json()["errors"][0]["field"] == field
    for query in ODD_QUERIES:
        assert (await http.get(f"/xgboost/promotions?{query}")).status_code == 422


async def test_the_life_of_a_promotion_over_http(http: httpx.AsyncClient):
    first = await post(http, "/xgboost/promote", {"name": "m", "version": 1})
    assert (first["status"], first["evidence"]) == ("promoted", {"decided_by": "first"})
    opened = await post(http, "/xgboost/promote", {"name": "m", "version": 2, "reason": "newer"})
    assert opened["status"] == "shadowing"
    await post(http, "/xgboost/promote", {"name": "m", "version": 7}, 404)
    await post(http, "/xgboost/promote", {"name": "gone", "version": 1}, 404)
    await post(http, "/xgboost/promote", {"name": "m", "version": 0}, 422)
    await post(http, "/xgboost/promote", {"name": "m", "version": 10**12}, 404)
    page = (await http.get("/xgboost/promotions", params={"limit": 1})).json()
    assert [item["version"] for item in page["items"]] == [2]
    rest = (await http.get("/xgboost/promotions", params={"cursor": page["next_cursor"], "name": "m"})).json()
    assert ([item["version"] for item in rest["items"]], rest["next_cursor"]) == ([1], None)
    shown = (await http.get(f"/xgboost/promotions/{opened['id']}")).json()
    assert (shown["status"], shown["champion"], shown["reason"]) == ("shadowing", 1, "newer")
    forced = await post(http, "/xgboost/promote", {"name": "m", "version": 2, "force": True})
    assert forced["status"] == "promoted"
    assert await post(http, "/xgboost/rollback", {"name": "m", "reason": "worse"}) == {"name": "m", "version": 1}
    conflict = await post(http, "/xgboost/rollback", {"name": "m", "reason": "again"}, 409)
    assert "before version 1" in conflict["detail"]
    await post(http, "/xgboost/rollback", {"name": "never", "reason": "again"}, 409)


async def test_a_promotion_is_drawn(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch):
    await post(http, "/xgboost/promote", {"name": "m", "version": 1})
    opened = await post(http, "/xgboost/promote", {"name": "m", "version": 2})
    answer = await http.get(f"/xgboost/promotions/{opened['id']}", params={"format": "svg"})
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert b"</svg>" in answer.content
    assert (await http.get(f"/xgboost/promotions/{opened['id']}?format=png")).status_code == 422
    assert (await http.get("/xgboost/promotions/x")).status_code == 422
    assert (await http.get(f"/xgboost/promotions/{uuid4()}")).status_code == 404
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    without = await http.get(f"/xgboost/promotions/{opened['id']}", params={"format": "svg"})
    assert (without.status_code, without.json()["code"]) == (503, "not_configured")


async def test_health_shows_the_gate(http: httpx.AsyncClient):
    gate = (await http.get("/health")).json()["gate"]
    assert gate == {"lag_s": 0.0, "open_promotions": 0, "unmatched": 0}
