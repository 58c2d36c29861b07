"""What becomes of a lost worker's leases, by what its process has left; never twice, and before any reaper."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.tasks import leases, queries, reaping, sessions
from seedcore.tasks.model import Lease, Limit, StepSpec, new_id
from seedcore.tasks.plans import repository as plans
from seedcore.tasks.recovery import lost_leases
from seedcore.tasks.recovery.lost_leases import LastSession, TakenBack
from tests.tasks.engine_support import claim, done, submitted, task

pytestmark = pytest.mark.integration


def keys(of: Sequence[Lease]) -> set[tuple[UUID, int]]:
    return {(lease.id, lease.token) for lease in of}


async def opened(connection: asyncpg.Connection, actor: str = "a") -> UUID:
    session = uuid4()
    await sessions.open_session(connection, session, "w", "default", 60, actor)
    return session


async def restart(
    connection: asyncpg.Connection, last: UUID, begun: Sequence[Lease] = (), pause_s: float = 3600.0
) -> tuple[UUID, TakenBack]:
    """Open the session of the next process of the same actor; what was taken back."""
    session, left = uuid4(), LastSession(last, keys(begun), lambda _type, _attempt: pause_s)
    return session, await sessions.open_session(connection, session, "w", "default", 60, "a", left)


async def test_what_had_not_begun_is_ready_at_once_and_its_history_says_so(connection: asyncpg.Connection):
    (task_id,) = await submitted(connection, task(priority=7))
    before = await opened(connection)
    (lease,) = await claim(connection, before)
    after, taken = await restart(connection, before)
    assert taken == TakenBack(uncounted=1)
    event = (await queries.events_of(connection, task_id))[-1]
    assert (event.event, event.data["code"], event.data["counted"]) == ("retried", "lease_expired", False)
    (again,) = await claim(connection, after)
    assert (again.id, again.attempt, again.priority) == (task_id, 1, 7)
    assert await leases.finish(connection, [done(lease)]) == set()
    assert await leases.finish(connection, [done(again)]) == {task_id}


async def test_what_had_begun_is_retried_after_its_skills_own_pause(
    connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    (task_id,) = await submitted(connection, task())
    before = await opened(connection)
    begun = await claim(connection, before)
    _, taken = await restart(connection, before, begun, pause_s=500.0)
    assert taken == TakenBack(retried=1)
    due_s = await connection.fetchval("select extract(epoch from run_at - now()) from seedcore.deferred")
    assert 495 < due_s <= 500
    event = (await queries.events_of(connection, task_id))[-1]
    assert (event.event, event.data["code"], "counted" in event.data) == ("retried", "lease_expired", False)


async def test_without_attempts_left_it_fails_and_what_hangs_on_it_follows(connection: asyncpg.Connection):
    (goal_id,) = await submitted(connection, task(max_attempts=1))
    before = await opened(connection)
    (goal,) = await claim(connection, before)
    steps = [StepSpec(new_id(), name, "echo", "{}", None, ()) for name in ("one", "two")]
    await plans.store_plan(connection, goal, "{}", '{"output": {}}', steps)
    first, _second = await claim(connection, before)
    _, taken = await restart(connection, before, [first])
    assert (taken.failed, taken.uncounted) == (1, 1)
    assert str((await queries.get(connection, goal_id)).status) == "failed"
    assert str((await queries.get(connection, steps[1].id)).status) == "cancelled"


@pytest.mark.parametrize("begun", [False, True])
async def test_a_place_of_a_key_is_kept_by_what_goes_on_and_given_away_by_what_waits(
    connection: asyncpg.Connection, begun: bool
):
    one, two = await submitted(connection, *(task(n, limit=Limit("k", max_running=1)) for n in range(2)))
    await reaping.admit(connection)
    before = await opened(connection)
    (lease,) = await claim(connection, before)
    after, _ = await restart(connection, before, [lease] if begun else [])
    await reaping.admit(connection)
    assert [lease.id for lease in await claim(connection, after)] == [two if begun else one]


async def test_only_leases_of_the_session_that_the_journal_is_of_are_judged_by_it(
    pg_settings: Settings, connection: asyncpg.Connection
):
    """An older one of the same actor, on another machine say, left its journal there."""
    await submitted(connection, task(1), task(2), task(3))
    oldest, before, other = await opened(connection), await opened(connection, "x"), await opened(connection, "b")
    await connection.execute("update seedcore.sessions set actor = 'a', expires_at = now() + interval '1 minute'")
    await connection.execute("update seedcore.sessions set actor = 'b' where id = $1", other)
    for session in (oldest, before, other):
        assert len(await claim(connection, session, 1)) == 1
    _, taken = await restart(connection, before)
    assert taken == TakenBack(uncounted=1)
    held = await connection.fetch("select owner from seedcore.leases")
    assert {row["owner"] for row in held} == {oldest, other}
    assert (await reaping.reap(connection, pg_settings)).returned == 1


async def test_no_journal_leaves_the_judgement_to_the_reaper(pg_settings: Settings, connection: asyncpg.Connection):
    await submitted(connection, task())
    before = await opened(connection)
    await claim(connection, before)
    await opened(connection)
    done = await reaping.reap(connection, pg_settings)
    assert (done.sessions, done.returned, done.uncounted) == (1, 1, 0)


async def test_opening_again_after_a_lost_answer_changes_nothing(connection: asyncpg.Connection):
    await submitted(connection, task(1), task(2))
    before = await opened(connection)
    begun, _ = await claim(connection, before)
    left = LastSession(before, keys([begun]), lambda _type, _attempt: 3600.0)
    after = uuid4()
    for expected in (TakenBack(uncounted=1, retried=1), TakenBack()):
        assert await sessions.open_session(connection, after, "w", "default", 60, "a", left) == expected
    assert len(await claim(connection, after)) == 1


async def test_more_than_a_page_is_taken_back_whole(connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lost_leases, "PAGE", 7)
    await submitted(connection, *map(task, range(30)))
    before = await opened(connection)
    held = await claim(connection, before)
    after, taken = await restart(connection, before, held[:10])
    assert taken == TakenBack(uncounted=20, retried=10)
    assert {lease.id for lease in await claim(connection, after)} == {lease.id for lease in held[10:]}


async def test_no_reaper_sees_the_leases_before_they_are_taken_back(
    pg_settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
):
    """One reaps all the time; the process before was heard of lately."""
    async with database.connection() as connection, database.connection() as other:
        await submitted(connection, *map(task, range(50)))
        before = await opened(connection)
        held = await claim(connection, before)
        slowed = lost_leases.settle

        async def slowly(*args: Any) -> None:
            await asyncio.sleep(0.3)
            await slowed(*args)

        monkeypatch.setattr(lost_leases, "settle", slowly)
        restarting = asyncio.create_task(restart(connection, before, held[:10]))
        reaped = reaping.Reaped()
        while not restarting.done():
            await reaping.reap_lost(other, pg_settings, reaped)
            await asyncio.sleep(0.01)
        assert (await restarting)[1] == TakenBack(uncounted=40, retried=10)
        assert (reaped.returned, reaped.dead) == (0, 0)


async def test_reaper_and_restarted_worker_judge_each_lease_once(pg_settings: Settings, database: Database):
    """The session had expired when its actor came back, and both begin at the same moment."""
    async with database.connection() as connection, database.connection() as other:
        for _ in range(5):
            ids = await submitted(connection, *map(task, range(200)))
            before = await opened(connection)
            assert len(await claim(connection, before, 500)) == 200
            await connection.execute("update seedcore.sessions set expires_at = now() - interval '1 s'")
            reaped = reaping.Reaped()
            (_, taken), _ = await asyncio.gather(
                restart(connection, before), reaping.reap_lost(other, pg_settings, reaped)
            )
            assert taken.uncounted + reaped.returned == 200
            count = "select count(*) from seedcore.events where event = 'retried' and task_id = any($1)"
            assert await connection.fetchval(count, ids) == 200
            places = "select (select count(*) from seedcore.ready) + (select count(*) from seedcore.deferred)"
            assert await connection.fetchval(places) == 200
            for table in ("ready", "deferred"):
                await connection.execute(f"delete from seedcore.{table}")
