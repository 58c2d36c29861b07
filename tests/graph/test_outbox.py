"""What triggers write for the graph, in the transaction that changed the thing, and how it stays small."""

import json
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from seedcore.graph import outbox
from seedcore.graph.changes import SEPARATOR, EndedSum
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.tasks import leases, sessions
from seedcore.tasks.model import Outcome, Status, TaskSpec
from seedcore.tasks.submission.submit import submit

pytestmark = pytest.mark.integration


@pytest.fixture
async def connection(pg_settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    database = Database(pg_settings, size=1)
    async with database.connection() as connection:
        yield connection
    await database.aclose()


async def kinds(connection: asyncpg.Connection) -> list[tuple[str, str]]:
    changes, _ = await outbox.pending(connection, 1000)
    return [(change.kind, change.key) for change in changes]


async def ended(connection: asyncpg.Connection, n: int, status: Status, code: str | None = None) -> None:
    """Submit, claim and end tasks, all in one batch."""
    session = uuid4()
    await sessions.open_session(connection, session, "w", "default", 60)
    await submit(connection, [TaskSpec("echo", "{}", tenant="acme") for _ in range(n)])
    claimed = await leases.claim(connection, "default", session, n)
    source = ("acme", "echo", "utility-0001")
    outcomes = [
        Outcome(c.id, c.token, status, error_code=code, error_message=code and "x", counts_for=source) for c in claimed
    ]
    lost = Outcome(uuid4(), 1, status, error_code=code, counts_for=source)
    assert len(await leases.finish(connection, [*outcomes, lost])) == n


async def test_a_change_that_is_rolled_back_leaves_nothing(connection: asyncpg.Connection) -> None:
    insert = "insert into seedcore.agents (id, organ, host) values ('a', 'utility', 'h')"
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(insert)
    await transaction.rollback()
    assert await kinds(connection) == []
    await connection.execute(insert)
    assert await kinds(connection) == [("agent", "a")]


async def test_only_what_the_graph_shows_of_an_agent_is_a_change(connection: asyncpg.Connection) -> None:
    await connection.execute("insert into seedcore.agents (id, organ, host) values ('a', 'utility', 'h')")
    await connection.execute("update seedcore.agents set completed = 5, queued_s = 1, organ = organ")
    assert len(await kinds(connection)) == 1
    await connection.execute("update seedcore.agents set lifecycle = 'employed'")
    changes, _ = await outbox.pending(connection, 10)
    assert changes[-1].payload == {"organ": "utility", "lifecycle": "employed"}


async def test_ended_tasks_are_one_row_a_batch_and_their_sums_only_what_was_accepted(
    connection: asyncpg.Connection,
) -> None:
    await ended(connection, 7, Status.COMPLETED)
    await ended(connection, 3, Status.COMPLETED)
    assert await connection.fetchval("select count(*) from seedcore.graph_changes where kind = 'ended'") == 2
    assert await outbox.fold(connection) == 1
    _, sums = await outbox.pending(connection, 10)
    assert [(s.tenant, s.type, s.agent, s.code, s.n) for s in sums] == [("acme", "echo", "utility-0001", "", 10)]
    assert 0 < sums[0].seconds < 60
    assert await connection.fetchval("select count(*) from seedcore.graph_changes") == 0


async def test_failed_tasks_are_dead_letters_in_one_row_and_leave_it_when_they_run_again(
    connection: asyncpg.Connection,
) -> None:
    await ended(connection, 3, Status.FAILED, "timeout")
    changes, _ = await outbox.pending(connection, 10)
    assert [change.kind for change in changes] == ["dead"]
    assert {(d["type"], d["tenant"], d["code"]) for d in changes[0].payload} == {("echo", "acme", "timeout")}
    assert len(changes[0].payload) == 3
    await connection.execute("delete from seedcore.dead")
    changes, _ = await outbox.pending(connection, 10)
    assert (changes[-1].kind, len(changes[-1].payload)) == ("not_dead", 3)


async def test_what_waits_is_one_change_a_thing_however_often_it_changed(connection: asyncpg.Connection) -> None:
    for version in range(1, 6):
        await connection.execute(
            "insert into seedcore.model_aliases (name, alias, version) values ('m', 'champion', $1) "
            "on conflict (name, alias) do update set version = excluded.version", version
        )  # fmt: skip
    await ended(connection, 2, Status.COMPLETED)
    assert await outbox.tidy(connection) == 4
    changes, sums = await outbox.pending(connection, 10)
    assert [(c.kind, c.key, c.payload["version"]) for c in changes] == [("alias", f"m{SEPARATOR}champion", 5)]
    assert sum(s.n for s in sums) == 2


async def test_over_its_bound_the_oldest_go_and_the_tables_are_read_again(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "insert into seedcore.agents (id, organ, host) select 'a' || n, 'o', 'h' from generate_series(1, 30) n"
    )
    await connection.execute("update seedcore.graph_state set refill = false")
    assert await connection.fetchval("select seedcore.graph_tidy(10, 10)") == 20
    assert (await outbox.read_state(connection)).refill
    assert await outbox.refill(connection) == 30
    assert {key for _, key in await kinds(connection)} == {f"a{n}" for n in range(1, 31)}
    assert not (await outbox.read_state(connection)).refill


async def test_over_their_bound_sums_of_new_agents_are_one(connection: asyncpg.Connection) -> None:
    await connection.execute("analyze seedcore.graph_sums")
    for agent in ("a", "b", "c"):
        label = {"tenant": "t", "type": "echo", "agent": agent, "code": "", "n": 1, "seconds": 1.0}
        await connection.execute("select seedcore.graph_ended($1::jsonb)", json.dumps([label]))
        await connection.execute("select seedcore.graph_fold(1)")
        await connection.execute("analyze seedcore.graph_sums")
    _, sums = await outbox.pending(connection, 10)
    assert {(s.agent, s.n) for s in sums} == {("a", 1), ("", 2)}


async def test_a_sum_that_grows_while_it_is_applied_comes_again(connection: asyncpg.Connection) -> None:
    await ended(connection, 2, Status.COMPLETED)
    await outbox.fold(connection)
    changes, sums = await outbox.pending(connection, 10)
    await ended(connection, 1, Status.COMPLETED)
    await outbox.fold(connection)
    await outbox.taken(connection, changes, sums)
    _, again = await outbox.pending(connection, 10)
    assert [s.n for s in again] == [3]
    await outbox.taken(connection, [], again)
    assert await outbox.pending(connection, 10) == ([], [])


async def test_lag_is_the_age_of_the_oldest_change(connection: asyncpg.Connection) -> None:
    state = await outbox.read_state(connection)
    assert (state.pending, state.lag_s) == (0, 0)
    assert state.health(continuous=False)["status"] == "unused"
    await connection.execute(
        "insert into seedcore.graph_changes (kind, key, payload, at) "
        "values ('agent', 'a', '{}', now() - interval '1 min')"
    )
    state = await outbox.read_state(connection)
    assert state.pending == 1
    assert 59 < state.lag_s < 70
    assert state.health(continuous=True)["status"] == "behind"
    await outbox.failed(connection, "away")
    state = await outbox.read_state(connection)
    assert state.health(continuous=True) == {"status": "failing", "lag_s": 60.0, "pending": 1, "reason": "away"}


async def test_a_refill_brings_all_sums_again(
    connection: asyncpg.Connection,
) -> None:
    await ended(connection, 2, Status.COMPLETED)
    await outbox.fold(connection)
    await outbox.taken(connection, *await outbox.pending(connection, 10))
    await outbox.refill(connection)
    _, sums = await outbox.pending(connection, 10)
    assert sums == [EndedSum("acme", "echo", "utility-0001", "", 2, sums[0].seconds)]
