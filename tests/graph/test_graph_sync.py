"""The sync over a real Bolt server: it catches up, whatever happened, and doing it twice changes nothing."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from seedcore.errors import DeadlineError, NotConfiguredError, UnavailableError
from seedcore.graph import graph_sync, outbox, repository
from seedcore.graph.changes import Change, write_of
from seedcore.graph.graph_sync import GraphSync, wait_until_synced
from seedcore.graph.graph_write import GraphWrite, NodeRow
from seedcore.settings import Settings
from seedcore.stores.embedded import embedded_bolt
from seedcore.stores.neo4j import bolt_address
from seedcore.stores.postgres import Database

pytestmark = pytest.mark.integration

AGENTS = (
    "insert into seedcore.agents (id, organ, host) select 'a' || n, 'utility', 'h' from generate_series(1, $1::int) n"
)


async def execute(database: Database, statement: str, *args: object) -> None:
    async with database.connection() as connection:
        await connection.execute(statement, *args)


async def start(database: Database) -> None:
    async with database.connection() as connection:
        await outbox.start(connection)


async def agents(sync: GraphSync) -> set[str]:
    rows = await sync.store.read("MATCH (n:Agent)-[:BELONGS_TO]->(o:Organ) RETURN n.name AS name")
    return {row["name"] for row in rows}


async def content(sync: GraphSync) -> tuple[list[object], list[object]]:
    nodes = await sync.store.read("MATCH (n:Entity) RETURN properties(n) AS p ORDER BY n.id")
    edges = await sync.store.read(
        "MATCH (a:Entity)-[r]->(b:Entity) RETURN type(r) AS t, properties(r) AS p ORDER BY r._key"
    )
    return nodes, edges


async def test_until_its_first_use_changes_wait_and_no_server_is_asked(sync: GraphSync, database: Database) -> None:
    await execute(database, AGENTS, 3)
    await sync.round()
    assert sync.store._driver is None
    async with database.connection() as connection:
        assert (await outbox.read_state(connection)).pending == 3


async def test_the_first_use_brings_what_was_there_before_the_outbox(sync: GraphSync, database: Database) -> None:
    await execute(database, AGENTS, 3)
    await execute(database, "delete from seedcore.graph_changes")
    await start(database)
    await sync.round()
    assert await agents(sync) == {"a1", "a2", "a3"}


async def test_applying_again_changes_nothing(sync: GraphSync, database: Database) -> None:
    await execute(database, AGENTS, 5)
    await execute(
        database, "insert into seedcore.facts (subject, predicate, object, text) values ('a', 'is', 'b', 'a b')"
    )
    await start(database)
    await sync.round()
    before = await content(sync)
    async with database.connection() as connection:
        await outbox.refill(connection)
        changes, _ = await outbox.pending(connection, 100)
    seqs = {
        change.key: node["p"]["seq"]
        for change in changes
        for node in before[0]
        if node["p"]["id"].endswith(f":{change.key}")
    }
    again = write_of([Change(seqs[c.key], c.kind, c.key, c.payload) for c in changes])
    await sync.store.apply(again)
    await sync.store.apply(again)
    assert await content(sync) == before


async def test_a_leader_that_was_paused_does_not_write_old_news(sync: GraphSync) -> None:
    old, new = (write_of([Change(n, "agent", "a", {"organ": organ})]) for n, organ in ((5, "old"), (9, "new")))
    await sync.store.apply(new)
    await sync.store.apply(old)
    found = await sync.store.read("MATCH (n:Agent)-[:BELONGS_TO]->(o:Organ) RETURN n.seq AS seq, o.name AS organ")
    assert {"seq": 9, "organ": "new"} in found
    assert found[0]["seq"] == 9


async def test_an_agent_that_moved_belongs_to_one_organ(sync: GraphSync) -> None:
    for n, organ in ((1, "old"), (2, "new")):
        await sync.store.apply(write_of([Change(n, "agent", "a", {"organ": organ})]))
    assert await sync.store.read("MATCH (n:Agent)-[:BELONGS_TO]->(o:Organ) RETURN o.name AS organ") == [
        {"organ": "new"}
    ]


async def test_more_than_a_batch_is_applied_in_one_round(
    sync: GraphSync, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_sync, "BATCH", 10)
    await execute(database, AGENTS, 35)
    await start(database)
    await sync.round()
    assert len(await agents(sync)) == 35


async def test_a_graph_that_lost_its_content_is_filled_again(sync: GraphSync, database: Database) -> None:
    await execute(database, AGENTS, 3)
    await start(database)
    await sync.round()
    await sync.store.read("MATCH (n:Entity) DETACH DELETE n RETURN count(n) AS gone")
    other = GraphSync(sync._settings, Database(sync._settings, size=1))
    await other.round()
    await other.stop()
    assert await agents(sync) == {"a1", "a2", "a3"}


async def test_a_database_from_an_older_backup_goes_on_where_the_graph_is(sync: GraphSync, database: Database) -> None:
    await sync.store.apply(write_of([Change(10_000, "agent", "a1", {"organ": "lost"})]))
    mark = GraphWrite()
    mark.put(NodeRow(repository.MARK, "Mark", 10_000, {"tenant": ""}))
    await sync.store.apply(mark)
    await execute(database, AGENTS, 1)
    await start(database)
    await sync.round()
    assert await sync.store.read("MATCH (n:Agent)-[:BELONGS_TO]->(o:Organ) RETURN o.name AS organ") == [
        {"organ": "utility"}
    ]


async def test_a_killed_embedded_server_comes_back_and_the_outbox_catches_up(
    sync: GraphSync, database: Database, graph_settings: Settings
) -> None:
    await start(database)
    await sync.round()
    os.kill(int(str(embedded_bolt(graph_settings).status()["pid"])), signal.SIGKILL)
    await execute(database, AGENTS, 4)
    async with asyncio.timeout(50):
        while True:
            try:
                await sync.round()
                if len(await agents(sync)) == 4:
                    break
            except UnavailableError:
                sync._not_before = 0.0


class Wire:
    """A way to a Bolt server that can be cut and held up."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target, self.open, self.flows = target, True, asyncio.Event()
        self.flows.set()
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        self.open = False
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.open:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(*self.target)
        self._writers |= {writer, back}
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer), return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self.flows.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def wired(settings: Settings, password: str | None = None) -> AsyncIterator[tuple[Wire, GraphSync]]:
    """A sync to a server by NEO4J_URI, through a wire."""
    uri, (user, known) = bolt_address(settings)
    host, _, port = uri.removeprefix("bolt://").partition(":")
    wire = Wire((host, int(port)))
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    mine = server.sockets[0].getsockname()[1]
    remote = {"neo4j_uri": f"bolt://127.0.0.1:{mine}", "neo4j_user": user, "neo4j_password": password or known}
    given = Settings.model_validate({**settings.model_dump(), **remote})
    sync = GraphSync(given, Database(given, size=1))
    try:
        yield wire, sync
    finally:
        await sync.stop()
        wire.cut()
        server.close()


async def test_a_server_that_is_away_and_comes_back_gets_everything(
    graph_settings: Settings, database: Database
) -> None:
    async with wired(graph_settings) as (wire, sync):
        await sync.round()
        wire.cut()
        await execute(database, AGENTS, 4)
        with pytest.raises(UnavailableError):
            await sync.round()
        async with database.connection() as connection:
            state = await outbox.read_state(connection)
        assert state.health(continuous=True)["status"] == "failing"
        assert state.pending == 4
        await sync.round()  # It waits longer after each failure, and asks nothing meanwhile.
        wire.open, sync._not_before = True, 0.0
        await sync.round()
        assert len(await agents(sync)) == 4
        async with database.connection() as connection:
            assert (await outbox.read_state(connection)).failing is None


async def test_a_server_that_answers_no_more_ends_with_its_time_limit(
    graph_settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wired(graph_settings) as (wire, sync):
        await sync.round()
        await execute(database, AGENTS, 2)
        monkeypatch.setattr(repository, "WRITE_S", 0.5)
        monkeypatch.setattr(repository, "READ_S", 0.5)
        wire.flows.clear()
        async with asyncio.timeout(10):
            with pytest.raises(DeadlineError):
                await sync.round()
        wire.flows.set()
        sync._not_before = 0.0
        monkeypatch.undo()
        await sync.round()
        assert len(await agents(sync)) == 2


async def test_a_wrong_password_is_said_and_not_tried_at_once_again(
    graph_settings: Settings, database: Database
) -> None:
    async with wired(graph_settings, "wrong-password") as (_, sync):
        with pytest.raises(NotConfiguredError, match="NEO4J_PASSWORD"):
            await sync.round()
        async with database.connection() as connection:
            state = await outbox.read_state(connection)
        assert "NEO4J_PASSWORD" in str(state.failing)
        assert "wrong-password" not in str(state.failing)
        await sync.round()
        with pytest.raises(UnavailableError, match="NEO4J_PASSWORD"):
            await wait_until_synced(database, sync._settings, 5)


async def test_nothing_listens_where_neo4j_should_be(graph_settings: Settings, database: Database) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = Settings.model_validate({**graph_settings.model_dump(), "neo4j_uri": f"bolt://127.0.0.1:{port}"})
    sync = GraphSync(given, Database(given, size=1))
    async with asyncio.timeout(30):
        with pytest.raises(UnavailableError):
            await sync.round()
    await sync.stop()


async def test_without_a_worker_that_syncs_a_task_ends_with_what_to_do(database: Database, settings: Settings) -> None:
    without = Settings.model_validate({**settings.model_dump(), "graph_dispatchers": 0})
    with pytest.raises(NotConfiguredError, match="SEEDCORE_GRAPH_DISPATCHERS"):
        await wait_until_synced(database, without, 0.1)


async def test_the_leader_keeps_the_graph_up_to_date(
    sync: GraphSync, database: Database, graph_settings: Settings
) -> None:
    sync.start()
    await execute(database, AGENTS, 3)
    await wait_until_synced(database, graph_settings, 40)
    assert await agents(sync) == {"a1", "a2", "a3"}
    assert sync.status()["leads"] is True
