"""The action `retrain`: why it is chosen, why it is not, and that interval and budget hold."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from seedcore.coordinator.service import CoordinatorService
from seedcore.coordinator.triage.retrainings import Retrained
from tests.coordinator.triage.test_run_triage import coordinator, spiky

pytestmark = pytest.mark.integration

RETRAIN = 'retrain: {models: ["digits*"], every_s: 600, per_day: 2, rows: 900, fresh_rows: 250}'
POLICY = f"{{actions: {{{RETRAIN}}}}}"
SINCE = datetime(2026, 3, 1, 12, tzinfo=UTC).isoformat()


def alarm(**changes: Any) -> dict[str, Any]:
    known = {"name": "digits", "monitor": "inputs", "evidence": 0.6, "since": SINCE, "rows": 300, "observed": 900}
    return {"model": known | changes}


async def ask(http: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await http.post("/anomaly-triage", json=alarm(**changes))
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def unmet(body: dict[str, Any]) -> list[str]:
    (option,) = [one for one in body["decision"]["options"] if one["name"] == "retrain"]
    found: list[str] = option["unmet"]
    return found


async def tasks(http: httpx.AsyncClient) -> list[Any]:
    async with http.service._database.connection() as connection:  # type: ignore[attr-defined]
        found: list[Any] = await connection.fetch("select id, type, params, idempotency_key from seedcore.tasks")
    return found


async def age(http: httpx.AsyncClient, seconds: float) -> None:
    """Let what was retrained have been retrained earlier."""
    async with http.service._database.connection() as connection:  # type: ignore[attr-defined]
        await connection.execute("update seedcore.retrainings set at = at - make_interval(secs => $1)", seconds)


async def test_an_open_monitor_of_a_model_is_retrained_and_the_record_says_why(pg_settings, tmp_path):
    async with coordinator(pg_settings, POLICY, tmp_path) as http:
        body = await ask(http)
        assert (body["action"], body["status"]) == ("retrain", "done")
        assert body["reasons"]["hypotheses"][0]["name"] == "model_outdated:digits"
        assert body["decision"]["facts"]["model.fresh_rows"] == 300
        assert body["findings"] == {}
        (task,) = await tasks(http)
        assert (str(task["id"]), task["type"]) == (body["result"]["task_id"], "ml.retrain")
        assert task["idempotency_key"] == f"triage-{body['id']}"
        assert '"rows": 900' in task["params"]
        assert "2026-03-01T12:00:00" in task["params"]
        assert (await http.get(f"/triage/{body['id']}")).json()["request"]["model"]["monitor"] == "inputs"


@pytest.mark.parametrize(
    ("policy", "changes", "why"),
    [
        (POLICY, {"name": "iris"}, "model.allowed is False"),
        (POLICY, {"rows": 249}, "model.fresh_rows is 249; it must be >= 250"),
    ],
)
async def test_what_the_policy_does_not_allow_is_not_done_and_the_record_says_why(
    pg_settings, tmp_path, policy, changes, why
):
    async with coordinator(pg_settings, policy, tmp_path) as http:
        body = await ask(http, **changes)
        assert (body["action"], body["status"]) == ("none", "decided")
        assert any(reason.startswith(why) for reason in unmet(body)), unmet(body)
        assert await tasks(http) == []


async def test_without_the_action_in_the_policy_nothing_is_retrained(pg_settings, tmp_path):
    async with coordinator(pg_settings, "{default: none}", tmp_path) as http:
        body = await ask(http)
        assert (body["action"], [one["name"] for one in body["decision"]["options"]]) == ("none", ["none", "notify"])
        assert body["decision"]["facts"]["model.allowed"] is False


async def test_a_monitor_that_is_not_open_is_nothing_that_stands_out(pg_settings, tmp_path):
    async with coordinator(pg_settings, POLICY, tmp_path) as http:
        body = await ask(http, evidence=0.49)
        assert (body["action"], body["decision"]["method"]) == ("none", "default")
        assert "model_outdated:digits" in body["reasons"]["absent"]


async def test_the_interval_of_a_model_and_the_budget_of_all_hold(pg_settings, tmp_path):
    async with coordinator(pg_settings, POLICY, tmp_path) as http:
        assert (await ask(http))["action"] == "retrain"
        again = await ask(http)
        assert again["action"] == "none"
        assert 590 < again["decision"]["facts"]["model.wait_s"] <= 600
        assert (await ask(http, name="digits-2"))["action"] == "retrain"
        spent = await ask(http, name="digits-3")
        assert unmet(spent) == ["model.budget is 0; it must be >= 1"]
        await age(http, 601)
        assert (await ask(http))["decision"]["facts"]["model.wait_s"] == 0
        await age(http, 86_400)
        assert (await ask(http))["action"] == "retrain"


async def test_of_triages_at_once_on_two_replicas_one_retrains(pg_settings, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    async with (
        coordinator(pg_settings, POLICY, tmp_path / "a") as one,
        coordinator(pg_settings, POLICY, tmp_path / "b") as other,
    ):
        asked = [http.post("/anomaly-triage", json=alarm()) for http in (one, other, one, other)]
        answers = await asyncio.gather(*asked)
        assert len(await tasks(one)) == 1
        began = [a for a in answers if a.status_code == 200 and a.json()["action"] == "retrain"]
        assert len(began) == 1
        for answer in answers:
            assert answer.status_code == 200 or "was retrained" in answer.json()["detail"]


async def test_the_same_key_retrains_once(pg_settings, tmp_path):
    async with coordinator(pg_settings, POLICY, tmp_path) as http:
        asked = alarm() | {"idempotency_key": "model-digits-1-1"}
        first, second = [(await http.post("/anomaly-triage", json=asked)).json() for _ in range(2)]
        assert first == second
        assert len(await tasks(http)) == 1


async def test_a_person_may_be_preferred_by_the_policys_losses(pg_settings, tmp_path):
    policy = f"{{actions: {{{RETRAIN[:-1]}, cost: 9}}, hold: {{cost: 0, losses: {{}}}}}}}}"
    async with coordinator(pg_settings, policy, tmp_path) as http:
        body = (await http.post("/anomaly-triage", json=alarm() | {"stream": "echo", "data": spiky()})).json()
        assert body["action"] == "hold"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "../etc"}, "model.name"),
        ({"monitor": "weather"}, "model.monitor"),
        ({"evidence": 2}, "model.evidence"),
        ({"since": "yesterday"}, "model.since"),
        ({"since": "2026-03-01T12:00:00"}, "model.since"),
        ({"rows": -1}, "model.rows"),
        ({"arl0": 0}, "model.arl0"),
        ({"more": 1}, "model.more"),
    ],
)
@pytest.mark.usefixtures("no_audit_log")
async def test_bad_input_names_the_field(settings, changes, field):
    app = CoordinatorService({}, settings).build_app()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://coordinator") as http:
        answer = await http.post("/anomaly-triage", json=alarm(**changes))
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_model_that_was_never_retrained_need_not_wait():
    assert Retrained(None, 0).wait_s(600) == 0
    assert Retrained(100.0, 1).wait_s(600) == 500
