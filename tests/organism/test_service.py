"""The Organism service on hosts in memory and a real database."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from ray.exceptions import ActorDiedError

from seedcore.errors import UnavailableError
from seedcore.organism.desired.repository import LeadLostError
from seedcore.organism.service import OrganismService
from seedcore.schemas.organism import ExecuteOnOrgan, FleetRequest
from seedcore.settings import Settings

from .fake_hosts import Pool
from .support import ORGANS, Start, echo, until

pytestmark = pytest.mark.integration

ACME = Path(__file__).parents[2] / "examples/acme_skills/src"


async def test_before_it_is_initialized_it_says_so(http: httpx.AsyncClient):
    health = await http.get("/health")
    assert (health.status_code, health.json()["organism_initialized"]) == (503, False)
    answer = await http.get("/fleet")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "POST /organism/initialize" in answer.json()["detail"]
    answer = await http.post("/execute-on-organ", json=echo())
    assert answer.status_code == 404
    assert "not initialized" in answer.json()["detail"]


async def test_initialize_brings_every_organ_to_its_size(up: httpx.AsyncClient, pool: Pool):
    status = (await up.get("/status")).json()
    assert status["organism_initialized"]
    assert {name: (o["desired_agents"], o["living_agents"]) for name, o in status["organs"].items()} == {
        "utility": (4, 4),
        "ml": (1, 1),
        "graph": (4, 0),
    }
    assert sorted(pool.hosts) == ["seedcore-host-ml-1", "seedcore-host-utility-2", "seedcore-host-utility-3"]
    health = await up.get("/health")
    assert (health.status_code, health.json()["organism_initialized"]) == (200, True)
    assert health.json()["organs"] == {"utility": "4/4", "ml": "1/1", "graph": "0/4"}


async def test_initializing_again_changes_nothing(up: httpx.AsyncClient):
    before = (await up.get("/status")).json()
    assert (await up.post("/initialize")).json() == before


async def test_the_fleet_tells_who_lives_where_and_which_organ_runs_what(up: httpx.AsyncClient):
    fleet = (await up.get("/fleet")).json()
    assert fleet["skills"]["echo"] == "utility"
    utility = fleet["organs"]["utility"]
    assert utility["agents"] == [f"utility-{n:04d}" for n in range(4)]
    assert sorted(utility["hosts"]) == ["seedcore-host-utility-2", "seedcore-host-utility-3"]
    assert sorted(utility["host"]) == [0, 0, 1, 1]
    agents = (await up.get("/agents")).json()["items"]
    assert len(agents) == 5
    assert {"id": "ml-0000", "organ": "ml", "host": "seedcore-host-ml-1", "lifecycle": "scout"} in agents
    route = (await up.post("/resolve-route", json={"type": "echo"})).json()
    assert route == {"organ_id": "utility", "resolved_from": "type", "epoch": fleet["epoch"]}
    assert (await up.post("/resolve-route", json={"type": "nope"})).status_code == 404


async def test_who_knows_the_epoch_gets_a_short_answer(up: httpx.AsyncClient):
    epoch = (await up.get("/fleet")).json()["epoch"]
    assert (await up.get("/fleet", params={"epoch": epoch})).json() == {"epoch": epoch, "unchanged": True}
    assert "organs" in (await up.get("/fleet", params={"epoch": epoch - 1})).json()


async def test_an_organ_that_a_skill_names_and_the_file_lacks_is_told(
    start: Start, configured: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(str(ACME))
    service = await start(configured.model_copy(update={"skills": "acme_skills"}))
    assert (await service.initialize()).missing_organs == ["billing"]


async def test_a_bad_organs_file_is_told_and_changes_nothing(up: httpx.AsyncClient, organs_file: Path):
    organs_file.write_text("organs: {utility: {agents: none}}")
    answer = await up.post("/initialize")
    assert answer.json()["code"] == "bad_setting"
    assert "organs.utility.agents" in answer.json()["detail"]
    assert (await up.get("/health")).status_code == 200


async def test_a_host_that_does_not_come_up_is_named_and_tried_again(http: httpx.AsyncClient, pool: Pool):
    pool.refuse.add("ml")
    answer = await http.post("/initialize")
    assert answer.status_code == 503
    assert "seedcore-host-ml-1" in answer.json()["detail"]
    host = (await http.get("/status")).json()["organs"]["ml"]["hosts"][0]
    assert (host["alive"], host["reason"]) == (False, "RuntimeError: no resources")
    pool.refuse.clear()
    async with asyncio.timeout(10):
        while (await http.get("/health")).status_code != 200:
            await asyncio.sleep(0.02)


async def test_a_host_that_dies_comes_back_by_itself(up: httpx.AsyncClient, pool: Pool):
    dead = pool.hosts["seedcore-host-ml-1"]
    pool.kill("seedcore-host-ml-1")
    await until(lambda: pool.hosts.get("seedcore-host-ml-1") not in (None, dead))


async def test_stored_organs_that_do_not_fit_this_version_are_replaced(
    http: httpx.AsyncClient, service: OrganismService
):
    async with service._database.connection() as connection:
        await connection.execute("""insert into seedcore.organs (id, spec) values ('utility', '{"future": 1}')""")
    assert (await http.post("/initialize")).status_code == 200


async def test_hosts_of_an_organ_that_a_later_version_wrote_are_left_alone(
    up: httpx.AsyncClient, service: OrganismService, start: Start, pool: Pool
):
    async with service._database.connection() as connection:
        await connection.execute("""update seedcore.organs set spec = '{"future": 1}' where id = 'utility'""")
        await connection.execute("update seedcore.organism set desired = desired + 1")
    service._loop.wake()
    await until(lambda: "utility" in service._loop.view.unreadable)
    assert (await up.post("/execute-on-organ", json=echo())).status_code == 200, "what it last knew of it holds"
    await service.stop()
    again = await start()
    await until(lambda: again._loop.leads)
    for _ in range(5):
        await again._loop.try_reconcile()
    assert sorted(pool.hosts) == ["seedcore-host-ml-1", "seedcore-host-utility-2", "seedcore-host-utility-3"]
    health = await again.health()
    assert not health["ready"]
    assert "another version" in health["short"]["utility"]


async def test_a_replica_that_starts_finds_what_lives_before_it_answers(
    up: httpx.AsyncClient, service: OrganismService, start: Start, pool: Pool
):
    await service.stop()
    made = list(pool.made)
    again = await start()
    health = await again.health()
    assert (health["ready"], health["organism_initialized"], health["starting"]) == (True, True, False)
    assert (await again.status()).organs.keys() == {"utility", "ml", "graph"}
    await until(lambda: again._loop.leads)
    assert pool.made == made


async def test_until_it_has_looked_a_replica_claims_nothing(up: httpx.AsyncClient, service: OrganismService, start):
    again = await start()
    await again._loop.resign()
    await again._control_loop
    again._loop.observed = False
    health = await again.health()
    assert (health["ready"], health["organism_initialized"], health["starting"]) == (False, None, True)
    with pytest.raises(UnavailableError, match="not looked yet"):
        await again.fleet(FleetRequest())


async def test_two_replicas_at_once_make_nothing_twice_and_tell_the_same(
    up: httpx.AsyncClient, service: OrganismService, start: Start, pool: Pool
):
    other = await start()
    assert (service._loop.leads, other._loop.leads) == (True, False)
    made, removed = list(pool.made), list(pool.removed)
    await asyncio.sleep(0.5)  # several rounds of both: what must not happen has had its time
    assert (pool.made, pool.removed) == (made, removed)
    assert await other.fleet(FleetRequest()) == await service.fleet(FleetRequest())
    assert (await other.health())["organism_initialized"]
    body = ExecuteOnOrgan.model_validate(echo("here"))
    assert (await other.execute_on_organ(body)).result == {"value": "here"}


async def test_when_the_leader_goes_the_other_heals(
    up: httpx.AsyncClient, service: OrganismService, start: Start, pool: Pool
):
    other = await start()
    await service.stop()
    await until(lambda: other._loop.leads)
    dead = pool.hosts["seedcore-host-ml-1"]
    pool.kill("seedcore-host-ml-1")
    await until(lambda: pool.hosts.get("seedcore-host-ml-1") not in (None, dead))
    await until(lambda: other._loop.view.complete)


async def test_a_leader_that_lost_the_lead_writes_nothing(up: httpx.AsyncClient, service: OrganismService):
    reconcile_loop = service._loop
    async with service._database.connection() as connection:
        taken = "update seedcore.organism set leader = gen_random_uuid(), leads_until = now() + interval '1 hour'"
        await connection.execute(taken)
        with pytest.raises(LeadLostError):
            await reconcile_loop._repository.save_hosts(reconcile_loop._owner, [], [], new_epoch=True)
        with pytest.raises(LeadLostError):
            await reconcile_loop._repository.number_hosts(reconcile_loop._owner, 1)
    await until(lambda: not reconcile_loop.leads)
    assert (await up.get("/health")).status_code == 200


async def test_a_fresh_replica_removes_what_a_changed_file_does_not_want(
    up: httpx.AsyncClient, service: OrganismService, start: Start, pool: Pool, organs_file: Path
):
    organs_file.write_text(ORGANS + "  spare: {agents: 1, isolation: process}\n")
    await up.post("/initialize")
    assert len(pool.of("spare")) == 1
    await service.stop()
    organs_file.write_text("organs: {utility: {agents: 1, isolation: process}, ml: {agents: 1, isolation: process}}")
    await (await start()).initialize()
    await until(lambda: len(pool.hosts) == 2)
    assert pool.of("spare") == []


async def test_an_organ_is_read_changed_and_read_again(up: httpx.AsyncClient, pool: Pool):
    answer = await up.get("/organs/utility")
    organ = answer.json()
    assert (answer.headers["etag"], organ["version"], organ["from_file"]) == ('"1"', 1, True)
    assert "echo" in organ["skills"]
    spec = {**organ["spec"], "agents": 6, "hosts": {"min": 3, "max": 3}}
    answer = await up.put("/organs/utility", json=spec, headers={"If-Match": '"1"'})
    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
    assert (await up.get("/organs/utility")).json()["spec"]["agents"] == 6
    await until(lambda: len(pool.of("utility")) == 3)
    stale = await up.put("/organs/utility", json=spec, headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    assert "version 2" in stale.json()["detail"]
    assert {organ["id"] for organ in (await up.get("/organs")).json()["items"]} == {"utility", "ml", "graph"}
    assert (await up.get("/organs/nowhere")).status_code == 404


async def test_what_was_put_outlives_the_next_initialize_and_a_new_replica(
    up: httpx.AsyncClient, service: OrganismService, start: Start
):
    await up.put("/organs/utility", json={"agents": 9})
    assert (await up.post("/initialize")).json()["organs"]["utility"]["desired_agents"] == 9
    await service.stop()
    assert (await (await start()).status()).organs["utility"].desired_agents == 9


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/organs/utility", {"agents": 0}, "agents"),
        ("/organs/utility", {"hosts": {"min": 2, "max": 1}}, "hosts"),
        ("/organs/utility", {"skills": ["nope"]}, "organs.utility.skills"),
        ("/organs/Bad Name", {"agents": 1}, "organ_id"),
    ],
)
async def test_a_wrong_organ_is_told_and_changes_nothing(up: httpx.AsyncClient, path: str, body: Any, field: str):
    answer = await up.put(path, json=body)
    assert answer.status_code == 422, answer.text
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert (await up.get("/organs/utility")).json()["version"] == 1


async def test_an_organ_is_removed_only_when_no_skill_runs_there(up: httpx.AsyncClient, pool: Pool):
    answer = await up.delete("/organs/utility")
    assert (answer.status_code, "echo" in answer.json()["detail"]) == (409, True)
    assert (await up.put("/organs/spare", json={"agents": 1, "isolation": "process"})).status_code == 201
    await until(lambda: len(pool.of("spare")) == 1)
    assert (await up.delete("/organs/spare", headers={"If-Match": '"7"'})).status_code == 412
    assert (await up.delete("/organs/spare")).status_code == 204
    await until(lambda: pool.of("spare") == [])
    assert (await up.get("/organs/spare")).status_code == 404


async def test_a_skill_that_nobody_knows_ends_initialize_with_its_name(up: httpx.AsyncClient, organs_file: Path):
    organs_file.write_text("organs: {utility: {skills: [acme.nope]}}")
    answer = await up.post("/initialize")
    assert (answer.status_code, "acme.nope" in answer.json()["detail"]) == (422, True)
    assert (await up.get("/health")).status_code == 200


async def test_shutdown_stops_every_host_for_good_and_initialize_starts_again(
    up: httpx.AsyncClient, service: OrganismService, start: Start, pool: Pool
):
    status = (await up.post("/shutdown")).json()
    assert (status["stopped"], status["organism_initialized"], pool.hosts) == (True, False, {})
    await service.stop()
    again = await start()
    assert (await again.health())["stopped"]
    with pytest.raises(UnavailableError, match="POST /organism/initialize"):
        await again.agents()
    table = await again.fleet(FleetRequest())
    assert {name: (own["agents"], own["hosts"]) for name, own in table["organs"].items()} == {
        "utility": ([], []),
        "ml": ([], []),
        "graph": ([], []),
    }
    assert (await again.initialize()).organism_initialized
    assert len(pool.hosts) == 3


async def test_routes_are_resolved_one_by_one_and_many_at_once(up: httpx.AsyncClient):
    await up.put("/organs/ml", json={"agents": 1, "domains": ["risk"]})
    answer = (await up.post("/resolve-route", json={"domain": "risk"})).json()
    assert (answer["organ_id"], answer["resolved_from"]) == ("ml", "domain")
    items = [{"type": "echo"}, {"domain": "risk"}, {"type": "nope"}, {}]
    answer = (await up.post("/resolve-routes", json={"items": items})).json()
    assert [item["organ_id"] for item in answer["items"]] == ["utility", "ml", None, None]
    assert [item["error"] and item["error"]["code"] for item in answer["items"]] == [
        None,
        None,
        "not_found",
        "invalid_input",
    ]
    assert (await up.post("/resolve-route", json={})).status_code == 422


async def test_a_route_changes_with_its_organ(up: httpx.AsyncClient):
    before = (await up.post("/resolve-route", json={"type": "echo"})).json()
    await up.put("/organs/loud", json={"agents": 1, "skills": ["echo"]})
    after = (await up.post("/resolve-route", json={"type": "echo"})).json()
    assert (before["organ_id"], after["organ_id"]) == ("utility", "loud")
    assert after["epoch"] > before["epoch"]


async def write_agents(service: OrganismService, *rows: tuple[str, str, str, int, float]) -> None:
    async with service._database.connection() as connection:
        await connection.executemany(
            """insert into seedcore.agents (id, organ, host, running, queued_s, completed, rates)
               values ($1, $2, $3, $4, $5, 10, '{"echo": {"weight": 9.0, "seconds": 18.0, "successes": 9.0}}')
               on conflict (id) do update set running = excluded.running, queued_s = excluded.queued_s,
                 seq = nextval('seedcore.agent_change')""",
            rows,
        )


async def test_a_split_takes_effect_is_measured_and_undone(up: httpx.AsyncClient, service: OrganismService, pool: Pool):
    await write_agents(service, ("utility-0000", "utility", "seedcore-host-utility-2", 2, 4.0))
    body = {"operation": "split", "organ_id": "utility", "into": "loud", "skills": ["echo"]}
    answer = await up.post("/evolve", json=body)
    assert answer.status_code == 200, answer.text
    record = answer.json()
    assert (record["energy_before"]["energy"], record["energy_before"]["agents"]) == (8.0, 1)
    assert record["energy_after"]["energy"] == 8.0
    assert record["energy_after"]["measured_at"] > record["energy_before"]["measured_at"]
    assert len(pool.of("loud")) == 2
    fleet = (await up.get("/fleet")).json()
    assert fleet["skills"]["echo"] == "loud"
    assert len(fleet["organs"]["loud"]["agents"]) == len(fleet["organs"]["utility"]["agents"]) == 2
    assert (await up.get("/evolve")).json()["items"] == [record]

    undone = await up.post(f"/evolve/{record['id']}/undo")
    assert undone.json()["undone_at"] is not None
    assert (await up.get("/organs/loud")).status_code == 404
    assert (await up.get("/organs/utility")).json()["spec"]["agents"] == 4
    await until(lambda: pool.of("loud") == [])
    again = await up.post(f"/evolve/{record['id']}/undo")
    assert (again.status_code, "has been undone" in again.json()["detail"]) == (409, True)
    assert (await up.post(f"/evolve/{uuid4()}/undo")).status_code == 404


async def test_what_was_changed_since_cannot_be_undone(up: httpx.AsyncClient):
    body = {"operation": "retire", "agents": ["utility-0001"], "wait_s": 0}
    record = (await up.post("/evolve", json=body)).json()
    assert record["energy_after"] is None, "nobody has waited, and no number stands for it"
    await up.put("/organs/utility", json={"agents": 7})
    answer = await up.post(f"/evolve/{record['id']}/undo")
    assert (answer.status_code, "'utility'" in answer.json()["detail"]) == (409, True)


async def test_a_clone_starts_with_what_the_original_has_learned(up: httpx.AsyncClient, service: OrganismService):
    await write_agents(service, ("utility-0000", "utility", "seedcore-host-utility-2", 0, 0.0))
    await up.post("/evolve", json={"operation": "clone", "agent": "utility-0000", "wait_s": 0})
    async with service._database.connection() as connection:
        row = await connection.fetchrow("select * from seedcore.agents where id = 'utility-0000-c1'")
    assert json.loads(row["rates"])["echo"]["seconds"] == 18.0
    assert (row["completed"], row["host"]) == (0, "")
    assert "utility-0000-c1" in (await up.get("/fleet")).json()["organs"]["utility"]["agents"]


async def test_agents_that_are_not_wanted_any_more_sleep_when_their_work_is_done(
    up: httpx.AsyncClient, service: OrganismService
):
    await write_agents(service, ("utility-0003", "utility", "seedcore-host-utility-2", 1, 2.0))
    await up.post("/evolve", json={"operation": "retire", "agents": ["utility-0003"], "wait_s": 0})
    assert "utility-0003" not in [agent["id"] for agent in (await up.get("/agents")).json()["items"]]

    async def host() -> str:
        async with service._database.connection() as connection:
            return await connection.fetchval("select host from seedcore.agents where id = 'utility-0003'")

    assert await host() == "seedcore-host-utility-2", "it has work in hand"
    await write_agents(service, ("utility-0003", "utility", "seedcore-host-utility-2", 0, 0.0))
    async with asyncio.timeout(10):
        while await host():
            await asyncio.sleep(0.02)


async def test_lifecycles_reach_the_table(up: httpx.AsyncClient, service: OrganismService):
    before = (await up.get("/fleet")).json()
    assert before["organs"]["utility"]["scouts"] == [0, 1, 2, 3]
    await write_agents(service, ("utility-0001", "utility", "seedcore-host-utility-2", 0, 0.0))
    async with service._database.connection() as connection:
        await connection.execute(
            "update seedcore.agents set lifecycle = 'employed', seq = nextval('seedcore.agent_change')"
        )
    await until(lambda: service._loop.view.epoch > before["epoch"])
    assert (await up.get("/fleet")).json()["organs"]["utility"]["scouts"] == [0, 2, 3]


async def test_a_task_runs_on_an_agent_of_the_organ_past_the_queue(up: httpx.AsyncClient):
    answer = await up.post("/execute-on-organ", json=echo({"a": [1]}))
    assert answer.status_code == 200
    body = answer.json()
    assert (body["organ_id"], body["result"]) == ("utility", {"value": {"a": [1]}})
    assert body["agent"].startswith("utility-")
    assert body["task_id"]
    assert body["seconds"] >= 0


async def test_agents_take_turns(up: httpx.AsyncClient):
    agents = [(await up.post("/execute-on-organ", json=echo())).json()["agent"] for _ in range(8)]
    assert {agents.count(agent) for agent in agents} == {2}


async def test_id_and_key_reach_the_skill(up: httpx.AsyncClient, pool: Pool):
    body = echo()
    body["task"] |= {"id": "mine", "idempotency_key": "once"}
    await up.post("/execute-on-organ", json=body)
    (call,) = [call for host in pool.hosts.values() for call in host.calls]
    assert (call.task_id, call.idempotency_key, call.timeout_s) == ("mine", "once", 30)
    assert json.loads(call.params) == {"value": 1}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"organ_id": "ml", "task": {"type": "echo", "params": {"value": 1}}}, 422, "organ_id"),
        ({"organ_id": "utility", "task": {"type": "echo", "params": {}}}, 422, "task.params.value"),
        ({"organ_id": "utility", "task": {"type": "echo"}, "organ_timeout_s": 0}, 422, "organ_timeout_s"),
        ({"organ_id": "utility"}, 422, "task"),
        ({"organ_id": "nowhere", "task": {"type": "echo", "params": {"value": 1}}}, 404, None),
        ({"organ_id": "utility", "task": {"type": "nope"}}, 404, None),
    ],
)
async def test_what_cannot_run_is_told_before_it_runs(
    up: httpx.AsyncClient, pool: Pool, body: Any, status: int, field: str | None
):
    answer = await up.post("/execute-on-organ", json=body)
    assert answer.status_code == status, answer.text
    if field is not None:
        assert field in [error["field"] for error in answer.json()["errors"]]
    assert not any(host.calls for host in pool.hosts.values())


async def test_a_skill_that_fails_is_an_error_with_its_code(up: httpx.AsyncClient):
    answer = await up.post("/execute-on-organ", json=echo("a\0b"))
    assert (answer.status_code, answer.json()["code"], answer.json()["skill_code"]) == (
        500,
        "skill_failed",
        "skill_failed",
    )
    assert "U+0000" in answer.json()["detail"]


async def test_a_host_that_died_is_503_and_a_silent_one_504(
    up: httpx.AsyncClient, pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    for host in pool.hosts.values():
        host.error = ActorDiedError()
    answer = await up.post("/execute-on-organ", json=echo())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    for host in pool.hosts.values():
        host.error = TimeoutError()
    answer = await up.post("/execute-on-organ", json=echo())
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")


async def test_an_organ_without_a_living_host_is_503(up: httpx.AsyncClient, pool: Pool):
    pool.refuse.add("ml")
    pool.kill("seedcore-host-ml-1")
    async with asyncio.timeout(10):
        while (await up.get("/health")).status_code == 200:
            await asyncio.sleep(0.02)
    body = {"organ_id": "ml", "task": {"type": "ml.predict", "params": {"name": "m", "features": [1]}}}
    answer = await up.post("/execute-on-organ", json=body)
    assert answer.status_code == 503
    assert "no living host" in answer.json()["detail"]
