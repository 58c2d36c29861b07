"""Retention: days go as whole partitions, and nothing that is alive or young goes with them."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.tasks import commands, leases, queries, reaping
from seedcore.tasks.model import Outcome, Status, TaskSpec, new_id
from seedcore.tasks.submission.submit import submit

pytestmark = pytest.mark.integration
OLD = timedelta(days=9)


def id_of(moment: datetime) -> UUID:
    """A task's id as if it had been made at that moment."""
    return UUID(int=int(moment.timestamp() * 1000) << 80 | new_id().int & (1 << 80) - 1)


async def make_old_day(connection: asyncpg.Connection) -> str:
    day = (datetime.now(UTC) - OLD).date()
    await connection.execute("select seedcore.make_partitions($1, 1)", day)
    return f"{day:%Y%m%d}"


async def old_task(connection: asyncpg.Connection, **options: object) -> UUID:
    task = TaskSpec("echo", json.dumps({"value": 1}), id=id_of(datetime.now(UTC) - OLD), **options)  # type: ignore[arg-type]
    (submitted,) = await submit(connection, [task])
    return submitted.id


async def finish_one(connection: asyncpg.Connection, session: UUID, status: Status = Status.COMPLETED) -> UUID:
    (lease,) = await leases.claim(connection, "default", session, 1)
    code = "x" if status is Status.FAILED else None
    assert await leases.finish(connection, [Outcome(lease.id, lease.token, status, error_code=code)])
    return lease.id


async def partitions(connection: asyncpg.Connection, day: str) -> set[str]:
    rows = await connection.fetch("select relname from pg_class where relname ~ $1", f"_d{day}$")
    return {row["relname"] for row in rows}


async def test_an_old_day_goes_whole_and_what_lives_or_is_young_stays(pg_settings, connection, session):
    day = await make_old_day(connection)
    forgotten = await old_task(connection)
    await finish_one(connection, session)
    await connection.execute("update seedcore.finished set finished_at = now() - interval '8 days'")
    young = await old_task(connection)
    await finish_one(connection, session)
    dead = await old_task(connection)
    await finish_one(connection, session, Status.FAILED)
    alive = await old_task(connection)
    later = await old_task(connection, run_after=datetime.now(UTC) + timedelta(days=1))
    assert len(await partitions(connection, day)) == 3

    done = await reaping.expire(connection, pg_settings)

    assert done.partitions == 2
    assert await partitions(connection, day) == set()
    left = {record.id: str(record.status) for record in await queries.find(connection)}
    assert left == {young: "completed", dead: "failed", alive: "queued", later: "queued"}
    assert forgotten not in left
    assert (await reaping.expire(connection, pg_settings)).partitions == 0
    # What was moved goes on as if nothing had happened.
    assert await finish_one(connection, session) == alive
    assert (await commands.retry(connection, dead)).status == "queued"


async def test_what_outlived_its_day_goes_by_itself_when_its_time_has_come(pg_settings, connection, session):
    await old_task(connection)
    finished = await finish_one(connection, session)
    assert await connection.fetchval("select count(*) from seedcore.finished_default") == 1
    await reaping.expire(connection, pg_settings)
    assert (await queries.get(connection, finished)).status == "completed"
    await connection.execute("update seedcore.finished set finished_at = now() - interval '8 days'")
    assert (await reaping.expire(connection, pg_settings)).rows > 0
    assert await queries.find(connection) == []


async def test_dead_letters_are_kept_longer(pg_settings, connection, session):
    dead = await old_task(connection)
    await finish_one(connection, session, Status.FAILED)
    await connection.execute("update seedcore.dead set finished_at = now() - interval '29 days'")
    await reaping.expire(connection, pg_settings)
    assert (await queries.get(connection, dead)).status == "failed"
    await connection.execute("update seedcore.dead set finished_at = now() - interval '31 days'")
    await reaping.expire(connection, pg_settings)
    assert await queries.find(connection) == []


async def test_a_key_is_forgotten_with_its_task(pg_settings, connection, session):
    kept = await old_task(connection, idempotency_key="alive")
    await connection.execute("update seedcore.idempotency set created_at = now() - interval '99 days'")
    await reaping.expire(connection, pg_settings)
    assert await old_task(connection, idempotency_key="alive") == kept
    await finish_one(connection, session)
    await connection.execute("update seedcore.finished set finished_at = now() - interval '8 days'")
    await reaping.expire(connection, pg_settings)
    await reaping.expire(connection, pg_settings)
    assert await old_task(connection, idempotency_key="alive") != kept


async def test_a_reader_in_the_way_puts_it_off_and_stops_nobody(pg_settings: Settings, connection, database: Database):
    day = await make_old_day(connection)
    await reaping.expire(connection, pg_settings.model_copy(update={"retention_finished_d": 99}))
    async with database.connection() as other, other.transaction():
        await other.fetch("select * from seedcore.finished")
        done = await reaping.expire(connection, pg_settings)
        assert (done.partitions, done.blocked) == (1, 1)
        assert await partitions(connection, day) == {f"tasks_d{day}", f"finished_d{day}"}
    assert (await reaping.expire(connection, pg_settings)).partitions == 1


async def test_a_reader_in_the_way_of_the_days_to_come_stops_nobody(
    pg_settings: Settings, connection, database: Database
):
    """A partition is attached under a lock that a reader keeps away; whoever came later would wait behind it."""
    ahead = datetime.now(UTC) + timedelta(days=3)
    day = f"{ahead:%Y%m%d}"
    await connection.execute(f"drop table seedcore.tasks_d{day}, seedcore.finished_d{day}, seedcore.events_d{day}")
    async with database.connection() as other, other.transaction():
        await other.fetch("select * from seedcore.finished")
        async with asyncio.timeout(10):
            assert (await reaping.expire(connection, pg_settings)).blocked == 1
        assert await partitions(connection, day) == set()
    assert (await reaping.expire(connection, pg_settings)).blocked == 0
    assert await partitions(connection, day) >= {f"tasks_d{day}", f"finished_d{day}"}


async def test_days_to_come_are_made_ahead_and_take_in_what_came_too_early(pg_settings, connection):
    ahead = datetime.now(UTC) + timedelta(days=3)
    await connection.execute(f"drop table seedcore.tasks_d{ahead:%Y%m%d}, seedcore.finished_d{ahead:%Y%m%d}")
    early = TaskSpec("echo", "{}", id=id_of(ahead))
    await submit(connection, [early])
    assert await connection.fetchval("select count(*) from seedcore.tasks_default") == 1
    await reaping.expire(connection, pg_settings)
    assert await connection.fetchval("select count(*) from seedcore.tasks_default") == 0
    assert (await queries.get(connection, early.id)).status == "queued"


async def test_the_audit_log_forgets_what_is_older_than_its_days(pg_settings, connection):
    await connection.execute(
        "insert into seedcore.audit (id, at, actor, actor_kind, action, status)"
        " select seedcore.first_id(m), m, name, 'key', 'POST /x', 200 from (values"
        " (now() - interval '366 days', 'old'), (now() - interval '364 days', 'young')) v (m, name)"
    )
    await reaping.expire(connection, pg_settings)
    assert [row["actor"] for row in await connection.fetch("select actor from seedcore.audit")] == ["young"]
