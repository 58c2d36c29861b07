"""Limits by key: how many run at once, how many start in a second; keyless tasks pay nothing."""

import asyncio
import time
from collections import Counter
from uuid import uuid4

import pytest

from seedcore.tasks import commands, leases, limits, reaping, sessions
from seedcore.tasks.model import Limit, Retry
from seedcore.tasks.submission.submit import set_limits
from tests.tasks.engine_support import claim, db_now, done, failed, status, submitted, task

pytestmark = pytest.mark.integration
TWO = Limit("k", max_running=2)


async def test_no_more_of_a_key_run_than_it_allows_and_each_end_lets_the_next_through(connection, session):
    ids = await submitted(connection, *(task(n, limit=TWO) for n in range(5)))
    assert await claim(connection, session) == []
    assert await reaping.admit(connection) == 2
    first = await claim(connection, session)
    assert [lease.id for lease in first] == ids[:2]
    await leases.finish(connection, [done(first[0])])
    (third,) = await claim(connection, session)
    assert third.id == ids[2]
    await leases.finish(connection, [failed(third), done(first[1])])
    assert [lease.id for lease in await claim(connection, session)] == ids[3:]


async def test_the_highest_priority_goes_through_first(connection, session):
    low, high = await submitted(connection, *(task(p, limit=Limit("k", max_running=1), priority=p) for p in (0, 9)))
    await reaping.admit(connection)
    assert [lease.id for lease in await claim(connection, session)] == [high]
    assert await status(connection, low) == "queued"


async def test_a_key_nobody_defined_lets_one_run(connection, session):
    await submitted(connection, task(1, limit=Limit("new")), task(2, limit=Limit("new")))
    await reaping.admit(connection)
    assert len(await claim(connection, session)) == 1


async def test_tasks_without_a_key_pass_those_that_wait(connection, session):
    await submitted(connection, *(task(n, limit=Limit("k", max_running=1)) for n in range(3)))
    (free,) = await submitted(connection, task("free"))
    assert [lease.id for lease in await claim(connection, session)] == [free]


@pytest.mark.parametrize("way", ["retry", "hold", "cancel", "lost"])
async def test_whatever_ends_an_attempt_gives_its_place_away(pg_settings, connection, session, way):
    one, two = await submitted(connection, *(task(n, limit=Limit("k", max_running=1)) for n in range(2)))
    await reaping.admit(connection)
    (lease,) = await claim(connection, session)
    other = uuid4()
    await sessions.open_session(connection, other, "other", "default", 60)
    if way == "retry":
        await leases.retry(connection, [Retry(lease.id, lease.token, 60, "x", "x", lease.limit_key)])
    elif way == "hold":
        await leases.hold(connection, [(lease.id, lease.token, "{}")])
        await reaping.admit(connection)
    elif way == "cancel":
        await commands.cancel(connection, lease.id)
    else:
        await sessions.close_session(connection, session)
        await connection.execute("update seedcore.tasks set max_attempts = 1")
        await reaping.reap(connection, pg_settings)
    assert [lease.id for lease in await claim(connection, other)] == [two]
    assert one != two


async def test_a_task_given_back_keeps_its_place(connection, session):
    one, two = await submitted(connection, *(task(n, limit=Limit("k", max_running=1)) for n in range(2)))
    await reaping.admit(connection)
    (lease,) = await claim(connection, session)
    await leases.release(connection, [(lease.id, lease.token)])
    assert await reaping.admit(connection) == 0
    assert [lease.id for lease in await claim(connection, session)] == [one]
    assert await status(connection, two) == "queued"


async def test_a_rate_lets_a_burst_through_and_then_so_many_a_second(connection, session):
    limit = Limit("k", max_running=1000, rate_per_s=20, burst=5)
    await submitted(connection, *(task(n, limit=limit) for n in range(15)))
    began = time.monotonic()
    assert await reaping.admit(connection) == 5
    through = 5
    while through < 15:
        assert time.monotonic() - began < 10
        due = await connection.fetchval("select next_at from seedcore.limits where key = 'k'")
        assert due is not None
        through += await reaping.admit(connection)
        assert through <= 5 + 20 * (time.monotonic() - began) + 1
    assert time.monotonic() - began > 0.4
    assert await connection.fetchval("select next_at from seedcore.limits where key = 'k'") is None


async def test_the_reaper_hears_when_a_key_is_due_although_an_end_found_that_out(connection, session, heard):
    await submitted(connection, *(task(n, limit=Limit("k", max_running=1, rate_per_s=0.1, burst=1)) for n in range(3)))
    await reaping.admit(connection)
    await connection.execute("update seedcore.limits set next_at = null")
    held = await claim(connection, session)
    heard.clear()
    await leases.finish(connection, [done(lease) for lease in held])
    async with asyncio.timeout(5):
        while not heard:
            await connection.fetch("select 1")
    assert heard == [pytest.approx(10, abs=5)]


async def test_what_a_submit_does_not_say_stays_and_what_it_says_holds_at_once(connection):
    await set_limits(connection, [Limit("k", max_running=3, rate_per_s=5.0, burst=2)])
    await submitted(connection, task(limit=Limit("k")))
    state = await limits.get(connection, "k")
    assert (state.max_running, state.rate_per_s, state.burst) == (3, 5.0, 2)
    await submitted(connection, task(limit=Limit("k", max_running=1)))
    state = await limits.get(connection, "k")
    assert (state.max_running, state.rate_per_s, state.burst) == (1, 5.0, 2)


async def test_a_limit_made_lower_stops_nothing_and_lets_nobody_in_until_there_is_room(connection, session):
    await submitted(connection, *(task(n, limit=Limit("k", max_running=3)) for n in range(5)))
    await reaping.admit(connection)
    running = await claim(connection, session)
    await limits.put(connection, "k", 1, None, 1)
    await leases.finish(connection, [done(running[0])])
    await leases.finish(connection, [done(running[1])])
    assert await claim(connection, session) == []
    await leases.finish(connection, [done(running[2])])
    assert len(await claim(connection, session)) == 1


async def test_retries_and_deferred_tasks_wait_for_their_key_too(connection, session):
    later = await db_now(connection, "1 hour")
    ids = await submitted(connection, *(task(n, limit=Limit("k", max_running=1), run_after=later) for n in range(3)))
    await connection.execute("update seedcore.deferred set run_at = now() - interval '1 s'")
    assert await reaping.promote(connection) == 3
    assert await claim(connection, session) == []
    await reaping.admit(connection)
    assert len(await claim(connection, session)) == 1
    assert Counter([await status(connection, i) for i in ids]) == {"running": 1, "queued": 2}


async def test_tasks_whose_limit_was_removed_meanwhile_do_not_wait_for_ever(connection, session):
    later = await db_now(connection, "1 hour")
    (deferred,) = await submitted(connection, task(limit=Limit("k", max_running=1), run_after=later))
    await limits.remove(connection, "k")
    await connection.execute("update seedcore.deferred set run_at = now() - interval '1 s'")
    await reaping.promote(connection)
    await reaping.admit(connection)
    assert [lease.id for lease in await claim(connection, session)] == [deferred]
