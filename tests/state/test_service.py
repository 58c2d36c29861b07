"""The State service over HTTP, on a real database."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from seedcore.organism.agent_store import AgentStore
from seedcore.organism.agents import AgentBook
from seedcore.settings import Settings, load_settings
from seedcore.state.service import StateService
from seedcore.stores.postgres import Database
from seedcore.tasks.model import NewTask
from seedcore.tasks.submit import submit

pytestmark = pytest.mark.integration

SECRET = "hunter2"


@pytest.fixture
async def service(pg_settings: Settings) -> AsyncIterator[StateService]:
    made = StateService({}, pg_settings)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def http(service: StateService) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(service.build_app()), base_url="http://test")


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    made = Database(pg_settings)
    yield made
    await made.aclose()


@pytest.fixture
async def lively(database: Database) -> None:
    """Three agents of two organs, two tasks in the queue, one memory."""
    store = AgentStore(database)
    await store.save("h-0", AgentBook("utility", ["u-0", "u-1"]))
    await store.save("h-1", AgentBook("ml", ["m-0"]))
    async with database.connection() as connection:
        await submit(connection, [NewTask("echo", json.dumps({"value": n})) for n in range(2)])
        await connection.execute(
            "insert into seedcore.flashbulbs (id, kind, salience, payload) values (gen_random_uuid(), 'x', 0.9, '{}')"
        )


@pytest.mark.usefixtures("lively")
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_unified_state_holds_every_part(http: httpx.AsyncClient, method: str):
    answer = await http.request(method, "/unified-state", json={} if method == "POST" else None)
    assert answer.status_code == 200
    state = answer.json()
    assert set(state) == {"agents", "organs", "system", "memory", "collected_ms"}
    assert set(state["agents"]) == {"u-0", "u-1", "m-0"}
    assert {name: organ["agents"] for name, organ in state["organs"].items()} == {"utility": 2, "ml": 1}
    assert state["system"]["queues"]["default"]["ready"] == 2
    assert (state["system"]["running"], state["system"]["dispatchers"]) == (0, 0)
    assert state["memory"] == {"flashbulbs": 1}
    assert state["collected_ms"] > 0


@pytest.mark.usefixtures("lively")
async def test_filters_choose_agents_and_organs(http: httpx.AsyncClient):
    state = (await http.post("/unified-state", json={"agent_ids": ["u-1", "nobody"], "organ_ids": ["utility"]})).json()
    assert set(state["agents"]) == {"u-1"}
    assert set(state["organs"]) == {"utility"}


@pytest.mark.usefixtures("lively")
@pytest.mark.parametrize("part", ["agents", "organs", "system", "memory"])
async def test_a_part_that_is_not_wanted_is_absent(http: httpx.AsyncClient, part: str):
    state = (await http.post("/unified-state", json={f"include_{part}": False})).json()
    assert state.get(part) is None
    assert all(state[other] is not None for other in {"agents", "organs", "system", "memory"} - {part})


async def test_on_an_empty_database_the_state_is_empty_not_invented(http: httpx.AsyncClient):
    state = (await http.get("/unified-state")).json()
    assert (state["agents"], state["organs"], state["memory"]) == ({}, {}, {"flashbulbs": 0})
    assert state["system"]["queues"] == {}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"agent_ids": "u-0"}, "agent_ids"),
        ({"agents": []}, "agents"),
        ({"include_agents": "perhaps"}, "include_agents"),
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
        for agent in state["agents"].values():
            assert agent.pop("age_s") >= 0
    assert over_handle == over_http


async def test_two_replicas_agree(pg_settings: Settings, service: StateService, database: Database):
    other = StateService({}, pg_settings)
    await other.start()
    await AgentStore(database).save("h-0", AgentBook("utility", ["u-0"]))
    ask = {"include_system": False}
    for replica in (service, other):
        assert set((await replica.invoke("/unified-state", ask))["agents"]) == {"u-0"}
    await other.stop()


async def test_health_follows_the_database(http: httpx.AsyncClient, settings: Settings):
    answer = await http.get("/health")
    assert (answer.status_code, answer.json()["postgres"]["ready"]) == (200, True)
    away = StateService({}, load_settings(data_dir=settings.data_dir, pg_dsn=f"postgresql://u:{SECRET}@127.0.0.1:1/x"))
    await away.start()
    client = httpx.AsyncClient(transport=httpx.ASGITransport(away.build_app()), base_url="http://test")
    answer = await client.get("/health")
    assert (answer.status_code, answer.json()["postgres"]["ready"]) == (503, False)
    assert SECRET not in answer.text
    await away.stop()
