"""Deadlines: what has not ended by then ends as failed, wherever it stands, and what is below it with it."""

import pytest

from seedcore.tasks import control, leases, queries, reap
from seedcore.tasks.model import Limit, Retry, Step, new_id
from tests.tasks.engine_support import claim, db_now, done, status, submitted, task

pytestmark = pytest.mark.integration


async def pass_deadlines(connection) -> int:
    await connection.execute("update seedcore.deadlines set at = now() - interval '1 s'")
    return await reap.close_late(connection)


@pytest.mark.parametrize("place", ["ready", "deferred", "gated", "leases", "retried", "approval"])
async def test_a_task_that_is_late_fails_wherever_it_stands(connection, session, place):
    soon = await db_now(connection, "1 hour")
    options = {"gated": {"limit": Limit("k")}, "deferred": {"run_after": await db_now(connection, "30 min")}}
    (task_id,) = await submitted(connection, task(deadline=soon, **options.get(place, {})))
    lease = None
    if place in ("leases", "retried", "approval"):
        (lease,) = await claim(connection, session)
        if place == "retried":
            await leases.retry(connection, [Retry(lease.id, lease.token, 60, "boom", "it broke")])
        elif place == "approval":
            await leases.hold(connection, [(lease.id, lease.token, "{}")])
    assert await reap.close_late(connection) == 0
    assert await pass_deadlines(connection) == 1
    record = await queries.get(connection, task_id)
    assert (str(record.status), record.error["code"]) == ("failed", "deadline_exceeded")
    assert record.errors[-1]["code"] == "deadline_exceeded"
    assert [e["code"] for e in record.errors[:-1]] == (["boom"] if place == "retried" else [])
    assert (await queries.events_of(connection, task_id))[-1].event == "failed"
    if lease is not None:
        assert await leases.finish(connection, [done(lease)]) == set()
    assert await connection.fetchval("select count(*) from seedcore.deadlines") == 0


async def test_a_task_that_ended_in_time_is_left_alone(connection, session):
    (task_id,) = await submitted(connection, task(deadline=await db_now(connection, "1 hour")))
    await leases.finish(connection, [done(lease) for lease in await claim(connection, session)])
    assert await pass_deadlines(connection) == 0
    assert await status(connection, task_id) == "completed"


async def test_a_late_plan_ends_its_steps(connection, session):
    (goal,) = await submitted(connection, task(deadline=await db_now(connection, "1 hour")))
    (lease,) = await claim(connection, session)
    first, second = new_id(), new_id()
    steps = [Step(first, "a", "echo", "{}", None, ()), Step(second, "b", "echo", "{}", None, (first,))]
    assert await leases.store_plan(connection, lease, "{}", '{"output": {}}', steps)
    (running,) = await claim(connection, session)
    assert await pass_deadlines(connection) == 3
    assert [await status(connection, i) for i in (goal, first, second)] == ["failed", "cancelled", "cancelled"]
    assert await leases.finish(connection, [done(running)]) == set()


async def test_a_late_task_makes_room_for_others_of_its_key(connection, session):
    options = {"limit": Limit("k", max_running=1)}
    late, other = await submitted(
        connection, task(1, deadline=await db_now(connection, "1 hour"), **options), task(2, **options)
    )
    await reap.admit(connection)
    assert [lease.id for lease in await claim(connection, session)] == [late]
    await pass_deadlines(connection)
    assert [lease.id for lease in await claim(connection, session)] == [other]


async def test_a_task_run_again_by_a_person_has_no_deadline_any_more(connection, session):
    (task_id,) = await submitted(connection, task(deadline=await db_now(connection, "1 hour")))
    await control.cancel(connection, task_id)
    await control.retry(connection, task_id)
    assert await pass_deadlines(connection) == 0
    assert await status(connection, task_id) == "queued"
    assert (await queries.get(connection, task_id)).deadline is None


async def test_more_than_a_page_of_late_tasks_all_end(pg_settings, connection, monkeypatch):
    monkeypatch.setattr(reap, "PAGE", 10)
    past = await db_now(connection, "-1 s")
    ids = await submitted(connection, *(task(n, deadline=past) for n in range(25)))
    assert [await reap.close_late(connection) for _ in range(4)] == [10, 10, 5, 0]
    assert {await status(connection, i) for i in ids} == {"failed"}
