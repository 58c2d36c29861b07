"""The State service over HTTP, on a real database."""

import asyncio
import json
import socket
import time

import httpx
import pytest
from pydantic import SecretStr

from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.fleet.agent_repository import AgentRepository
from seedcore.schemas.state import StateRequest, UnifiedState
from seedcore.settings import Settings, load_settings
from seedcore.state.service import StateService
from seedcore.state.sources import ClusterTotals, StateSources
from seedcore.state.unified_state import StateCollector
from seedcore.stores.postgres import Database
from seedcore.tasks.model import TaskSpec
from seedcore.tasks.submission.submit import submit
from tests.state.conftest import Save, execute, http_to, running

pytestmark = pytest.mark.integration

SECRET = "hunter2"
PARTS = ("agents", "organs", "system", "memory")


@pytest.fixture
async def lively(database: Database, save: Save) -> AgentRegistry:
    """Three agents of two organs, two tasks in the queue, one memory."""
    book = await save("utility", "h-0", ["u-0", "u-1"])
    await save("ml", "h-1", ["m-0"])
    async with database.connection() as connection:
        await submit(connection, [TaskSpec("echo", json.dumps({"value": n})) for n in range(2)])
    await execute(
        database,
        "insert into seedcore.flashbulbs (id, kind, salience, payload) values (gen_random_uuid(), 'x', 0.9, '{}')",
    )
    return book


@pytest.mark.usefixtures("lively")
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_unified_state_holds_every_part(http: httpx.AsyncClient, method: str):
    answer = await http.request(method, "/unified-state", json={} if method == "POST" else None)
    assert answer.status_code == 200
    state = answer.json()
    UnifiedState.model_validate(state)
    assert set(state) == {*PARTS, "ages", "collected_ms"}
    assert set(state["agents"]) == {"u-0", "u-1", "m-0"}
    assert {name: organ["agents"] for name, organ in state["organs"].items()} == {"utility": 2, "ml": 1}
    assert state["system"]["queues"]["default"]["ready"] == 2
    assert (state["system"]["running"], state["system"]["dispatchers"]) == (0, 0)
    assert "cluster" not in state["system"], "this process is connected to no Ray: nothing is known of nodes"
    memory = state["memory"]
    assert (memory["memories"], memory["facts"], memory["flashbulbs"]) == (0, 0, 1)
    assert memory.keys() == {"memories", "facts", "flashbulbs", "absent"}
    assert "REDIS_URL" in memory["absent"]["working"]
    assert state["collected_ms"] > 0
    assert all(0 <= state["ages"][part] < 10 for part in PARTS)


@pytest.mark.usefixtures("lively")
async def test_vectors_are_told_on_request_alone(http: httpx.AsyncClient, database: Database):
    await execute(database, "update seedcore.agents set roles = '{\"critic\": 0.25}' where id = 'u-0'")
    plain, full = [(await http.get(f"/unified-state?include_vectors={w}")) for w in ("false", "true")]
    assert "roles" not in plain.text
    assert full.json()["agents"]["u-0"]["roles"] == {"critic": 0.25}
    assert "roles" not in full.json()["agents"]["u-1"]
    assert plain.headers["etag"] != full.headers["etag"]


@pytest.mark.usefixtures("lively")
async def test_filters_choose_agents_and_organs(http: httpx.AsyncClient):
    ask = {"agent_ids": ["u-1", "nobody"], "organ_ids": ["utility"]}
    for answer in (await http.post("/unified-state", json=ask), await http.get("/unified-state", params=ask)):
        state = answer.json()
        assert set(state["agents"]) == {"u-1"}
        assert set(state["organs"]) == {"utility"}


@pytest.mark.usefixtures("lively")
@pytest.mark.parametrize("part", PARTS)
async def test_a_part_that_is_not_wanted_is_absent(http: httpx.AsyncClient, part: str):
    state = (await http.post("/unified-state", json={f"include_{part}": False})).json()
    assert part not in state
    assert part not in state["ages"]
    assert all(state[other] is not None for other in set(PARTS) - {part})


async def test_stores_that_are_silent_hold_up_no_state_and_their_counts_are_absent(
    pg_settings: Settings, database: Database
):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = pg_settings.model_copy(
            update={
                "redis_url": SecretStr(f"redis://:{SECRET}@127.0.0.1:{port}"),
                "mysql_dsn": SecretStr(f"mysql+mysqlconnector://u:{SECRET}@127.0.0.1:{port}/x"),
            }
        )
        sources = StateSources(settings, no_cluster)
        began = time.monotonic()
        answer = await StateCollector(sources).collect(StateRequest())
        assert time.monotonic() - began < 2.0
        memory = json.loads(answer.encode())["memory"]
        assert memory.items() >= {"memories": 0, "facts": 0}.items()
        assert set(memory["absent"]) == {"flashbulbs", "working"}
        assert SECRET not in str(memory)
        silent.close()
        await sources.aclose()


async def no_cluster() -> ClusterTotals:
    return {}


async def test_on_an_empty_database_the_state_is_empty_not_invented(http: httpx.AsyncClient):
    state = (await http.get("/unified-state")).json()
    assert (state["agents"], state["organs"]) == ({}, {})
    assert state["memory"].items() >= {"memories": 0, "facts": 0, "flashbulbs": 0}.items()
    assert state["system"]["queues"] == {}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"agent_ids": "u-0"}, "agent_ids"),
        ({"agents": []}, "agents"),
        ({"include_agents": "perhaps"}, "include_agents"),
        ({"max_age_s": -1}, "max_age_s"),
        ({"organ_ids": ["x" * 201]}, "organ_ids.0"),
    ],
)
async def test_a_wrong_filter_is_422_and_named(http: httpx.AsyncClient, body: dict, field: str):
    answer = await http.post("/unified-state", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.usefixtures("lively")
async def test_a_handle_gets_the_same_as_http(service: StateService, http: httpx.AsyncClient):
    ask = {"include_system": False}
    over_http = (await http.post("/unified-state", json=ask)).json()
    over_handle = await service.invoke("/unified-state", ask)
    for state in (over_http, over_handle):
        del state["collected_ms"]
        assert set(state.pop("ages")) == {"agents", "organs", "memory", "flashbulbs"}
        for agent in state["agents"].values():
            assert agent.pop("age_s") >= 0
    assert over_handle == over_http


async def test_what_was_committed_before_the_request_is_in_the_answer(
    http: httpx.AsyncClient, lively: AgentRegistry, database: Database
):
    for count in range(1, 20):
        lively.accept_one("u-0", "echo")
        await AgentRepository(database).save("h-0", lively)
        state = (await http.post("/unified-state", json={"agent_ids": ["u-0"], "include_system": False})).json()
        assert state["agents"]["u-0"]["running"] == count == state["organs"]["utility"]["running"]


async def test_the_tag_stays_while_nothing_changes_and_is_another_after_a_change(
    http: httpx.AsyncClient, lively: AgentRegistry, database: Database
):
    path = "/unified-state?include_system=false"
    first = await http.get(path)
    tag = first.headers["etag"]
    assert tag.startswith('W/"')
    again = await http.get(path, headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert (await http.get(path, headers={"If-None-Match": '"other"'})).status_code == 200
    filtered = await http.get(path + "&agent_ids=m-0", headers={"If-None-Match": tag})
    assert filtered.status_code == 200
    lively.accept_one("u-0", "echo")
    await AgentRepository(database).save("h-0", lively)
    changed = await http.get(path, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["agents"]["u-0"]["running"]) == (200, 1)
    assert changed.headers["etag"] != tag


async def test_replicas_agree_on_the_state_and_on_its_tag(
    pg_settings: Settings, lively: AgentRegistry, database: Database
):
    path = "/unified-state?include_system=false"
    async with running(pg_settings) as one, running(pg_settings) as other:
        await http_to(one).get(path)
        for _ in range(3):
            lively.accept_one("u-0", "echo")
            await AgentRepository(database).save("h-0", lively)
            await http_to(one).get(path)
        answers = [await http_to(replica).get(path) for replica in (one, other)]
        # One that has just been started has never seen what was there before.
        async with running(pg_settings) as late:
            answers.append(await http_to(late).get(path))
    assert len({answer.headers["etag"] for answer in answers}) == 1
    for state in (states := [answer.json() for answer in answers]):
        for agent in state["agents"].values():
            del agent["age_s"]
        assert state["agents"] == states[0]["agents"]
        assert state["organs"] == states[0]["organs"]


@pytest.mark.usefixtures("lively")
async def test_many_requests_at_once_share_their_reads(
    service: StateService, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    reads = 0
    read = service._sources.view.read

    async def counted():
        nonlocal reads
        reads += 1
        return await read()

    monkeypatch.setattr(service._sources.agents, "_read", counted)
    answers = await asyncio.gather(*[http.get("/unified-state") for _ in range(50)])
    assert {answer.status_code for answer in answers} == {200}
    assert reads < 25


@pytest.mark.usefixtures("lively")
async def test_while_the_database_is_away_the_last_known_is_told_marked_and_only_for_so_long(
    service: StateService, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    before = await http.get("/unified-state")

    async def away() -> None:
        raise ConnectionRefusedError(SECRET)

    for part in (service._sources.agents, service._sources.system):
        monkeypatch.setattr(part, "_read", away)
    answer = await http.get("/unified-state?max_age_s=3600")
    state = answer.json()
    assert (answer.status_code, set(state["stale"])) == (200, {"agents", "organs", "system"})
    assert set(state["agents"]) == set(before.json()["agents"])
    assert state["ages"]["agents"] > before.json()["ages"]["agents"]
    assert answer.headers["etag"] != before.headers["etag"]
    refused = await http.get("/unified-state?max_age_s=0")
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert SECRET not in answer.text + refused.text
    health = (await http.get("/health")).json()
    assert health["failed_reads"]["agents"] >= 1


async def test_health_follows_the_database(http: httpx.AsyncClient, settings: Settings):
    answer = await http.get("/health")
    assert (answer.status_code, answer.json()["postgres"]["ready"]) == (200, True)
    away = load_settings(data_dir=settings.data_dir, pg_dsn=f"postgresql://u:{SECRET}@127.0.0.1:1/x")
    async with running(away) as service:
        client = http_to(service)
        answer, state = await asyncio.gather(client.get("/health"), client.get("/unified-state"))
        assert (answer.status_code, answer.json()["postgres"]["ready"]) == (503, False)
        assert (state.status_code, state.json()["code"]) == (503, "unavailable")
        assert SECRET not in answer.text + state.text
