"""The Coordinator over HTTP: policy and valves."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from seedcore.coordinator.service import CoordinatorService
from seedcore.settings import Settings
from seedcore.tasks import commands
from seedcore.web.access.key_repository import NewKey, create_key

from .support import FakeOrganism, question

pytestmark = pytest.mark.integration

HOLD = "rules: [{name: loud, when: task.priority > 5, route: hold, reason: too loud}]"


@pytest.fixture
async def service(pg_settings: Settings, tmp_path: Path) -> AsyncIterator[CoordinatorService]:
    (tmp_path / "policy.yaml").write_text(HOLD)
    made = CoordinatorService({}, pg_settings.model_copy(update={"policy_path": tmp_path / "policy.yaml"}))
    await made.start()
    await made._organism.aclose()
    made._organism = made._fleet.organism = FakeOrganism()
    yield made
    await made.stop()


@pytest.fixture
async def http(service: CoordinatorService) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(service.build_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://coordinator") as client:
        yield client


async def test_a_policy_is_reloaded_and_a_wrong_one_changes_nothing(http: httpx.AsyncClient, tmp_path: Path):
    asked = {"tasks": [{"type": "echo", "priority": 9}, {"type": "echo"}]}
    routes = [d["route"] for d in (await http.post("/decide", json=asked)).json()["decisions"]]
    assert routes == ["hold", "fast"]
    before = (await http.get("/policy")).json()
    (tmp_path / "policy.yaml").write_text("rules: [{name: x, when: task.nope, route: hold}]")
    refused = await http.post("/policy/reload")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
    assert (await http.get("/policy")).json() == before
    (tmp_path / "policy.yaml").write_text("rules: []")
    after = (await http.post("/policy/reload")).json()
    assert (after["changed"], after["rules"], after["reloads"]) == (True, [], 1)
    assert (await http.post("/decide", json=asked)).json()["decisions"][0]["route"] == "fast"


@pytest.mark.parametrize("tenant", [None, "acme"], ids=["for a tenant", "by a tenant"])
async def test_what_is_run_and_waited_for_is_the_callers_and_shows_what_the_caller_may_see(
    http: httpx.AsyncClient, service: CoordinatorService, tenant: str | None
):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with service._database.connection() as connection:
        _, secret = await create_key(connection, NewKey("blind", tenant, ["submit"], payloads=False), "test")
        headers = {"X-API-Key": secret, "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        headers |= {} if tenant else {"X-SeedCore-Tenant": "acme"}
        body = {"type": "echo", "params": {"value": "secret"}}
        asked = asyncio.create_task(http.post("/route-and-execute", json=body, headers=headers))
        async with asyncio.timeout(20):
            while (task := await connection.fetchrow("select id, submitted_by from seedcore.tasks")) is None:
                await asyncio.sleep(0.01)
            await commands.cancel(connection, task["id"])
            answer = await asked
    assert task["submitted_by"] == "blind"
    shown = answer.json()
    assert (answer.status_code, shown["status"], shown["id"]) == (200, "cancelled", str(task["id"]))
    assert (shown["tenant"], shown["trace_id"]) == ("acme", trace)
    assert (shown["params"], shown["payloads_hidden"]) == (None, True)


async def test_a_policy_that_is_wrong_at_the_start_decides_nothing_until_it_is_fixed(
    pg_settings: Settings, tmp_path: Path
):
    path = tmp_path / "policy.yaml"
    path.write_text("rules: 3")
    made = CoordinatorService({}, pg_settings.model_copy(update={"policy_path": path}))
    await made.start()
    await made._organism.aclose()
    made._organism = made._fleet.organism = FakeOrganism()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(made.build_app()), base_url="http://c") as http:
        asked = await http.post("/decide", json={"tasks": [{"type": "echo"}]})
        assert (asked.status_code, "There is no policy" in asked.json()["detail"]) == (503, True)
        assert not (await made.health())["policy"]["ready"]
        path.write_text(HOLD)
        assert (await http.post("/policy/reload")).status_code == 200
        assert (await http.post("/decide", json={"tasks": [{"type": "echo"}]})).status_code == 200
    await made.stop()


async def test_a_stream_learns_alarms_and_its_evidence_is_in_decisions(service, http: httpx.AsyncClient):
    assert (await http.get("/valve")).json()["streams"] == []
    assert (await http.post("/valve/echo/calibrate")).status_code == 404
    await service._policy.maintenance.run_round()
    assert (await http.post("/decide-columns", json=question(600, 1))).json()["verdicts"][0]["evidence"] is None
    said = (await http.post("/valve/echo/calibrate", json={"arl0": 500})).json()
    assert said["work"]["arl0_achieved"] > 0
    calm = (await http.post("/decide-columns", json=question(20, 2))).json()["verdicts"][0]["evidence"]
    assert 0.0 <= calm < 0.5
    shifted = (await http.post("/decide-columns", json=question(60, 3, shift=1.5))).json()["verdicts"][0]["evidence"]
    assert shifted >= 0.5
    (stream,) = (await http.get("/valve")).json()["streams"]
    assert (stream["stream"], stream["state"], stream["work"]["alarms"] > 0) == ("echo", "open", True)
    assert (await service.health())["valves"] == {"streams": 1, "open": 1, "failing": None}


@pytest.mark.parametrize("body", [{"arl0": 1}, {"nope": 1}])
async def test_a_calibration_that_cannot_be_is_refused(http: httpx.AsyncClient, body: dict[str, Any]):
    assert (await http.post("/valve/echo/calibrate", json=body)).status_code == 422


async def test_tasks_that_no_plan_was_available_for_are_counted(service: CoordinatorService, http: httpx.AsyncClient):
    await service._policy.maintenance.run_round()
    for count in (2, 0, 1):
        assert (await http.post("/decide-columns", json=question(1, 1) | {"unplanned": count})).status_code == 200
    assert (await service.health())["plans"] == {"unplanned": 3}
    assert (await http.get("/metrics")).json()["unplanned"] == 3
