"""Triage over HTTP: real detector, reasoning and decisions in this process, a real database, a real webhook."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from seedcore.changepoint.features import TASK_COLUMNS
from seedcore.cognitive.service import CognitiveService
from seedcore.coordinator.service import CoordinatorService
from seedcore.coordinator.triage.actions import load_actions
from seedcore.coordinator.triage.webhooks import Webhooks
from seedcore.errors import InvalidInputError, NotConfiguredError, SettingsError, UnavailableError
from seedcore.ml.anomaly import MAX_LENGTH, MIN_LENGTH
from seedcore.ml.service import MLService
from seedcore.schemas.triage import MAX_POINTS, MIN_POINTS, TriageRequest
from seedcore.settings import Settings, load_settings
from seedcore.tasks.model import new_id
from tests.coordinator.support import FakeOrganism, question

pytestmark = pytest.mark.integration

HOLD = "{hold: {cost: 0, losses: {}, hold_s: 600, wait_s: 90}}"


def spiky(seed: int = 0, n: int = 120) -> list[float]:
    values = np.random.default_rng(seed).standard_normal(n)
    values[n // 2] = 40.0
    return values.tolist()


def calm(n: int = 120) -> list[float]:
    return np.sin(np.arange(n)).tolist()


@asynccontextmanager
async def coordinator(
    settings: Settings, policy: str, folder: Path, **changed: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A Coordinator whose ML and Cognitive are services of this process."""
    path = folder / "policy.yaml"
    path.write_text(f"triage: {policy}")
    made = CoordinatorService({}, load_settings(**_set(settings) | {"policy_path": path} | changed))
    await made.start()
    ml, mind = MLService({}, made.settings, background=False), CognitiveService({}, made.settings, background=False)
    await asyncio.gather(ml.start(), mind.start())
    await made._organism.aclose()
    made._organism = made._fleet.organism = FakeOrganism()
    made._ml.call = lambda _method, path, payload: ml.invoke(path, payload)
    made._cognitive.call = lambda _method, path, payload: mind.invoke(path, payload)
    app = made.build_app()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://coordinator") as http:
        http.service = made  # type: ignore[attr-defined]
        yield http
    await mind.stop()
    await made.stop()


def _set(settings: Settings) -> dict[str, Any]:
    return {"data_dir": settings.data_dir, "pg_dsn": settings.pg_dsn}


@asynccontextmanager
async def webhook(*statuses: int) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """A server that answers so, the last for ever; its URL, and what it was told."""
    told: list[dict[str, Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        told.append(json.loads(await reader.readexactly(length)))
        status = statuses[min(len(told), len(statuses)) - 1]
        writer.write(f"HTTP/1.1 {status} X\r\nlocation: /\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", told
    finally:
        server.close()


async def test_an_anomaly_is_found_reasoned_about_decided_and_posted_to_a_webhook(pg_settings, tmp_path):
    async with (
        webhook(200) as (url, told),
        coordinator(pg_settings, "{actions: {notify: {}}}", tmp_path, webhooks=f"ops={url}") as http,
    ):
        answer = await http.post("/anomaly-triage", json={"data": spiky(), "context": {"why": "a test"}})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert (body["status"], body["action"]) == ("done", "notify")
        assert body["result"] == {"webhook": "ops", "status": 200, "tries": 1}
        assert [a["index"] for a in body["findings"]["data"]["anomalies"]] == [60]
        assert body["reasons"]["hypotheses"][0]["name"] == "incident:data"
        assert body["decision"]["would_change"]
        assert body["request"]["context"] == {"why": "a test"}
        salience = body["salience"]
        assert salience["source"] == "formula"
        assert salience["score"] == pytest.approx(0.6 * salience["features"]["valve_evidence"])
        assert body["decision"]["facts"]["salience"] == salience["score"] > 0.3
        assert (len(told), told[0]["id"], told[0]["decision"]["decision"]) == (1, body["id"], "notify")
        assert (await http.get(f"/triage/{body['id']}")).json() == body
        (listed,) = (await http.get("/triage")).json()["items"]
        assert (listed["id"], listed["action"], "findings" in listed) == (body["id"], "notify", False)


async def test_nothing_that_stands_out_is_the_default_and_a_dry_run_never_acts(pg_settings, tmp_path):
    async with (
        webhook(200) as (url, told),
        coordinator(pg_settings, "{actions: {notify: {cost: 0}}}", tmp_path, webhooks=f"ops={url}") as http,
    ):
        quiet = (await http.post("/anomaly-triage", json={"data": calm()})).json()
        assert quiet["salience"]["score"] == quiet["decision"]["facts"]["salience"] == 0.0
        assert (quiet["action"], quiet["status"], quiet["decision"]["method"]) == ("none", "decided", "default")
        dry = (await http.post("/anomaly-triage", json={"data": spiky(), "dry_run": True})).json()
        assert (dry["action"], dry["status"], dry["result"]) == ("notify", "decided", None)
        assert told == []
        first = (await http.get("/triage", params={"limit": 1})).json()
        assert [item["id"] for item in first["items"]] == [dry["id"]]
        second = (await http.get("/triage", params={"limit": 1, "cursor": first["next_cursor"]})).json()
        assert ([item["id"] for item in second["items"]], second["next_cursor"]) == ([quiet["id"]], None)


async def test_a_key_used_again_answers_with_the_first_record_and_for_another_request_is_refused(pg_settings, tmp_path):
    async with (
        webhook(200) as (url, told),
        coordinator(pg_settings, "{actions: {notify: {}}}", tmp_path, webhooks=f"ops={url}") as http,
    ):
        asked = {"data": spiky(), "idempotency_key": "k"}
        together = await asyncio.gather(*(http.post("/anomaly-triage", json=asked) for _ in range(3)))
        again = await http.post("/anomaly-triage", json=asked)
        assert len({answer.json()["id"] for answer in (*together, again)}) == 1
        assert (again.json()["status"], len(told)) == ("done", 1)
        other = await http.post("/anomaly-triage", json=asked | {"false_alarm": 0.01})
        assert (other.status_code, other.json()["code"]) == (409, "conflict")


async def test_a_held_stream_waits_for_people_until_it_is_released(pg_settings, tmp_path):
    async with coordinator(pg_settings, f"{{actions: {HOLD}}}", tmp_path) as http:
        rules = "rules: [{name: through, when: valve.held && task.priority > 5, route: fast}]\n"
        (tmp_path / "policy.yaml").write_text(f"{rules}triage: {{actions: {HOLD}}}")
        assert (await http.post("/policy/reload")).status_code == 200
        body = (await http.post("/anomaly-triage", json={"data": spiky(), "stream": "echo"})).json()
        assert (body["action"], body["status"], body["result"]["stream"]) == ("hold", "done", "echo")
        tasks = [{"type": "echo"}, {"type": "echo", "approved": True}, {"type": "echo", "priority": 9}]
        held, approved, aware = (await http.post("/decide", json={"tasks": tasks})).json()["decisions"]
        assert (held["route"], held["rule"], held["hold_s"]) == ("hold", "stream_held", 90)
        assert body["id"] in held["reason"]
        assert (approved["route"], aware["route"], aware["rule"]) == ("fast", "fast", "known_skill")
        asked = (await http.post("/decide-columns", json=question(1, 1))).json()
        assert asked["verdicts"][0]["hold_s"] == 90
        (hold,) = (await http.get("/valve")).json()["holds"]
        assert (hold["stream"], hold["triage"], hold["wait_s"]) == ("echo", body["id"], 90)
        assert (await http.post("/valve/echo/release")).json() == {"stream": "echo", "released": True}
        assert (await http.post("/decide", json={"tasks": tasks})).json()["decisions"][0]["route"] == "fast"
        assert (await http.post("/valve/echo/release")).status_code == 404


async def test_a_hold_is_kept_in_the_database_and_ends_by_itself(pg_settings, tmp_path):
    async with coordinator(pg_settings, f"{{actions: {HOLD}}}", tmp_path) as http:
        await http.post("/anomaly-triage", json={"data": spiky(), "stream": "echo"})
    asked = {"tasks": [{"type": "echo"}]}
    async with coordinator(pg_settings, f"{{actions: {HOLD}}}", tmp_path) as http:
        assert (await http.post("/decide", json=asked)).json()["decisions"][0]["rule"] == "stream_held"
        holds = http.service._policy.holds
        await holds.put("echo", 0.05, "soon over", None, None)
        async with asyncio.timeout(10):
            while (await http.post("/decide", json=asked)).json()["decisions"][0]["route"] == "hold":
                await asyncio.sleep(0.02)
        await holds.load()
        assert holds.report() == []


async def test_only_approvers_release_a_stream(pg_settings, tmp_path):
    async with coordinator(pg_settings, f"{{actions: {HOLD}}}", tmp_path, approver_keys="ann:s3cret") as http:
        await http.post("/anomaly-triage", json={"data": spiky(), "stream": "echo"})
        assert (await http.post("/valve/echo/release")).status_code == 403
        key = {"authorization": "Bearer s3cret"}
        assert (await http.post("/valve/echo/release", headers=key)).status_code == 200


async def test_a_valve_that_learned_enough_is_recalibrated_and_another_is_not(pg_settings, tmp_path):
    policy = "{actions: {recalibrate: {cost: 0, losses: {}}}}"
    async with coordinator(pg_settings, policy, tmp_path) as http:
        asked = {"data": spiky(), "stream": "echo"}
        refused = (await http.post("/anomaly-triage", json=asked)).json()
        assert refused["action"] == "none"
        unmet = refused["decision"]["would_change"][0]["unmet"]
        assert unmet == ["valve.learnable is False; it must be == True"]
        await http.service._policy.maintenance.run_round()
        rows = np.random.default_rng(1).standard_normal((600, TASK_COLUMNS)).tolist()
        told = question(1, 1) | {"streams": [{"type": "echo", "seen": 600, "tasks": rows}]}
        await http.post("/decide-columns", json=told)
        body = (await http.post("/anomaly-triage", json=asked)).json()
        assert (body["action"], body["result"]["work"]["reference"]) == ("recalibrate", 600)


async def test_a_task_is_submitted_once(pg_settings, tmp_path):
    policy = "{actions: {submit: {cost: 0, losses: {}, task: {type: echo, params: {value: 1}}}}}"
    async with coordinator(pg_settings, policy, tmp_path) as http:
        asked = {"data": spiky(), "task": {"type": "text.keywords", "params": {"text": "a spike"}}}
        body = (await http.post("/anomaly-triage", json=asked)).json()
        assert (body["action"], body["result"]["type"]) == ("submit", "text.keywords")
        async with http.service._database.connection() as connection:
            rows = await connection.fetch("select id, type, idempotency_key from seedcore.tasks")
        assert [(str(row["id"]), row["idempotency_key"]) for row in rows] == [
            (body["result"]["task_id"], f"triage-{body['id']}")
        ]
        wrong = await http.post("/anomaly-triage", json=asked | {"task": {"type": "nope"}})
        assert (wrong.status_code, "no skill" in wrong.json()["detail"]) == (422, True)
        own = (await http.post("/anomaly-triage", json={"data": spiky()})).json()
        assert own["result"]["type"] == "echo"


async def test_an_action_of_ones_own_is_done_and_one_that_breaks_is_a_failure_that_stays_readable(
    pg_settings, tmp_path
):
    modules = {"triage_actions": "tests.coordinator.triage.triage_actions"}
    policy = "{actions: {acme.page: {cost: 0, losses: {}, options: {who: ann}}}}"
    async with coordinator(pg_settings, policy, tmp_path, **modules) as http:
        body = (await http.post("/anomaly-triage", json={"data": spiky()})).json()
        assert body["result"] == {"paged": "ann", "for": body["id"], "stream": None}
        (tmp_path / "policy.yaml").write_text("triage: {actions: {acme.broken: {cost: 0, losses: {}}}}")
        await http.post("/policy/reload")
        failed = await http.post("/anomaly-triage", json={"data": spiky()})
        assert (failed.status_code, failed.json()["code"]) == (502, "action_failed")
        assert "secret" not in failed.text
        record = (await http.get(f"/triage/{failed.json()['id']}")).json()
        assert (record["status"], record["result"]["error"]["code"]) == ("failed", "internal_error")
        assert (await http.get("/metrics")).json()["triage"] == {"triages": 2, "failed_actions": 1}


async def test_a_webhook_that_refuses_is_a_failure_with_its_record(pg_settings, tmp_path):
    async with (
        webhook(400) as (url, told),
        coordinator(pg_settings, "{actions: {notify: {}}}", tmp_path, webhooks=f"ops={url}") as http,
    ):
        failed = await http.post("/anomaly-triage", json={"data": spiky(), "idempotency_key": "k"})
        assert (failed.status_code, len(told)) == (502, 1)
        assert url not in failed.text
        again = await http.post("/anomaly-triage", json={"data": spiky(), "idempotency_key": "k"})
        assert (again.status_code, again.json()["status"], len(told)) == (200, "failed", 1)


@pytest.mark.parametrize("who", ["_ml", "_cognitive"])
async def test_when_a_service_is_away_nothing_is_recorded_or_done(pg_settings, tmp_path, who):
    async with coordinator(pg_settings, f"{{actions: {HOLD}}}", tmp_path) as http:
        client = getattr(http.service, who)
        there = client.call

        async def away(*_given: Any) -> Any:
            raise UnavailableError("it does not answer")

        client.call = away
        asked = {"data": spiky(), "stream": "echo", "idempotency_key": "k"}
        answer = await http.post("/anomaly-triage", json=asked)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert (await http.get("/triage")).json()["items"] == []
        assert (await http.get("/valve")).json()["holds"] == []
        client.call = there
        assert (await http.post("/anomaly-triage", json=asked)).json()["status"] == "done"


async def test_a_streams_own_record_is_looked_at_when_no_series_is_given(pg_settings, tmp_path):
    async with coordinator(pg_settings, "{}", tmp_path) as http:
        few = await http.post("/anomaly-triage", json={"stream": "shop/echo"})
        assert (few.status_code, "8 are needed" in few.json()["detail"]) == (409, True)
        ids = [new_id() for _ in range(100)]
        seconds = [0.1 + 0.01 * (n % 7) for n in range(100)]
        seconds[90] = 30.0
        async with http.service._database.connection() as connection:
            await connection.execute(
                "insert into seedcore.tasks (id, type, domain, params, max_attempts)"
                " select i, 'echo', 'shop', '{}', 3 from unnest($1::uuid[]) i",
                ids,
            )
            await connection.execute(
                "insert into seedcore.finished (id, tick, status, attempts, started_at, finished_at)"
                " select i, 1, 'completed', 1, now() + make_interval(secs => n - s), now() + make_interval(secs => n)"
                " from unnest($1::uuid[], $2::float8[]) with ordinality u(i, s, n)",
                ids,
                seconds,
            )
        body = (await http.post("/anomaly-triage", json={"stream": "shop/echo"})).json()
        assert body["series"]["duration_s"]["points"] == 100
        assert [a["index"] for a in body["findings"]["duration_s"]["anomalies"]] == [90]
        assert body["findings"]["failures"]["method"] == "constant"
        assert (body["reasons"]["subject"]["stream"], body["reasons"]["tasks"]) == ("shop/echo", 100)


async def test_what_was_interrupted_says_so_and_old_records_go(pg_settings, tmp_path):
    async with coordinator(pg_settings, "{}", tmp_path) as http:
        database = http.service._database
        async with database.connection() as connection:
            insert = (
                "insert into seedcore.triages (id, at, hash, dry_run, action, status, record)"
                " values ($1, now() - $2::text::interval, '', false, 'notify', 'acting', '{}')"
            )
            stuck, old = new_id(), new_id()
            await connection.execute(insert, stuck, "3 minutes")
            await connection.execute(insert, old, "31 days")
        assert (await http.get(f"/triage/{stuck}")).json()["status"] == "interrupted"
        await http.post("/anomaly-triage", json={"data": calm()})
        assert (await http.get(f"/triage/{old}")).status_code == 404
        assert (await http.get(f"/triage/{stuck}")).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "(body)"),
        ({"data": [1.0] * 7}, "data"),
        ({"data": [1.0] * 30 + ["x"]}, "data.30"),
        ({"data": [1.0] * 30, "series": {"a": [1.0] * 30}}, "(body)"),
        ({"series": {"a": [1.0]}}, "series.a"),
        ({"series": {}}, "series"),
        ({"stream": ""}, "stream"),
        ({"data": [1.0] * 30, "url": "http://169.254.169.254/"}, "url"),
        ({"data": [1.0] * 30, "dry_run": "maybe"}, "dry_run"),
        ({"data": [1.0] * 30, "task": {"params": {}}}, "task.type"),
    ],
)
@pytest.mark.usefixtures("no_audit_log")
async def test_bad_input_names_the_field(settings, body, field):
    service = CoordinatorService({}, settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.build_app()), base_url="http://c") as http:
        answer = await http.post("/anomaly-triage", json=body)
    assert answer.status_code == 422
    assert field in [e["field"] for e in answer.json()["errors"]]


async def test_a_request_cannot_choose_where_a_webhook_goes(pg_settings, tmp_path):
    async with coordinator(pg_settings, "{}", tmp_path, webhooks="ops=http://127.0.0.1:9/") as http:
        asked = {"data": spiky(), "webhook": "http://127.0.0.1:22/"}
        assert (await http.post("/anomaly-triage", json=asked)).status_code == 422
        assert (await http.get("/triage")).json()["items"] == []


async def test_a_webhook_is_tried_three_times_and_redirects_are_not_followed():
    async with webhook(500, 503, 200) as (url, told):
        said = await Webhooks({"a": url}, pause_s=0.0).post(None, {"x": 1})
        assert (said, told) == ({"webhook": "a", "status": 200, "tries": 3}, [{"x": 1}] * 3)
    async with webhook(500) as (url, told):
        with pytest.raises(UnavailableError, match="in 3 tries: status 500"):
            await Webhooks({"a": url}, pause_s=0.0).post("a", {})
        assert len(told) == 3
    async with webhook(302) as (url, told):
        with pytest.raises(UnavailableError, match="in 1 tries: status 302"):
            await Webhooks({"a": url}, pause_s=0.0).post("a", {})
        assert len(told) == 1


async def test_which_webhook_is_meant_must_be_clear():
    with pytest.raises(NotConfiguredError):
        await Webhooks({}).post(None, {})
    both = Webhooks({"a": "http://127.0.0.1:9/", "b": "http://127.0.0.1:9/"})
    with pytest.raises(InvalidInputError, match="a, b"):
        await both.post(None, {})
    with pytest.raises(UnavailableError, match="ConnectError"):
        await Webhooks({"a": "http://127.0.0.1:9/?token=s3cret"}, pause_s=0.0).post(None, {})


@pytest.mark.parametrize("module", ["no.such.module", "json"])
def test_a_module_without_actions_ends_the_start(settings, module):
    with pytest.raises(SettingsError, match="SEEDCORE_TRIAGE_ACTIONS"):
        load_actions(settings.model_copy(update={"triage_actions": module}))


@pytest.mark.parametrize("value", ["ops", "ops=ftp://x", "a b=http://x", "a=http://x,a=http://y", "a=http:///x"])
def test_webhooks_that_are_none_are_refused_without_showing_them(value):
    with pytest.raises(SettingsError, match="SEEDCORE_WEBHOOKS") as caught:
        load_settings(webhooks=value)
    assert "http" not in caught.value.detail.split("is not allowed")[0]


def test_a_triage_takes_as_few_points_as_the_detector():
    assert (MIN_POINTS, MAX_POINTS) == (MIN_LENGTH, MAX_LENGTH)
    assert TriageRequest.model_validate({"data": [1.0] * MIN_LENGTH}).data == [1.0] * MIN_LENGTH
