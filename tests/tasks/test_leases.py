"""Leases: what a claim gives, and what fencing refuses."""

import asyncio
import json
from uuid import UUID, uuid4

import asyncpg
import pytest

from seedcore.errors import ConflictError, InvalidInputError, NotFoundError
from seedcore.stores.postgres import Database
from seedcore.tasks import commands, leases, queries, reaping, sessions
from seedcore.tasks.events.task_feed import EventFeed
from seedcore.tasks.model import Outcome, Retry, Status, StepSpec, TaskSpec, new_id
from seedcore.tasks.plans import repository as plan_repository
from seedcore.tasks.submission.submit import submit

pytestmark = pytest.mark.integration


def task(value: object = 1, **options: object) -> TaskSpec:
    return TaskSpec("echo", json.dumps({"value": value}), **options)  # type: ignore[arg-type]


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


async def test_a_task_goes_from_queued_to_completed(connection, session):
    (submitted,) = await submit(connection, [task({"a": [1, 2.5]})])
    assert (await queries.get(connection, submitted.id)).status == "queued"
    lease = await claim_one(connection, session)
    assert json.loads(lease.params) == {"value": {"a": [1, 2.5]}}
    assert (await queries.get(connection, submitted.id)).status == "running"
    assert await leases.finish(connection, [completed(lease, {"value": 1})]) == {lease.id}
    record = await queries.get(connection, submitted.id)
    assert (record.status, record.result, record.attempts) == ("completed", {"value": 1}, 1)
    events = [e.event for e in await queries.events_of(connection, submitted.id)]
    assert events == ["submitted", "leased", "started", "completed"]


async def test_higher_priority_runs_first_then_the_oldest(connection, session):
    ids = [s.id for s in await submit(connection, [task(1), task(2, priority=5), task(3), task(4, priority=5)])]
    claimed = [(await claim_one(connection, session)).id for _ in ids]
    assert claimed == [ids[1], ids[3], ids[0], ids[2]]


async def test_two_claimants_never_get_the_same_task(database: Database):
    async with database.connection() as connection:
        await submit(connection, [task(n) for n in range(500)])

    async def worker(n: int) -> list[UUID]:
        got = []
        async with database.connection() as own:
            session = uuid4()
            await sessions.open_session(own, session, f"w{n}", "default", 60)
            while batch := await leases.claim(own, "default", session, 17):
                got += [lease.id for lease in batch]
        return got

    claimed = [task_id for got in await asyncio.gather(worker(1), worker(2), worker(3)) for task_id in got]
    assert len(claimed) == len(set(claimed)) == 500


async def test_a_stale_token_changes_nothing(connection, session):
    await submit(connection, [task()])
    old = await claim_one(connection, session)
    await leases.release(connection, [(old.id, old.token)])
    new = await claim_one(connection, session)
    assert new.token > old.token
    assert await leases.finish(connection, [completed(old)]) == set()
    assert await leases.retry(connection, [Retry(old.id, old.token, 0, "x", "x")]) == set()
    assert await leases.release(connection, [(old.id, old.token)]) == set()
    assert await leases.finish(connection, [completed(new)]) == {new.id}
    assert await leases.finish(connection, [completed(new)]) == set()


async def test_a_task_given_back_has_not_used_an_attempt(connection, session):
    await submit(connection, [task()])
    first = await claim_one(connection, session)
    await leases.release(connection, [(first.id, first.token)])
    assert (first.attempt, (await claim_one(connection, session)).attempt) == (1, 1)


async def test_a_retry_waits_for_its_delay_and_counts_the_attempt(connection, session):
    (submitted,) = await submit(connection, [task()])
    lease = await claim_one(connection, session)
    await leases.retry(connection, [Retry(lease.id, lease.token, 60, "boom", "it broke")])
    assert await reaping.promote(connection) == 0
    assert await leases.claim(connection, "default", session, 1) == []
    await connection.execute("update seedcore.deferred set run_at = now()")
    assert await reaping.promote(connection) == 1
    assert (await claim_one(connection, session)).attempt == 2
    retried = [e for e in await queries.events_of(connection, submitted.id) if e.event == "retried"]
    assert retried[0].data["code"] == "boom"


async def test_cancel_wins_over_a_late_completion(connection, session):
    (submitted,) = await submit(connection, [task()])
    lease = await claim_one(connection, session)
    pulse = await sessions.heartbeat(connection, session, 60, holding=1, claimed=True, owned=True)
    assert pulse.owned == {(lease.id, lease.token): False}
    assert (await commands.cancel(connection, submitted.id)).status == "cancelled"
    pulse = await sessions.heartbeat(connection, session, 60, holding=0, claimed=True, owned=True)
    assert pulse.owned == {}
    assert await leases.finish(connection, [completed(lease)]) == set()
    with pytest.raises(ConflictError):
        await commands.cancel(connection, submitted.id)
    with pytest.raises(NotFoundError):
        await commands.cancel(connection, new_id())


async def test_a_held_task_is_released_once_or_refused(connection, session):
    first, second = await submit(connection, [task(1), task(2)])
    held = await leases.claim(connection, "default", session, 2)
    await leases.hold(connection, [(lease.id, lease.token, '{"route": "hold"}') for lease in held])
    assert (await queries.get(connection, first.id)).status == "approval"
    assert (await commands.approve(connection, first.id)).status == "queued"
    lease = await claim_one(connection, session)
    assert (lease.approved, lease.attempt) == (True, 1)
    with pytest.raises(ConflictError):
        await commands.approve(connection, first.id)
    refused = await commands.reject(connection, second.id, "not today")
    assert refused.error == {"code": "approval_rejected", "message": "not today"}


async def test_a_failed_task_can_be_run_again(connection, session):
    (submitted,) = await submit(connection, [task()])
    lease = await claim_one(connection, session)
    await leases.finish(connection, [Outcome(lease.id, lease.token, Status.FAILED, error_code="x", error_message="y")])
    assert (await commands.retry(connection, submitted.id)).status == "queued"
    assert (await claim_one(connection, session)).attempt == 1
    with pytest.raises(ConflictError):
        await commands.retry(connection, submitted.id)


async def test_params_that_postgresql_cannot_keep_are_refused_and_nothing_is_written(connection):
    with pytest.raises(InvalidInputError):
        await submit(connection, [task(1), task("\0")])
    assert await connection.fetchval("select count(*) from seedcore.tasks") == 0


async def test_sql_enqueue_joins_the_callers_transaction(connection, session):
    transaction = connection.transaction()
    await transaction.start()
    lost = await connection.fetchval("""select seedcore.enqueue('echo', '{"value": 1}')""")
    await transaction.rollback()
    with pytest.raises(NotFoundError):
        await queries.get(connection, lost)
    statement = """select seedcore.enqueue('echo', '{"value": 1}', '{"priority": 3, "idempotency_key": "s"}')"""
    kept = await connection.fetchval(statement)
    assert await connection.fetchval(statement) == kept
    lease = await claim_one(connection, session)
    assert (lease.id, lease.priority, lease.idempotency_key) == (kept, 3, "s")
    with pytest.raises(asyncpg.InvalidParameterValueError, match="unknown options: prioritty"):
        await connection.fetchval("""select seedcore.enqueue('echo', '{}', '{"prioritty": 3}')""")
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.fetchval("""select seedcore.enqueue('echo', '{}', '{"idempotency_key": "s"}')""")


async def test_a_plan_runs_its_steps_in_order_and_its_parent_ends_with_their_output(connection, session):
    (goal,) = await submit(connection, [TaskSpec("goal", json.dumps({"goal": "b", "inputs": {"x": 1}}))])
    lease = await claim_one(connection, session)
    first, second = new_id(), new_id()
    steps = [
        StepSpec(first, "s1", "echo", '{"value": 1}', None, ()),
        StepSpec(second, "s2", "echo", "{}", json.dumps({"value": {"task": str(first), "field": "value"}}), (first,)),
    ]
    plan = json.dumps({"output": {"b": {"$from": "s2", "field": "value"}, "x": {"$from": "inputs", "field": "x"}}})
    assert await plan_repository.store_plan(connection, lease, '{"route": "plan"}', plan, steps)
    assert not await plan_repository.store_plan(connection, lease, "{}", plan, steps)
    statuses = [(r.step, r.status) for r in await queries.children(connection, goal.id)]
    assert statuses == [("s1", "queued"), ("s2", "waiting")]
    one = await claim_one(connection, session)
    assert await leases.claim(connection, "default", session, 9) == []
    await leases.finish(connection, [completed(one, {"value": 42})])
    two = await claim_one(connection, session)
    assert [(json.loads(text), missing) for text, missing in await plan_repository.bind_params(connection, [two])] == [
        ({"value": 42}, None)
    ]
    assert (await queries.get(connection, goal.id)).status == "waiting"
    await leases.finish(connection, [completed(two, {"value": 43})])
    record = await queries.get(connection, goal.id)
    assert (record.status, record.result, record.decision) == ("completed", {"b": 43, "x": 1}, {"route": "plan"})


async def test_a_step_that_fails_ends_its_plan_and_the_steps_after_it(connection, session):
    (goal,) = await submit(connection, [TaskSpec("goal", "{}")])
    lease = await claim_one(connection, session)
    first, second = new_id(), new_id()
    steps = [StepSpec(first, "s1", "echo", "{}", None, ()), StepSpec(second, "s2", "echo", "{}", None, (first,))]
    await plan_repository.store_plan(connection, lease, "{}", '{"output": {}}', steps)
    one = await claim_one(connection, session)
    broken = Outcome(one.id, one.token, Status.FAILED, error_code="x", error_message="boom", follow_up=True)
    await leases.finish(connection, [broken])
    record = await queries.get(connection, goal.id)
    assert (record.status, record.error["code"]) == ("failed", "step_failed")
    assert [r.status for r in await queries.children(connection, goal.id)] == ["failed", "cancelled"]


async def test_cancelling_a_goal_cancels_its_steps(connection, session):
    (goal,) = await submit(connection, [TaskSpec("goal", "{}")])
    lease = await claim_one(connection, session)
    await plan_repository.store_plan(
        connection, lease, "{}", '{"output": {}}', [StepSpec(new_id(), "s1", "echo", "{}", None, ())]
    )
    await commands.cancel(connection, goal.id)
    assert [r.status for r in await queries.children(connection, goal.id)] == ["cancelled"]


async def test_lists_filter_by_state_and_page_by_cursor(connection, session):
    ids = [s.id for s in await submit(connection, [task(n) for n in range(5)])]
    lease = await claim_one(connection, session)
    assert [r.id for r in await queries.find(connection, status=Status.RUNNING)] == [lease.id]
    page = await queries.find(connection, limit=2)
    rest = await queries.find(connection, limit=9, before=page[-1].id)
    assert [r.id for r in page + rest] == ids[::-1]


async def test_followers_see_every_event_to_the_last(database: Database):
    feed = EventFeed(database, poll_s=5)
    async with database.connection() as connection:
        session = uuid4()
        await sessions.open_session(connection, session, "test", "default", 60)
        (submitted,) = await submit(connection, [task()])

        async def follow(after: int = 0) -> list[tuple[int, str]]:
            return [(e.id, e.event) async for e in feed.follow(submitted.id, after)]

        following = asyncio.create_task(follow())
        await asyncio.sleep(0.1)
        lease = await claim_one(connection, session)
        await leases.finish(connection, [completed(lease)])
        async with asyncio.timeout(4):
            seen = await following
            assert [e for _, e in seen] == ["submitted", "leased", "started", "completed"]
            assert await follow(seen[1][0]) == seen[2:]
            assert await feed.wait_ended(submitted.id, 1)
    await feed.aclose()
