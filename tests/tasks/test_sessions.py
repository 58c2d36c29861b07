"""Sessions: leases live as long as the heartbeat of their dispatcher."""

import json
from uuid import UUID, uuid4

import asyncpg
import pytest

from seedcore.tasks import leases, queries, reaping, sessions
from seedcore.tasks.model import Outcome, Status
from seedcore.tasks.submission.submit import submit
from tests.tasks.engine_support import task

pytestmark = pytest.mark.integration


async def claim_one(connection: asyncpg.Connection, session: UUID):
    (lease,) = await leases.claim(connection, "default", session, 1)
    return lease


def completed(lease, result: object = None) -> Outcome:
    return Outcome(
        lease.id,
        lease.token,
        Status.COMPLETED,
        result=json.dumps(result),
        follow_up=lease.follow_up,
    )


async def test_an_expired_session_loses_its_tasks_and_can_claim_no_more(pg_settings, connection, session):
    (submitted, _) = await submit(connection, [task(1), task(2)])
    lease = await claim_one(connection, session)
    await connection.execute("update seedcore.sessions set expires_at = now() - interval '1 s'")
    assert await leases.claim(connection, "default", session, 1) == []
    done = await reaping.reap(connection, pg_settings)
    assert not (await sessions.heartbeat(connection, session, 60, holding=1, claimed=True)).alive
    assert (done.sessions, done.returned, done.dead) == (1, 1, 0)
    assert await leases.finish(connection, [completed(lease)]) == set()
    assert (await queries.get(connection, submitted.id)).status == "queued"


async def test_a_heartbeat_that_is_late_but_not_too_late_keeps_the_leases(pg_settings, connection, session):
    await submit(connection, [task()])
    lease = await claim_one(connection, session)
    await connection.execute("update seedcore.sessions set expires_at = now() - interval '1 s'")
    assert (await sessions.heartbeat(connection, session, 60, holding=1, claimed=True)).alive
    assert (await reaping.reap(connection, pg_settings)).returned == 0
    assert await leases.finish(connection, [completed(lease)]) == {lease.id}


async def test_a_restarted_dispatchers_earlier_session_ends_at_once(pg_settings, connection):
    await submit(connection, [task()])
    first, second, other = uuid4(), uuid4(), uuid4()
    await sessions.open_session(connection, first, "d", "default", 60, "actor-1")
    await sessions.open_session(connection, other, "d", "default", 60, "actor-2")
    assert len(await leases.claim(connection, "default", first, 1)) == 1
    await sessions.open_session(connection, second, "d", "default", 60, "actor-1")
    done = await reaping.reap(connection, pg_settings)
    assert (done.sessions, done.returned) == (1, 1)
    assert (await sessions.heartbeat(connection, other, 60, holding=0, claimed=False)).alive


async def test_a_task_that_loses_every_worker_ends_as_failed(pg_settings, connection):
    (submitted,) = await submit(connection, [task(max_attempts=2)])
    for _ in range(2):
        session = uuid4()
        await sessions.open_session(connection, session, "dying", "default", 60)
        assert len(await leases.claim(connection, "default", session, 1)) == 1
        await sessions.close_session(connection, session)
        await reaping.reap(connection, pg_settings)
        await connection.execute("update seedcore.deferred set run_at = now()")
        await reaping.promote(connection)
    record = await queries.get(connection, submitted.id)
    assert (record.status, record.error["code"]) == ("failed", "lease_expired")


async def lost(
    pg_settings, connection, *, held_s: float, heard_s: float, started: bool = False, tries: int = 1
) -> UUID:
    """A task that a dispatcher leased `held_s` ago, and that was last heard of `heard_s` ago, when it is reaped."""
    (submitted,) = await submit(connection, [task(max_attempts=tries)])
    await lose(pg_settings, connection, held_s=held_s, heard_s=heard_s, started=started)
    return submitted.id


async def lose(pg_settings, connection, *, held_s: float, heard_s: float, started: bool = False) -> None:
    session = uuid4()
    await sessions.open_session(connection, session, "test", "default", 60)
    lease = await claim_one(connection, session)
    if started:
        await leases.started(connection, [(lease.id, lease.token)])
    ago = "now() - make_interval(secs => $1)"
    await connection.execute(f"update seedcore.leases set leased_at = {ago} where id = $2", held_s, lease.id)
    last = f"update seedcore.sessions set beat_at = {ago}, expires_at = now() where id = $2"
    await connection.execute(last, heard_s, session)
    await reaping.reap(connection, pg_settings)


async def test_a_task_that_had_not_begun_keeps_its_attempt_when_its_dispatcher_is_lost(pg_settings, connection):
    """The dispatcher held it for ten seconds and was heard of after that: it would have said that it had begun."""
    task_id = await lost(pg_settings, connection, held_s=30, heard_s=20)
    record = await queries.get(connection, task_id)
    assert (str(record.status), record.attempts) == ("queued", 0)
    last = (await queries.events_of(connection, task_id))[-1]
    assert (last.event, last.data["code"], last.data["counted"]) == ("retried", "lease_expired", False)


@pytest.mark.parametrize(
    "how",
    [{"held_s": 30, "heard_s": 20, "started": True}, {"held_s": 30, "heard_s": 29}, {"held_s": 30, "heard_s": 40}],
)
async def test_a_task_that_had_begun_or_may_have_uses_its_attempt(pg_settings, connection, how):
    task_id = await lost(pg_settings, connection, **how)
    record = await queries.get(connection, task_id)
    assert (str(record.status), record.attempts, record.error["code"]) == ("failed", 1, "lease_expired")


async def test_a_task_that_brings_every_dispatcher_down_before_it_begins_ends_all_the_same(pg_settings, connection):
    task_id = await lost(pg_settings, connection, held_s=30, heard_s=20, tries=2)
    for n in range(1, 7):
        assert (await queries.get(connection, task_id)).attempts == max(0, n - reaping.MAX_UNCOUNTED)
        await connection.execute("update seedcore.deferred set run_at = now()")
        await reaping.promote(connection)
        await lose(pg_settings, connection, held_s=30, heard_s=20)
    record = await queries.get(connection, task_id)
    assert (str(record.status), record.attempts, len(record.errors)) == ("failed", 2, 7)


async def test_a_heartbeat_says_when_a_dispatcher_was_heard_of(connection, session):
    await connection.execute("update seedcore.sessions set beat_at = now() - interval '1 hour'")
    for announced in (False, True):
        await sessions.heartbeat(connection, session, 60, holding=0, claimed=False, announced=announced)
        lately = "select beat_at > now() - interval '1 minute' from seedcore.sessions"
        assert await connection.fetchval(lately) is announced
