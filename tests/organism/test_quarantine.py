"""Quarantined skills: each in a host of its own, one task at a time, until time or a person releases it."""

import asyncio

import httpx
import pytest

from seedcore.organism.control.reserved_pools import quarantine_id
from seedcore.organism.service import OrganismService
from seedcore.schemas.organism import FleetRequest

from .fake_hosts import Pool
from .support import Start, echo, until

pytestmark = pytest.mark.integration

ALONE = quarantine_id("echo")


async def quarantine(service: OrganismService, skill: str = "echo", seconds: float = 60) -> None:
    async with service._database.connection() as connection:
        await connection.execute(
            """insert into seedcore.quarantined_skills (skill, until, deaths, reason)
               values ($1, now() + make_interval(secs => $2), 3, 'it was running when 3 processes ended')""",
            skill,
            seconds,
        )


async def home_of(service: OrganismService, skill: str) -> str:
    table = await service.fleet(FleetRequest())
    assert "skills" in table
    return table["skills"][skill]


async def alone(service: OrganismService, pool: Pool) -> str:
    """The host of the quarantined `echo`, as soon as tasks go there."""
    await until(lambda: bool(service._loop.view.hosts_of(ALONE, keep_agents=True)))
    (host,) = pool.of(ALONE)
    return host


async def test_a_quarantined_skill_runs_in_a_host_of_its_own_one_at_a_time(
    up: httpx.AsyncClient, service: OrganismService, pool: Pool
):
    await quarantine(service)
    host = await alone(service, pool)
    plan = pool.alive[host]
    assert set(plan.spec.limits.model_dump().values()) == {1}
    table = await service.fleet(FleetRequest())
    assert "skills" in table
    assert (table["skills"]["echo"], table["skills"]["text.keywords"]) == (ALONE, "utility")
    own = table["organs"][ALONE]
    assert (own["hosts"], own["agents"], own["host"]) == ([host], [f"{ALONE}-0000"], [0])
    answer = await up.post("/execute-on-organ", json=echo("still"))
    assert (answer.json()["host"], answer.json()["result"]) == (host, {"value": "still"})
    route = (await up.post("/resolve-route", json={"type": "echo"})).json()
    assert route["organ_id"] == "utility", "it stays a skill of its organ"


async def test_it_is_visible(up: httpx.AsyncClient, service: OrganismService, pool: Pool):
    assert (await up.get("/quarantine")).json() == {"items": []}
    await quarantine(service)
    host = await alone(service, pool)
    (item,) = (await up.get("/quarantine")).json()["items"]
    assert (item["skill"], item["deaths"], item["host"]) == ("echo", 3, host)
    assert item["until"] > item["since"]
    health = await up.get("/health")
    assert (health.status_code, health.json()["quarantined"]) == (200, ["echo"])
    status = (await up.get("/status")).json()
    assert status["quarantined"] == [item]
    assert set(status["organs"]) == {"utility", "ml", "graph"}


async def test_a_quarantined_skill_without_a_host_waits_and_the_shortfall_is_told(
    up: httpx.AsyncClient, service: OrganismService, pool: Pool
):
    pool.refuse.add(ALONE)
    await quarantine(service)
    await until(lambda: bool(service._loop.view.hosts_of(ALONE)))
    async with asyncio.timeout(10):
        while "no resources" not in (await up.get("/health")).json()["short"].get("quarantined echo", ""):
            await asyncio.sleep(0.01)
    assert (await up.get("/health")).status_code == 200
    assert await home_of(service, "echo") == ALONE
    answer = await up.post("/execute-on-organ", json=echo())
    assert (answer.status_code, "'echo'" in answer.json()["detail"]) == (503, True)


async def test_a_person_releases_it(up: httpx.AsyncClient, service: OrganismService, pool: Pool):
    await quarantine(service)
    await alone(service, pool)
    answer = await up.post("/quarantine/echo/release")
    assert (answer.status_code, answer.json()) == (200, {"items": []})
    await until(lambda: pool.of(ALONE) == [])
    assert await home_of(service, "echo") == "utility"
    assert ALONE not in (await up.get("/fleet")).json()["organs"]
    again = await up.post("/quarantine/echo/release")
    assert (again.status_code, again.json()["code"]) == (404, "not_found")


async def test_time_releases_it(up: httpx.AsyncClient, service: OrganismService, pool: Pool):
    await quarantine(service, seconds=1)
    await alone(service, pool)
    await until(lambda: pool.of(ALONE) == [])
    assert await home_of(service, "echo") == "utility"


async def test_followers_route_alike(up: httpx.AsyncClient, service: OrganismService, pool: Pool, start: Start):
    other = await start()
    assert not other._loop.leads
    await quarantine(service)
    await alone(service, pool)
    await until(lambda: other._loop.view.epoch == service._loop.view.epoch)
    assert await other.fleet(FleetRequest()) == await service.fleet(FleetRequest())


async def test_a_new_leader_keeps_it_where_it_is(
    up: httpx.AsyncClient, service: OrganismService, pool: Pool, start: Start
):
    await quarantine(service)
    host = await alone(service, pool)
    await service.stop()
    again = await start()
    await until(lambda: again._loop.leads)
    await until(lambda: bool(again._loop.view.hosts_of(ALONE, keep_agents=True)))
    assert pool.of(ALONE) == [host]
    assert pool.made.count(host) == 1


async def test_a_skill_that_this_release_does_not_know_has_no_host(
    up: httpx.AsyncClient, service: OrganismService, pool: Pool
):
    await quarantine(service, skill="acme.later/skill")
    await until(lambda: bool(service._loop.view.quarantined))
    await asyncio.sleep(0.2)
    assert all("alone" not in name for name in pool.alive)
    assert (await up.get("/quarantine")).json()["items"][0]["host"] is None
    assert (await up.post("/quarantine/acme.later/skill/release")).status_code == 200


async def test_a_stopped_organism_has_no_host_for_it_either(
    up: httpx.AsyncClient, service: OrganismService, pool: Pool
):
    await quarantine(service)
    await alone(service, pool)
    await up.post("/shutdown")
    assert pool.alive == {}
