"""Two at once, made to meet: one stands inside its transaction while the other comes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest

from seedcore.stores.postgres import Database
from seedcore.tasks import commands, leases, queries, reaping, sessions
from seedcore.tasks.model import Lease, Limit, Outcome, Retry, Status, StepSpec, TaskSpec, new_id
from seedcore.tasks.plans import repository as plan_repository
from seedcore.tasks.submission.submit import submit

pytestmark = pytest.mark.integration


@pytest.fixture
async def other(database: Database) -> AsyncIterator[asyncpg.Connection]:
    async with database.connection() as connection:
        yield connection


@asynccontextmanager
async def meets(
    first: asyncpg.Connection, watcher: asyncpg.Connection
) -> AsyncIterator[Callable[[Awaitable], asyncio.Task]]:
    """Inside, `first` is in a transaction; what is started waits for it, or has ended, before `first` commits."""
    started: list[asyncio.Task] = []

    def start(work: Awaitable) -> asyncio.Task:
        started.append(asyncio.ensure_future(work))
        return started[-1]

    async with first.transaction():
        yield start
        blocked = "select count(*) from pg_locks where not granted"
        async with asyncio.timeout(10):
            while not started[0].done() and not await watcher.fetchval(blocked):
                await asyncio.sleep(0.01)
    await asyncio.wait(started)


async def running(connection: asyncpg.Connection, session: UUID, **options: object) -> Lease:
    await submit(connection, [TaskSpec("echo", "{}", **options)])
    (lease,) = await leases.claim(connection, "default", session, 1)
    return lease


async def test_a_cancel_that_meets_a_claim_still_cancels(database, connection, other, session):
    (submitted,) = await submit(connection, [TaskSpec("echo", "{}")])
    async with database.connection() as third, meets(connection, third) as start:
        assert await leases.claim(connection, "default", session, 1)
        cancelling = start(commands.cancel(other, submitted.id))
    assert (await cancelling).status == "cancelled"


async def test_a_cancel_that_meets_a_retry_still_cancels(database, connection, other, session):
    lease = await running(connection, session)
    async with database.connection() as third, meets(connection, third) as start:
        await leases.retry(connection, [Retry(lease.id, lease.token, 60, "x", "x")])
        cancelling = start(commands.cancel(other, lease.id))
    assert (await cancelling).status == "cancelled"


async def test_a_cancel_that_meets_its_goals_plan_ends_the_steps_too(database, connection, other, session):
    lease = await running(connection, session)
    async with database.connection() as third, meets(connection, third) as start:
        await plan_repository.store_plan(
            connection, lease, "{}", '{"output": {}}', [StepSpec(new_id(), "s", "echo", "{}", None, ())]
        )
        cancelling = start(commands.cancel(other, lease.id))
    assert (await cancelling).status == "cancelled"
    assert [step.status for step in await queries.children(connection, lease.id)] == ["cancelled"]


async def test_a_cancel_of_a_goal_whose_step_is_being_claimed_ends_the_step_too(database, connection, other, session):
    lease = await running(connection, session)
    await plan_repository.store_plan(
        connection, lease, "{}", '{"output": {}}', [StepSpec(new_id(), "s", "echo", "{}", None, ())]
    )
    async with database.connection() as third, meets(connection, third) as start:
        assert await leases.claim(connection, "default", session, 1)
        cancelling = start(commands.cancel(other, lease.id))
    assert (await cancelling).status == "cancelled"
    assert [step.status for step in await queries.children(connection, lease.id)] == ["cancelled"]


async def test_a_deadline_that_meets_a_claim_still_ends_the_task(pg_settings, database, connection, other, session):
    soon = await connection.fetchval("select now() + interval '2 s'")
    (submitted,) = await submit(connection, [TaskSpec("echo", "{}", deadline=soon)])
    async with database.connection() as third, meets(connection, third) as start:
        assert await leases.claim(connection, "default", session, 1), "claimed in time"
        await other.fetchval("select pg_sleep_until($1)", soon)
        start(reaping.close_late(other))
    await reaping.reap(connection, pg_settings)
    record = await queries.get(connection, submitted.id)
    assert (str(record.status), record.error) == (
        "failed",
        {"code": "deadline_exceeded", "message": "it had not ended by its deadline"},
    )


async def test_a_plan_that_breaks_while_another_step_is_claimed_leaves_no_step_running(
    database, connection, other, session
):
    lease = await running(connection, session)
    steps = [StepSpec(new_id(), name, "echo", "{}", None, ()) for name in ("a", "b")]
    await plan_repository.store_plan(connection, lease, "{}", '{"output": {}}', steps)
    (one,) = await leases.claim(connection, "default", session, 1)
    async with database.connection() as third, meets(connection, third) as start:
        assert await leases.claim(connection, "default", session, 1)
        broken = Outcome(one.id, one.token, Status.FAILED, error_code="x", error_message="y", follow_up=True)
        start(leases.finish(other, [broken]))
    assert str((await queries.get(connection, lease.id)).status) == "failed"
    assert sorted(str(s.status) for s in await queries.children(connection, lease.id)) == ["cancelled", "failed"]


async def test_two_steps_that_end_at_once_end_their_plan_once(database, connection, other, session):
    lease = await running(connection, session)
    steps = [StepSpec(new_id(), name, "echo", "{}", None, ()) for name in ("a", "b")]
    await plan_repository.store_plan(connection, lease, "{}", '{"output": {}}', steps)
    one, two = await leases.claim(connection, "default", session, 2)
    ends = [Outcome(x.id, x.token, Status.COMPLETED, "{}", follow_up=True) for x in (one, two)]
    async with database.connection() as third, meets(connection, third) as start:
        await leases.finish(connection, [ends[0]])
        start(leases.finish(other, [ends[1]]))
    assert str((await queries.get(connection, lease.id)).status) == "completed"
    statement = "select count(*) from seedcore.events where event = 'completed' and $1 = any(task_ids)"
    assert await connection.fetchval(statement, lease.id) == 1


async def test_many_ends_at_once_let_no_more_through_than_the_key_allows(pg_settings, database: Database, session):
    async with database.connection() as connection:
        limit = Limit("k", max_running=3)
        await submit(connection, [TaskSpec("echo", "{}", limit=limit) for _ in range(60)])
        await reaping.admit(connection)
    most, seen = 0, set()

    async def worker() -> None:
        nonlocal most
        async with database.connection() as own:
            mine = uuid4()
            await sessions.open_session(own, mine, "w", "default", 60)
            async with asyncio.timeout(30):
                while len(seen) < 60:
                    for lease in await leases.claim(own, "default", mine, 2):
                        most = max(most, await own.fetchval("select count(*) from seedcore.leases"))
                        seen.add(lease.id)
                        end = Outcome(lease.id, lease.token, Status.COMPLETED, "{}", follow_up=lease.follow_up)
                        await leases.finish(own, [end])

    async def reaper() -> None:
        async with database.connection() as own:
            while len(seen) < 60:
                await reaping.admit(own)
                await asyncio.sleep(0.005)

    await asyncio.gather(worker(), worker(), worker(), worker(), reaper())
    assert 1 < most <= 3


async def test_a_goal_that_is_run_again_after_its_plan_failed_can_complete(connection, session):
    lease = await running(connection, session)
    plan = json.dumps({"output": {"v": {"$from": "s", "field": "value"}}})
    await plan_repository.store_plan(connection, lease, "{}", plan, [StepSpec(new_id(), "s", "echo", "{}", None, ())])
    (step,) = await leases.claim(connection, "default", session, 1)
    broken = Outcome(step.id, step.token, Status.FAILED, error_code="x", error_message="y", follow_up=True)
    await leases.finish(connection, [broken])
    await commands.retry(connection, lease.id)
    (lease,) = await leases.claim(connection, "default", session, 1)
    await plan_repository.store_plan(connection, lease, "{}", plan, [StepSpec(new_id(), "s", "echo", "{}", None, ())])
    (step,) = await leases.claim(connection, "default", session, 1)
    await leases.finish(connection, [Outcome(step.id, step.token, Status.COMPLETED, '{"value": 7}', follow_up=True)])
    record = await queries.get(connection, lease.id)
    assert (str(record.status), record.result) == ("completed", {"v": 7})


async def test_a_plan_that_fails_ends_the_steps_of_its_steps(connection, session):
    lease = await running(connection, session)
    steps = [StepSpec(new_id(), name, "echo", "{}", None, ()) for name in ("a", "b")]
    await plan_repository.store_plan(connection, lease, "{}", '{"output": {}}', steps)
    one, two = await leases.claim(connection, "default", session, 2)
    below = StepSpec(new_id(), "below", "echo", "{}", None, ())
    await plan_repository.store_plan(connection, one, "{}", '{"output": {}}', [below])
    broken = Outcome(two.id, two.token, Status.FAILED, error_code="x", error_message="y", follow_up=True)
    await leases.finish(connection, [broken])
    assert str((await queries.get(connection, lease.id)).status) == "failed"
    assert str((await queries.get(connection, below.id)).status) == "cancelled"


async def forget(connection: asyncpg.Connection) -> None:
    """What dropping a day leaves: the tasks have gone, their keys go later, in pages."""
    await connection.execute("delete from seedcore.tasks")
    await connection.execute("delete from seedcore.ready")
    await connection.execute("update seedcore.idempotency set created_at = now() - interval '8 days'")


async def test_a_key_whose_task_is_forgotten_is_free_again(connection):
    (first,) = await submit(connection, [TaskSpec("echo", "{}", idempotency_key="k")])
    await forget(connection)
    (again,) = await submit(connection, [TaskSpec("echo", "{}", idempotency_key="k")])
    assert again.created
    assert again.id != first.id


async def test_a_key_whose_task_is_forgotten_is_free_again_in_sql(connection):
    statement = """select seedcore.enqueue('echo', '{}', '{"idempotency_key": "k"}')"""
    first = await connection.fetchval(statement)
    await forget(connection)
    again = await connection.fetchval(statement)
    assert again is not None
    assert again != first


async def test_a_claim_is_in_order_also_when_it_comes_with_ends(connection, session):
    first = await running(connection, session)
    await submit(connection, [TaskSpec("echo", "{}", priority=p) for p in (1, 5, 3, 5, 0)])
    # Rows that come later stand where earlier ones were.
    await connection.execute("vacuum seedcore.ready")
    await submit(connection, [TaskSpec("echo", "{}", priority=p) for p in (9, 2)])
    end = Outcome(first.id, first.token, Status.COMPLETED, "{}")
    _, claimed = await leases.finish_and_claim(connection, [end], "default", session, 9)
    assert [lease.priority for lease in claimed] == [9, 5, 5, 3, 2, 1, 0]
    assert [lease.seq for lease in claimed[1:3]] == sorted(lease.seq for lease in claimed[1:3])
