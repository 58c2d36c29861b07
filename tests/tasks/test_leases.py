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


async def test_the_same_key_gives_the_first_task(connection):
    first = (await submit(connection, [task(1, idempotency_key="k")]))[0]
    again = (await submit(connection, [task(1, idempotency_key="k")]))[0]
    assert (first.created, again.created, again.id) == (True, False, first.id)
    other = (await submit(connection, [task(1, idempotency_key="k", queue="graph")]))[0]
    assert other.created
    with pytest.raises(ConflictError):
        await submit(connection, [task(2, idempotency_key="k"), task(3)])
    assert await connection.fetchval("select count(*) from seedcore.tasks") == 2


async def test_keys_that_repeat_inside_a_batch_give_the_first_tasks_id(connection):
    batch = [task(1, idempotency_key="a"), task(2), task(1, idempotency_key="a")]
    answers = await submit(connection, batch)
    assert answers[0].id == answers[2].id == batch[0].id
    assert [a.created for a in answers] == [True, True, False]
    assert await connection.fetchval("select count(*) from seedcore.ready") == 2


async def test_two_submitters_of_one_key_make_one_task(database: Database):
    async def one() -> UUID:
        async with database.connection() as own:
            return (await submit(own, [task(1, idempotency_key="race")]))[0].id

    assert len(set(await asyncio.gather(*[one() for _ in range(20)]))) == 1


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
