"""Followers of the state: a snapshot, then what changes, and nothing twice or never."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.fleet.agent_repository import AgentRepository
from seedcore.schemas.state import StreamRequest
from seedcore.settings import Settings
from seedcore.state import state_stream as module
from seedcore.state.service import StateService
from seedcore.stores.postgres import Database
from seedcore.stores.resume_point import Snapshot
from seedcore.tasks.model import TaskSpec
from seedcore.tasks.submission.submit import submit
from tests.state.conftest import Save, execute, running

pytestmark = pytest.mark.integration

DEADLINE_S = 30


class Follower:
    """What a stream tells, put together as a client would."""

    def __init__(self, service: StateService, since: str | None = None, **request: Any) -> None:
        self._service, self._request = service, StreamRequest(**request)
        self._since = since
        self.events: list[str] = []
        self.last_id = since
        self.agents: dict[str, Any] = {}
        self.organs: dict[str, Any] = {}
        self.system: dict[str, Any] = {}
        self.stale: dict[str, str] = {}

    async def __aenter__(self) -> "Follower":
        since = Snapshot.parse(self._since) if self._since else None
        self._events = await self._service._stream.open(self._request, since)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._events.aclose()

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_S):
            event = await anext(self._events)
        self.events.append(event["event"])
        self.last_id = event["id"]
        data = json.loads(event["data"])
        self.agents |= data.get("agents", {})
        self.organs |= data.get("organs", {})
        self.system |= data.get("system", {})
        self.stale = data.get("stale", self.stale)
        for gone in data.get("gone_agents", ()):
            self.agents.pop(gone, None)
        for gone in data.get("gone_organs", ()):
            self.organs.pop(gone, None)
        return data

    async def until(self, agent: str, running: int) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while self.agents.get(agent, {}).get("running") != running:
                await self.next()


@pytest.fixture
async def book(save: Save) -> AgentRegistry:
    return await save("utility", "h-0", ["u-0", "u-1"])


async def change(database: Database, book: AgentRegistry, agent: str = "u-0") -> None:
    book.accept_one(agent, "echo")
    await AgentRepository(database).save("h-0", book)


async def test_a_stream_begins_with_a_snapshot_and_goes_on_with_what_changed(
    service: StateService, database: Database, book: AgentRegistry
):
    async with Follower(service) as follower:
        await follower.next()
        assert follower.events == ["snapshot"]
        assert set(follower.agents) == {"u-0", "u-1"}
        await change(database, book)
        data = await follower.next()
        while "agents" not in data:
            data = await follower.next()
        assert set(follower.events) == {"snapshot", "delta"}
        assert set(data["agents"]) == {"u-0"}, "only what changed"
        assert data["organs"]["utility"]["running"] == 1
        async with database.connection() as connection:
            await submit(connection, [TaskSpec("echo", "{}")])
        async with asyncio.timeout(DEADLINE_S):
            while not follower.system["queues"]:
                await follower.next()


async def test_what_changes_often_is_told_once_a_tick(service: StateService, database: Database, book: AgentRegistry):
    async with Follower(service, include_system=False) as follower:
        await follower.next()
        for _ in range(30):
            await change(database, book)
        await follower.until("u-0", 30)
        assert len(follower.events) <= 1 + 30
        # A reader that does not read costs nothing, and is told the sum when it reads again.
        for _ in range(30):
            await change(database, book, "u-1")
        tick = service._stream._tick
        async with asyncio.timeout(DEADLINE_S):
            await tick.wait()
            await service._stream._tick.wait()
        data = await follower.next()
        assert data["agents"]["u-1"]["running"] == 30


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_reader_that_comes_back_is_told_what_it_missed(
    pg_settings: Settings, service: StateService, database: Database, book: AgentRegistry, elsewhere: bool
):
    async with Follower(service) as follower:
        await follower.next()
        last = follower.last_id
    await change(database, book, "u-1")
    async with contextlib.AsyncExitStack() as stack:
        replica = await stack.enter_async_context(running(pg_settings)) if elsewhere else service
        back = await stack.enter_async_context(Follower(replica, since=last))
        data = await back.next()
        assert back.events == ["delta"]
        assert set(data["agents"]) == {"u-1"}
        assert (data["organs"]["utility"]["running"], "queues" in data["system"]) == (1, True)


async def test_a_late_commit_is_told_to_who_stood_before_and_after_it(
    service: StateService, database: Database, book: AgentRegistry
):
    connection = await database.connect()
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("update seedcore.agents set running = 7 where id = 'u-1'")
    async with Follower(service, include_system=False) as follower:
        await follower.next()
        await change(database, book)
        await follower.until("u-0", 1)
        last = follower.last_id
        await transaction.commit()
        await connection.close()
        await follower.until("u-1", 7)
    async with Follower(service, since=last, include_system=False) as back:
        await back.until("u-1", 7)
        assert set(back.agents) == {"u-1"}


async def test_an_agent_that_lives_nowhere_any_more_is_gone_also_for_who_comes_back(
    service: StateService, database: Database, book: AgentRegistry
):
    async with Follower(service, include_system=False) as follower:
        await follower.next()
        last = follower.last_id
        await execute(database, "update seedcore.agents set host = '' where id = 'u-1'")
        async with asyncio.timeout(DEADLINE_S):
            while set(follower.agents) != {"u-0"}:
                await follower.next()
        assert follower.organs["utility"]["agents"] == 1
    async with Follower(service, since=last, include_system=False) as back:
        assert (await back.next())["gone_agents"] == ["u-1"]


@pytest.mark.usefixtures("book")
async def test_a_place_of_another_database_gets_a_snapshot(service: StateService):
    async with Follower(service, since="9000000000:9000000000:") as follower:
        await follower.next()
        assert follower.events == ["snapshot"]


@pytest.mark.usefixtures("book")
async def test_parts_that_are_not_wanted_are_never_told(service: StateService):
    async with Follower(service, include_agents=False, include_system=False) as follower:
        data = await follower.next()
        assert set(data) == {"organs", "ages", "collected_ms"}


async def test_while_a_source_fails_followers_are_told_so_and_told_when_it_is_back(
    service: StateService, database: Database, book: AgentRegistry, monkeypatch: pytest.MonkeyPatch
):
    async with Follower(service) as follower:
        await follower.next()
        with monkeypatch.context() as patched:

            async def away() -> None:
                raise ConnectionRefusedError

            patched.setattr(service._sources.agents, "_read", away)
            async with asyncio.timeout(DEADLINE_S):
                while set(follower.stale) != {"agents"}:
                    await follower.next()
        await change(database, book)
        await follower.until("u-0", 1)
        assert follower.stale == {}


@pytest.mark.usefixtures("book")
async def test_streams_are_counted_limited_and_closed(service: StateService, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_FOLLOWERS", 1)
    async with Follower(service) as follower:
        await follower.next()
        assert service._stream.followers == 1
        with pytest.raises(module.OverloadedError):
            await service._stream.open(StreamRequest(), None)
    assert service._stream.followers == 0
    monkeypatch.setattr(module, "MAX_STREAM_BYTES", 1)
    async with Follower(service) as follower:
        await follower.next()
        with pytest.raises(StopAsyncIteration):
            await follower.next()
    assert service._stream.followers == 0


@contextlib.asynccontextmanager
async def over_http(service: StateService) -> AsyncIterator[str]:
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(service.build_app(), port=0, lifespan="off", log_level="error"))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(DEADLINE_S):
        while not server.started:
            await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


async def test_over_http_a_reader_that_leaves_is_noticed(
    service: StateService, database: Database, book: AgentRegistry
):
    async with over_http(service) as url, httpx.AsyncClient(base_url=url, timeout=DEADLINE_S) as client:
        async with client.stream("GET", "/stream?include_system=false") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.aiter_lines()
            first = [await anext(lines) for _ in range(3)]
            assert [line.partition(": ")[0] for line in first] == ["id", "event", "data"]
            assert first[1] == "event: snapshot"
            Snapshot.parse(first[0].removeprefix("id: "))
            await change(database, book)
            second = [line async for line in _until_empty(lines)]
            assert any('"u-0"' in line for line in second)
            assert service._stream.followers == 1
        async with asyncio.timeout(DEADLINE_S):
            while service._stream.followers:
                await asyncio.sleep(0.01)
        wrong = await client.get("/stream", headers={"Last-Event-ID": "7"})
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "Last-Event-ID")
        for unknown in ("", "900000000:900000000:"):
            headers = {"Last-Event-ID": unknown}
            async with client.stream("GET", "/stream?include_system=false", headers=headers) as answer:
                lines = answer.aiter_lines()
                assert [await anext(lines) for _ in range(2)][1] == "event: snapshot"


async def _until_empty(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    began = False
    async for line in lines:
        if line:
            began = True
            yield line
        elif began:
            return
