"""Workers, kept as hosts are: how many there are, who lives in them, and how they take over from an earlier release."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from seedcore.fleet.organ_spec import HostPlan, OrganSpec
from seedcore.organism.service import OrganismService
from seedcore.schemas.organism import FleetRequest
from seedcore.settings import Settings

from .fake_hosts import Pool
from .support import Start, client, echo, until

pytestmark = pytest.mark.integration

D1, D2, D3 = (f"seedcore-dispatcher-{n}" for n in (1, 2, 3))
ORGANS = """
organs:
  utility: {agents: 4, roles: {reader: 2}, limits: {agent_concurrency: 3}}
  ml: {agents: 1, isolation: process}
"""


@pytest.fixture
def organs_file(tmp_path: Path) -> Path:
    path = tmp_path / "organs.yaml"
    path.write_text(ORGANS)
    return path


@pytest.fixture
def configured(configured: Settings) -> Settings:
    """Settings that ask for two workers on `default` and one on `graph`."""
    return configured.model_copy(update={"dispatchers": 2, "graph_dispatchers": 1})


async def table(service: OrganismService) -> Mapping[str, Any]:
    found = await service.fleet(FleetRequest())
    assert "organs" in found
    return found


def workers(pool: Pool) -> list[str]:
    return sorted(name for name in pool.alive if "dispatcher" in name)


async def test_workers_run_before_anything_is_initialized(http: httpx.AsyncClient, pool: Pool):
    await until(lambda: len(workers(pool)) == 3)
    assert workers(pool) == [D1, D2, "seedcore-graph-dispatcher-3"]
    async with asyncio.timeout(10):
        while (await http.get("/health")).json()["workers"] != {"default": "2/2", "graph": "1/1"}:
            await asyncio.sleep(0.01)
    status = (await http.get("/status")).json()
    assert (status["organism_initialized"], status["organs"]) == (False, {})
    own = status["workers"]["default"]
    assert (own["desired"], own["alive"], own["names"]) == (2, 2, [D1, D2])
    assert {(w["name"], w["organ"], w["alive"], w["outdated"]) for w in own["workers"]} == {
        (D1, "default", True, False),
        (D2, "default", True, False),
    }


async def test_agents_of_an_organ_without_hosts_of_its_own_live_in_workers(
    up: httpx.AsyncClient, service: OrganismService, pool: Pool
):
    await until(lambda: len(service._loop.view.hosts_of("~default", keep_agents=True)) == 2)
    found = await table(service)
    utility, ml = found["organs"]["utility"], found["organs"]["ml"]
    assert utility["hosts"] == found["workers"] == [D1, D2]
    assert sorted(utility["host"]) == [0, 0, 1, 1]
    assert (utility["limits"], utility["roles"]) == ({"agent_concurrency": 3}, {"reader": 2.0})
    assert ml["hosts"] == pool.of("ml")
    assert not {"limits", "roles"} & ml.keys()
    assert set(found["organs"]) == {"utility", "ml", "graph"}, "pools of workers are no organs"
    assert found["organs"]["graph"]["hosts"] == ["seedcore-graph-dispatcher-3"]
    status = (await up.get("/status")).json()["organs"]
    assert (status["utility"]["living_agents"], status["utility"]["living_hosts"]) == (4, 2)
    assert (status["utility"]["desired_hosts"], status["ml"]["desired_hosts"]) == (None, {"min": 1, "max": 1})
    assert [host["name"] for host in status["utility"]["hosts"]] == [D1, D2]
    answer = await up.post("/execute-on-organ", json=echo("here"))
    assert (answer.json()["result"], answer.json()["host"] in (D1, D2)) == ({"value": "here"}, True)


async def test_a_silent_worker_leaves_the_table_and_is_replaced(
    up: httpx.AsyncClient, service: OrganismService, pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    await until(lambda: len(service._loop.view.hosts_of("~default", keep_agents=True)) == 2)
    before = await table(service)
    monkeypatch.setattr("seedcore.organism.control.liveness.SUSPECT_S", 0.2)
    monkeypatch.setattr("seedcore.organism.control.liveness.SILENT_S", 0.6)
    health_of = service._loop._reconciler._liveness.health
    await until(lambda: health_of(D1).max_silence_s == 0.6)
    pool.silent.add(D1)
    await until(lambda: service._loop.view.epoch > before["epoch"])
    after = await table(service)
    assert after["workers"] == after["organs"]["utility"]["hosts"] == [D2]
    assert after["organs"]["utility"]["host"] == [0] * 4
    health = await up.get("/health")
    assert D1 in health.json()["short"]["workers default"]
    assert health.status_code == 200, "the others work"
    await until(lambda: pool.made.count(D1) == 2)
    async with asyncio.timeout(10):
        while (await table(service))["workers"] != [D1, D2]:
            await asyncio.sleep(0.01)


async def test_an_organ_without_a_worker_has_no_agents_and_says_so(
    start: Start, configured: Settings, pool: Pool, organs_file: Path
):
    service = await start(configured.model_copy(update={"dispatchers": 0}))
    status = await service.initialize()
    assert status.organism_initialized, "workers are no part of it"
    assert status.organs["utility"].living_agents == 0
    assert (await table(service))["organs"]["utility"]["agents"] == []
    answer = await client(service).post("/execute-on-organ", json=echo())
    assert (answer.status_code, "no living host" in answer.json()["detail"]) == (503, True)


async def test_the_number_of_workers_is_set_once_for_all(
    up: httpx.AsyncClient, service: OrganismService, start: Start, pool: Pool
):
    answer = await up.put("/workers", json={"default": 3, "graph": 0})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["default"]["desired"], answer.json()["graph"]["desired"]) == (3, 0)
    await until(lambda: len(workers(pool)) == 3 and not any("graph" in name for name in workers(pool)))
    change = service._loop.applied_change
    assert (await up.put("/workers", json={"default": 3, "graph": 0})).status_code == 200
    assert service._loop.applied_change == change, "nothing has changed"
    await up.put("/organs/utility", json={"agents": 2})
    await service.stop()
    again = await start()
    assert (await again.status()).workers.default.desired == 3
    await asyncio.sleep(0.3)  # several passes: what must not happen has had its time
    assert len(workers(pool)) == 3


async def test_surplus_workers_claim_no_more_and_end_when_they_have_nothing_in_hand(
    up: httpx.AsyncClient, service: OrganismService, pool: Pool
):
    await until(lambda: len(service._loop.view.hosts_of("~default", keep_agents=True)) == 2)
    pool.running[D2] = 1
    await up.put("/workers", json={"default": 1, "graph": 1})
    await until(lambda: D2 in pool.begun)
    assert (await table(service))["workers"] == [D1]
    status = (await up.get("/status")).json()["workers"]["default"]
    assert (status["names"], status["alive"]) == ([D1], 1)
    await asyncio.sleep(0.3)
    assert D2 in pool.alive
    pool.running[D2] = 0
    await until(lambda: D2 not in pool.alive)
    assert D1 not in pool.begun


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"default": -1, "graph": 1}, "default"),
        ({"default": 257, "graph": 1}, "default"),
        ({"default": 1}, "graph"),
        ({"default": 1, "graph": 1, "per_node": 0}, "per_node"),
        ({"default": 1, "graph": 1, "slow": 1}, "slow"),
    ],
)
async def test_a_wrong_number_of_workers_is_refused(http: httpx.AsyncClient, body: dict[str, int], field: str):
    answer = await http.put("/workers", json=body)
    assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [field])


async def test_workers_may_be_counted_by_nodes(up: httpx.AsyncClient, service: OrganismService, pool: Pool, start):
    pool.there = ["node-1", "node-2", "node-3"]
    await up.put("/workers", json={"default": 1, "graph": 1, "per_node": 2})
    await until(lambda: len(service._loop.view.hosts_of("~default", keep_agents=True)) == 6)
    follower = await start()
    assert not follower._loop.leads
    assert (await follower.status()).workers.default.desired == 6
    pool.there = ["node-1"]
    await until(lambda: len([name for name in workers(pool) if "graph" not in name]) == 2)


async def test_workers_go_on_while_the_organism_is_stopped(up: httpx.AsyncClient, service: OrganismService, pool: Pool):
    await until(lambda: len(workers(pool)) == 3)
    await up.post("/shutdown")
    assert sorted(pool.alive) == workers(pool)
    assert len(workers(pool)) == 3
    found = await table(service)
    assert found["organs"]["utility"]["agents"] == [], "their agents get no tasks"
    assert found["workers"] == [D1, D2]
    await up.post("/initialize")
    assert (await table(service))["organs"]["utility"]["hosts"] == [D1, D2]


async def test_hosts_of_an_organ_that_loses_them_stay_until_a_worker_lives(
    start: Start, configured: Settings, pool: Pool, organs_file: Path
):
    organs_file.write_text("organs: {utility: {agents: 4, isolation: process, hosts: 2}}")
    none = configured.model_copy(update={"dispatchers": 0, "graph_dispatchers": 0})
    service = await start(none)
    await service.initialize()
    hosts = pool.of("utility")
    organs_file.write_text("organs: {utility: {agents: 4}}")
    await service.initialize()
    await asyncio.sleep(0.3)
    assert (await table(service))["organs"]["utility"]["hosts"] == pool.of("utility") == hosts
    http = client(service)
    assert (await http.post("/execute-on-organ", json=echo())).status_code == 200
    await http.put("/workers", json={"default": 1, "graph": 0})
    await until(lambda: pool.of("utility") == [])
    assert (await table(service))["organs"]["utility"]["hosts"] == workers(pool)


async def test_workers_of_the_previous_release_go_one_by_one_and_their_names_are_not_taken(
    start: Start, pool: Pool, organs_file: Path
):
    """Those are named in the same way, and run no skills: no agent may live in them."""
    old = [f"seedcore-dispatcher-{n}" for n in (0, 1, 2)]
    for name in old:
        pool.alive[name] = HostPlan(name, "~default", OrganSpec())
    service = await start()
    seen: set[str] = set()
    async with asyncio.timeout(10):
        while set(workers(pool)) & set(old):
            claiming = {h.name for h in service._loop.view.hosts_of("~default") if h.takes_tasks}
            seen |= {host.name for host in service._loop.view.hosts_of("~default", keep_agents=True)}
            assert not claiming or len(claiming) >= 2
            await asyncio.sleep(0.01)
    assert not seen & set(old)
    assert pool.begun[0] in old
    assert not set(pool.made) & set(old)
    assert len([name for name in workers(pool) if "graph" not in name]) == 2


async def test_a_new_version_rolls_workers_one_by_one(start: Start, pool: Pool):
    first = await start()
    await until(lambda: len(first._loop.view.hosts_of("~default", keep_agents=True)) == 2)
    await first.stop()
    second = await start(version="2")
    async with asyncio.timeout(15):
        while {D1, D2} & set(workers(pool)):
            claiming = [h for h in second._loop.view.hosts_of("~default") if h.takes_tasks]
            assert not claiming or len(claiming) >= 2, "the successor comes first"
            await asyncio.sleep(0.01)
    assert set(pool.begun) == {D1, D2, "seedcore-graph-dispatcher-3"}


async def test_workers_are_spread_over_nodes(start: Start, pool: Pool):
    pool.there = ["node-1", "node-2"]
    service = await start()
    await until(lambda: len(service._loop.view.hosts_of("~default", keep_agents=True)) == 2)
    assert {pool.homes[D1], pool.homes[D2]} == {"node-1", "node-2"}


async def test_another_leader_keeps_the_workers(service: OrganismService, start: Start, pool: Pool):
    await until(lambda: len(service._loop.view.hosts_of("~default", keep_agents=True)) == 2)
    made = list(pool.made)
    await service.stop()
    again = await start()
    await until(lambda: again._loop.leads and len(again._loop.view.hosts_of("~default", keep_agents=True)) == 2)
    assert (pool.made, pool.removed) == (made, [])


@pytest.mark.parametrize("spec", [{"agents": 4, "hosts": 2}, {"hosts": {"min": 1, "max": 3}, "num_cpus": 0}])
async def test_hosts_of_an_organ_that_lives_in_workers_are_refused(up: httpx.AsyncClient, spec: dict[str, object]):
    answer = await up.put("/organs/utility", json=spec)
    assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, ["hosts"])
    assert "isolation: process" in answer.json()["errors"][0]["message"]
    organ = (await up.get("/organs/utility")).json()
    assert organ["version"] == 1
    assert "hosts" not in organ["spec"]
    assert (await up.put("/organs/utility", json=organ["spec"])).status_code == 200, "what is read may be sent back"
    own = {**organ["spec"], "isolation": "process", "hosts": 2}
    answer = await up.put("/organs/utility", json=own)
    assert answer.json()["spec"]["hosts"] == {"min": 2, "max": 2}


async def test_what_the_previous_release_stored_is_read_and_served_without_hosts(
    up: httpx.AsyncClient, service: OrganismService
):
    async with service._database.connection() as connection:
        await connection.execute(
            """update seedcore.organs set spec = '{"agents": 3, "hosts": {"min": 2, "max": 4}}' where id = 'utility'"""
        )
        await connection.execute("update seedcore.organism set desired = desired + 1")
    service._loop.wake()
    await until(lambda: service._loop.view.organs["utility"].spec.agents == 3)
    assert "hosts" not in (await up.get("/organs/utility")).json()["spec"]
    body = {"operation": "split", "organ_id": "utility", "into": "loud", "skills": ["echo"], "wait_s": 5}
    record = (await up.post("/evolve", json=body)).json()
    assert record["energy_after"] is not None, "it takes effect without hosts"
    await until(lambda: bool(service._loop.view.hosts_of("~default", keep_agents=True)))
    assert (await table(service))["organs"]["loud"]["hosts"] == [D1, D2]


async def test_a_number_that_another_version_stored_gives_way_to_the_settings(
    up: httpx.AsyncClient, service: OrganismService
):
    async with service._database.connection() as connection:
        await connection.execute("""update seedcore.organism set workers = '{"slow": 1}', desired = desired + 1""")
    service._loop.wake()
    before = service._loop.applied_change
    await until(lambda: service._loop.applied_change > before)
    assert (await up.get("/status")).json()["workers"]["default"]["desired"] == 2
