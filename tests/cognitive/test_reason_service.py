"""Reasoning and deciding over HTTP, from a real task history."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from seedcore.cognitive.service import CognitiveService
from seedcore.settings import Settings, load_settings
from seedcore.stores.postgres import Database
from seedcore.tasks.model import new_id

pytestmark = pytest.mark.integration


@pytest.fixture
async def http(pg_settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    # Nobody listens there: the Coordinator is away.
    service = CognitiveService({}, pg_settings.model_copy(update={"serve_url": "http://127.0.0.1:9"}), background=False)
    await service.start()
    transport = httpx.ASGITransport(service.build_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
    await service.stop()


async def ended(connection: asyncpg.Connection, count: int, failures: int, agent: str = "a-1", **fields: Any) -> UUID:
    """Tasks of a stream that ended; returns the last one's id."""
    ids = [new_id() for _ in range(count)]
    type_, code, errors = fields.get("type", "echo"), fields.get("code", "boom"), fields.get("errors", [])
    await connection.execute(
        "insert into seedcore.tasks (id, type, params, max_attempts) select i, $2, '{}', 3 from unnest($1::uuid[]) i",
        ids,
        type_,
    )
    decision = json.dumps({"route": "fast", "agent": agent})
    await connection.execute(
        "insert into seedcore.dead (id, tick, attempts, error_code, errors, decision)"
        " select i, 1, 3, $2, $3, $4 from unnest($1::uuid[]) i",
        ids[count - failures :],
        code,
        json.dumps(errors),
        decision,
    )
    await connection.execute(
        "insert into seedcore.finished (id, tick, status, attempts, decision)"
        " select i, 1, 'completed', 1, $2 from unnest($1::uuid[]) i",
        ids[: count - failures],
        decision,
    )
    return ids[-1]


@pytest.fixture
async def connection(pg_settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    database = Database(pg_settings)
    async with database.connection() as made:
        for n in (1, 2):
            await made.execute("insert into seedcore.agents (id, organ, host) values ($1, 'o', 'h')", f"a-{n}")
        yield made
    await database.aclose()


async def test_a_task_that_fails_for_its_own_input_is_told_from_its_own_history(http, connection):
    await ended(connection, 200, 1)
    await ended(connection, 200, 1, "a-2")
    errors = [{"attempt": n, "code": "bad_value", "message": ""} for n in (1, 2, 3)]
    task_id = await ended(connection, 1, 1, code="bad_value", errors=errors)
    answer = await http.post("/reason-about-failure", json={"task_id": str(task_id)})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["method"] == "evidence"
    assert body["subject"]["codes"] == ["bad_value"] * 3
    assert (body["subject"]["agent"], body["subject"]["host"], body["tasks"]) == ("a-1", "h", 400)
    best = body["hypotheses"][0]
    assert (best["name"], best["belief"] > 0.9) == ("input", True)
    # The others' two failed tasks had three attempts each.
    assert best["numbers"]["others"] == {"failures": 6, "ends": 404}
    assert "did not report" in body["absent"]["work_changed"]


async def test_a_stream_whose_failures_sit_on_one_agent_names_it(http, connection):
    await ended(connection, 100, 2)
    await ended(connection, 40, 35, "a-2")
    await ended(connection, 30, 30, "a-2", code="policy_rejected")
    body = (await http.post("/reason-about-failure", json={"stream": "echo", "valve": {"state": "closed"}})).json()
    best = body["hypotheses"][0]
    assert best["name"] == "agent:a-2"
    assert best["numbers"]["inside"] == {"failures": 35, "ends": 40}
    assert body["absent"]["work_changed"].startswith("its valve is closed")


async def test_findings_alone_need_no_history(settings):
    service = CognitiveService({}, settings, background=False)
    await service.start()
    point = {"index": 9, "score": 11.0, "chance": 1e-6, "value": 4.0, "expected": 1.0, "direction": "above"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.build_app()), base_url="http://t") as http:
        finding = {"name": "latency", "points": 50, "anomalies": [point], "method": "tail"}
        body = (await http.post("/reason-about-failure", json={"findings": [finding]})).json()
    assert [h["name"] for h in body["hypotheses"]] == ["incident:latency", "chance"]
    assert body["hypotheses"][0]["numbers"]["chance"] == pytest.approx(2e-6)


async def test_a_task_that_did_not_fail_and_one_that_is_not_there_are_said(http, connection):
    fine = await ended(connection, 1, 0)
    assert (await http.post("/reason-about-failure", json={"task_id": str(fine)})).status_code == 409
    assert (await http.post("/reason-about-failure", json={"task_id": str(new_id())})).status_code == 404


async def test_without_a_database_the_answer_is_unavailable(tmp_path):
    service = CognitiveService(
        {}, load_settings(data_dir=tmp_path, pg_dsn="postgresql://nobody@127.0.0.1:9/none"), background=False
    )
    await service.start()
    service._reader.database.connection = _away
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.build_app()), base_url="http://t") as http:
        answer = await http.post("/reason-about-failure", json={"stream": "echo"})
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


def _away():
    from seedcore.errors import UnavailableError

    raise UnavailableError("PostgreSQL does not answer.")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("reason-about-failure", {}, "(body)"),
        ("reason-about-failure", {"task_id": "x"}, "task_id"),
        ("reason-about-failure", {"stream": "echo", "window_s": 0}, "window_s"),
        ("reason-about-failure", {"stream": "echo", "agent_id": "a"}, "agent_id"),
        ("reason-about-failure", {"findings": [{"name": "x"}]}, "findings.0.points"),
        ("make-decision", {"options": [], "beliefs": {"a": 1}}, "options"),
        ("make-decision", {"options": [{"name": "x"}], "beliefs": {}}, "beliefs"),
        ("make-decision", {"options": [{"name": "x", "cost": 1e99}], "beliefs": {"a": 1}}, "options.0.cost"),
        ("make-decision", {"options": [{"name": "x"}], "beliefs": {"a": 0}}, "beliefs"),
        ("make-decision", {"options": [{"name": "x"}, {"name": "x"}], "beliefs": {"a": 1}}, "(body)"),
    ],
)
async def test_bad_input_names_the_field(settings, path, body, field):
    service = CognitiveService({}, settings, background=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.build_app()), base_url="http://t") as http:
        answer = await http.post(f"/{path}", json=body)
    assert answer.status_code == 422
    assert field in [e["field"] for e in answer.json()["errors"]]


async def test_a_decision_says_what_it_cost_and_what_would_change_it(settings):
    service = CognitiveService({}, settings, background=False)
    asked = {
        "options": [
            {"name": "none", "losses": {"agent": 10}},
            {"name": "hold", "cost": 2},
            {"name": "page", "requires": [{"fact": "webhook", "op": "==", "value": True}]},
        ],
        "beliefs": {"agent:a-2": 0.6, "chance": 0.4},
        "facts": {"webhook": False},
    }
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.build_app()), base_url="http://t") as http:
        body = (await http.post("/make-decision", json=asked)).json()
    assert (body["method"], body["decision"], body["expected_loss"]) == ("expected_loss", "hold", 2.0)
    assert [option["name"] for option in body["options"]] == ["hold", "none", "page"]
    assert {c["option"]: (c["needed"], c["unmet"]) for c in body["would_change"]} == {
        "none": (pytest.approx(0.2), []),
        "page": (None, ["webhook is False; it must be == True"]),
    }
