"""Deadlines: what has not ended by then ends as failed, wherever it stands, and what is below it with it."""

import pytest

from seedcore.tasks import commands, deadlines, leases, queries, reaping
from seedcore.tasks.model import Limit, PlanTerms, Retry, StepSpec, new_id
from seedcore.tasks.plans import repository as plan_repository
from tests.tasks.engine_support import claim, db_now, done, failed, status, submitted, task

pytestmark = pytest.mark.integration


async def pass_deadlines(connection) -> int:
    await connection.execute("update seedcore.deadlines set at = now() - interval '1 s'")
    return await reaping.close_late(connection)


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
    assert await reaping.close_late(connection) == 0
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
    steps = [StepSpec(first, "a", "echo", "{}", None, ()), StepSpec(second, "b", "echo", "{}", None, (first,))]
    assert await plan_repository.store_plan(connection, lease, "{}", '{"output": {}}', steps)
    (running,) = await claim(connection, session)
    assert await pass_deadlines(connection) == 3
    assert [await status(connection, i) for i in (goal, first, second)] == ["failed", "cancelled", "cancelled"]
    assert await leases.finish(connection, [done(running)]) == set()


async def test_a_late_task_makes_room_for_others_of_its_key(connection, session):
    options = {"limit": Limit("k", max_running=1)}
    late, other = await submitted(
        connection, task(1, deadline=await db_now(connection, "1 hour"), **options), task(2, **options)
    )
    await reaping.admit(connection)
    assert [lease.id for lease in await claim(connection, session)] == [late]
    await pass_deadlines(connection)
    assert [lease.id for lease in await claim(connection, session)] == [other]


async def test_a_task_run_again_by_a_person_has_no_deadline_any_more(connection, session):
    (task_id,) = await submitted(connection, task(deadline=await db_now(connection, "1 hour")))
    await commands.cancel(connection, task_id)
    await commands.retry(connection, task_id)
    assert await pass_deadlines(connection) == 0
    assert await status(connection, task_id) == "queued"
    assert (await queries.get(connection, task_id)).deadline is None


async def test_more_than_a_page_of_late_tasks_all_end(pg_settings, connection, monkeypatch):
    monkeypatch.setattr(deadlines, "PAGE", 10)
    past = await db_now(connection, "-1 s")
    ids = await submitted(connection, *(task(n, deadline=past) for n in range(25)))
    assert [await reaping.close_late(connection) for _ in range(4)] == [10, 10, 5, 0]
    assert {await status(connection, i) for i in ids} == {"failed"}


async def make_late(connection, *ids) -> None:
    """Their deadline passes, and no reaper has come yet."""
    past = "update seedcore.{} set {} = now() - interval '1 ms' where id = any($1)"
    await connection.execute(past.format("tasks", "deadline"), ids)
    await connection.execute(past.format("deadlines", "at"), ids)


@pytest.mark.parametrize("how", ["claim", "exchange"])
async def test_a_claim_takes_no_late_task_and_ends_it_without_an_attempt(connection, session, how):
    past, soon = await db_now(connection, "-1 s"), await db_now(connection, "1 hour")
    early, late, timed = await submitted(connection, task(0), task(1, deadline=past), task(2, deadline=soon))
    (other,) = await claim(connection, session, 1)
    if how == "claim":
        claimed = await claim(connection, session)
    else:
        _, claimed = await leases.finish_and_claim(connection, [done(other)], "default", session, 100)
    assert (other.id, [lease.id for lease in claimed]) == (early, [timed])
    assert (other.left_s, round(claimed[0].left_s, -2)) == (None, 3600)
    record = await queries.get(connection, late)
    assert (str(record.status), record.error["code"], record.attempts) == ("failed", "deadline_exceeded", 0)
    assert [e.event for e in await queries.events_of(connection, late)] == ["submitted", "failed"]


async def test_a_retry_that_comes_too_late_keeps_the_attempts_that_were_used(connection, session):
    (task_id,) = await submitted(connection, task(deadline=await db_now(connection, "1 hour")))
    (lease,) = await claim(connection, session)
    await leases.retry(connection, [Retry(lease.id, lease.token, 0, "boom", "it broke")])
    await reaping.promote(connection)
    await make_late(connection, task_id)
    assert await claim(connection, session) == []
    record = await queries.get(connection, task_id)
    assert (record.attempts, [e["code"] for e in record.errors]) == (1, ["boom", "deadline_exceeded"])


@pytest.mark.parametrize("end", [done, failed])
async def test_an_end_after_the_deadline_is_none_and_a_neighbours_end_stands(connection, session, end):
    soon = await db_now(connection, "1 hour")
    late, in_time = await submitted(connection, task(1, deadline=soon), task(2, deadline=soon))
    claimed = await claim(connection, session)
    await make_late(connection, late)
    assert await leases.finish(connection, [end(lease) for lease in claimed]) == {in_time}
    record = await queries.get(connection, late)
    assert (str(record.status), record.error["code"], record.result) == ("failed", "deadline_exceeded", None)
    assert await status(connection, in_time) == ("completed" if end is done else "failed")
    assert await connection.fetchval("select count(*) from seedcore.leases") == 0


async def plan_with_time(connection, session, time_s: float):
    (goal,) = await submitted(connection, task(0))
    (lease,) = await claim(connection, session)
    first, second = new_id(), new_id()
    steps = [StepSpec(first, "a", "echo", "{}", None, ()), StepSpec(second, "b", "echo", "{}", None, (first,))]
    assert await plan_repository.store_plan(
        connection, lease, "{}", '{"output": {}}', steps, PlanTerms(budget={"time_s": time_s})
    )
    return goal, first, second


@pytest.mark.parametrize("when", ["before its first step", "while its last step runs"])
async def test_a_plan_whose_time_is_over_does_not_complete(connection, session, when):
    goal, first, second = await plan_with_time(connection, session, 3600 if "last" in when else 0.001)
    if "last" in when:
        await leases.finish(connection, [done(lease) for lease in await claim(connection, session)])
        running = await claim(connection, session)
        assert [lease.id for lease in running] == [second]
        await make_late(connection, goal, second)
        await connection.execute(
            "update seedcore.plans p set until = t.deadline from seedcore.tasks t where t.id = p.id"
        )
        assert await leases.finish(connection, [done(lease) for lease in running]) == set()
    else:
        await connection.execute("select pg_sleep(0.002)")
        assert await claim(connection, session) == []
    record = await queries.get(connection, goal)
    assert (str(record.status), record.error["code"]) == ("failed", "budget_exceeded")
    assert await status(connection, first) == ("completed" if "last" in when else "cancelled")
    assert await status(connection, second) == "cancelled"


async def test_a_late_plan_that_cannot_be_settled_holds_no_other_late_task_up(connection, session):
    """What an older release stored as a plan may be anything."""
    goal, first, _ = await plan_with_time(connection, session, 3600)
    (inner,) = await claim(connection, session)
    deeper = [StepSpec(new_id(), "c", "echo", "{}", None, ())]
    assert await plan_repository.store_plan(connection, inner, "{}", '{"output": {}}', deeper)
    soon = await db_now(connection, "1 hour")
    others = await submitted(connection, *(task(n, deadline=soon) for n in range(3)))
    await connection.execute("insert into seedcore.deadlines (id, at) values ($1, now())", first)
    await connection.execute('update seedcore.plans set policy = \'{"*": "skip"}\' where id = $1', goal)
    await connection.execute("update seedcore.held set plan = '5' where id = $1", goal)
    await make_late(connection, first, *others)
    await connection.execute("update seedcore.deadlines set at = now() + interval '1 hour' where id = $1", goal)
    assert await reaping.close_late(connection) == 5
    assert {await status(connection, i) for i in others} == {"failed"}
