"""The Organism service on hosts in memory and a real database."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from ray.exceptions import ActorDiedError

from seedcore.organism import service as module
from seedcore.organism.agents import AgentBook
from seedcore.organism.executor import SkillExecutor
from seedcore.organism.organs import HostPlan
from seedcore.organism.service import OrganismService
from seedcore.settings import Settings, load_settings
from seedcore.skills import SkillRegistry
from seedcore.skills.calls import Call, Completion

pytestmark = pytest.mark.integration

ORGANS = "organs:\n  utility: {agents: 4, hosts: 2}\n  ml: {agents: 1}\n"
Start = Callable[..., Any]


class Host:
    """What the pool gives for a host: an actor handle's `execute.remote`."""

    def __init__(self, plan: HostPlan, settings: Settings) -> None:
        book = AgentBook(plan.organ, ())
        self.executor = SkillExecutor(SkillRegistry.load(settings), settings, book)
        self.calls: list[Call] = []
        self.error: Exception | None = None
        self.execute = self

    async def remote(self, call: Call) -> Completion:
        self.calls.append(call)
        if self.error is not None:
            raise self.error
        async for chunk in self.executor.run([call]):
            return chunk[0]
        raise AssertionError


class Pool:
    """Hosts of one test, shared by all the replicas that it starts."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.hosts: dict[str, Host] = {}
        self.refuse: set[str] = set()

    async def ensure(self, plan: HostPlan) -> None:
        if plan.name in self.refuse:
            raise RuntimeError("no room")
        if plan.name not in self.hosts:
            self.hosts[plan.name] = Host(plan, self.settings)

    async def ping(self, name: str) -> None:
        if name not in self.hosts:
            raise TimeoutError(name)

    async def remove(self, name: str) -> None:
        self.hosts.pop(name, None)

    def handle(self, name: str) -> Host:
        return self.hosts[name]


@pytest.fixture
def organs_file(tmp_path: Path) -> Path:
    path = tmp_path / "organs.yaml"
    path.write_text(ORGANS)
    return path


@pytest.fixture
def configured(pg_settings: Settings, organs_file: Path) -> Settings:
    assert pg_settings.pg_dsn is not None
    dsn = pg_settings.pg_dsn.get_secret_value()
    return load_settings(data_dir=pg_settings.data_dir, pg_dsn=dsn, organs_path=organs_file)


@pytest.fixture
def pool(configured: Settings) -> Pool:
    return Pool(configured)


@pytest.fixture
async def start(configured: Settings, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Start a replica; Ray is neither there nor needed."""
    monkeypatch.setattr(module, "RayHostPool", lambda _settings: pool)
    monkeypatch.setattr(module, "ROUND_S", 0.05)
    monkeypatch.setattr(OrganismService, "_tell_where", lambda _self: None)
    started: list[OrganismService] = []

    async def run() -> OrganismService:
        service = OrganismService({}, configured)
        await service.start()
        started.append(service)
        return service

    yield run
    for service in started:
        await service.stop()


@pytest.fixture
async def service(start: Start) -> OrganismService:
    return await start()


@pytest.fixture
def http(service: OrganismService) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(service.build_app()), base_url="http://test")


@pytest.fixture
async def up(http: httpx.AsyncClient) -> httpx.AsyncClient:
    assert (await http.post("/initialize")).status_code == 200
    return http


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def echo(value: Any = 1, **fields: Any) -> dict[str, Any]:
    return {"organ_id": "utility", "task": {"type": "echo", "params": {"value": value}}, **fields}


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
    }
    assert sorted(pool.hosts) == ["seedcore-host-ml-0", "seedcore-host-utility-0", "seedcore-host-utility-1"]
    health = await up.get("/health")
    assert (health.status_code, health.json()["organism_initialized"]) == (200, True)
    assert health.json()["organs"] == {"utility": "4/4", "ml": "1/1"}


async def test_initializing_again_changes_nothing(up: httpx.AsyncClient):
    before = (await up.get("/status")).json()
    assert (await up.post("/initialize")).json() == before


async def test_the_fleet_tells_who_lives_where_and_which_organ_runs_what(up: httpx.AsyncClient):
    fleet = (await up.get("/fleet")).json()
    assert fleet["skills"]["echo"] == "utility"
    utility = fleet["organs"]["utility"]
    assert utility["agents"] == [f"utility-{n:04d}" for n in range(4)]
    assert sorted(utility["hosts"]) == ["seedcore-host-utility-0", "seedcore-host-utility-1"]
    assert sorted(utility["host"]) == [0, 0, 1, 1]
    agents = (await up.get("/agents")).json()["items"]
    assert len(agents) == 5
    assert {"id": "ml-0000", "organ": "ml", "host": "seedcore-host-ml-0"} in agents
    route = (await up.post("/resolve-route", json={"type": "echo"})).json()
    assert route == {"type": "echo", "organ_id": "utility", "epoch": fleet["epoch"]}
    assert (await up.post("/resolve-route", json={"type": "nope"})).status_code == 404


async def test_who_knows_the_epoch_gets_a_short_answer(up: httpx.AsyncClient):
    epoch = (await up.get("/fleet")).json()["epoch"]
    assert (await up.get("/fleet", params={"epoch": epoch})).json() == {"epoch": epoch, "unchanged": True}
    assert "organs" in (await up.get("/fleet", params={"epoch": epoch - 1})).json()


async def test_an_organ_that_a_skill_names_and_the_file_lacks_is_told(organs_file: Path, http: httpx.AsyncClient):
    organs_file.write_text("organs: {utility: {agents: 1}}")
    status = (await http.post("/initialize")).json()
    assert "ml" in status["missing_organs"]


async def test_a_bad_organs_file_is_told_and_changes_nothing(up: httpx.AsyncClient, organs_file: Path):
    organs_file.write_text("organs: {utility: {agents: none}}")
    answer = await up.post("/initialize")
    assert answer.json()["code"] == "bad_setting"
    assert "organs.utility.agents" in answer.json()["detail"]
    assert (await up.get("/health")).status_code == 200


async def test_a_host_that_does_not_come_up_is_named_and_tried_again(http: httpx.AsyncClient, pool: Pool):
    pool.refuse.add("seedcore-host-ml-0")
    answer = await http.post("/initialize")
    assert answer.status_code == 503
    assert "seedcore-host-ml-0" in answer.json()["detail"]
    host = (await http.get("/status")).json()["organs"]["ml"]["hosts"][0]
    assert (host["alive"], host["reason"]) == (False, "RuntimeError: no room")
    pool.refuse.clear()
    async with asyncio.timeout(10):
        while (await http.get("/health")).status_code != 200:
            await asyncio.sleep(0.02)


async def test_a_host_that_dies_comes_back_by_itself(up: httpx.AsyncClient, pool: Pool):
    dead = pool.hosts.pop("seedcore-host-ml-0")
    await until(lambda: pool.hosts.get("seedcore-host-ml-0") not in (None, dead))


async def test_a_restarted_replica_goes_on_by_itself(up: httpx.AsyncClient, service: OrganismService, start: Start):
    await service.stop()
    again = await start()
    await until(lambda: again._reconciler.complete)
    assert (await again.status()).organs.keys() == {"utility", "ml"}


async def test_a_fresh_replica_removes_what_a_changed_file_does_not_want(
    up: httpx.AsyncClient, service: OrganismService, start: Start, pool: Pool, organs_file: Path
):
    await service.stop()
    organs_file.write_text("organs: {utility: {agents: 1}}")
    await (await start()).initialize()
    assert list(pool.hosts) == ["seedcore-host-utility-0"]


async def test_stored_organs_that_do_not_fit_this_version_are_replaced(
    http: httpx.AsyncClient, service: OrganismService
):
    await service._store.save({"utility": {"from_the_future": 1}})
    assert (await http.post("/initialize")).status_code == 200


# -- one task now ------------------------------------------------------------------------------------------


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
    pool.refuse.add("seedcore-host-ml-0")
    del pool.hosts["seedcore-host-ml-0"]
    async with asyncio.timeout(10):
        while (await up.get("/health")).status_code == 200:
            await asyncio.sleep(0.02)
    body = {"organ_id": "ml", "task": {"type": "ml.predict", "params": {"name": "m", "features": [1]}}}
    answer = await up.post("/execute-on-organ", json=body)
    assert answer.status_code == 503
    assert "no living host" in answer.json()["detail"]
