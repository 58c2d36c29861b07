"""seedcore.enqueue: every option, inside the caller's own transaction."""

import json
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from pydantic import ValidationError

from seedcore.tasks import limits, queries, reaping
from seedcore.tasks.submission.task_options import RATE_PER_S, TYPE
from seedcore.tasks.submission.task_request import TaskIn
from tests.tasks.engine_support import claim, db_now, submitted, task

pytestmark = pytest.mark.integration


async def enqueue(connection: asyncpg.Connection, type_: str = "echo", params: Any = None, **options: Any) -> Any:
    statement = "select seedcore.enqueue($1, $2::text::jsonb, $3::text::jsonb)"
    given = {"value": 1} if params is None else params
    return await connection.fetchval(statement, type_, json.dumps(given), json.dumps(options))


async def test_it_stores_what_it_is_told(connection, session):
    deadline = await db_now(connection, "1 hour")
    made = await enqueue(
        connection,
        queue="graph",
        domain="d",
        priority=7,
        max_attempts=9,
        timeout_s=1.5,
        deadline=deadline.isoformat(),
        idempotency_key="k",
        idempotency_period_s=60,
    )
    record = await queries.get(connection, made)
    assert (record.queue, record.domain, record.priority) == ("graph", "d", 7)
    assert (record.max_attempts, record.timeout_s, record.idempotency_key) == (9, 1.5, "k")
    assert (record.deadline, record.params) == (deadline, {"value": 1})
    assert [e.event for e in await queries.events_of(connection, made)] == ["submitted"]
    row = await connection.fetchrow("select expires_at - created_at as period from seedcore.idempotency")
    assert row["period"] == timedelta(seconds=60)
    assert await connection.fetchval("select at from seedcore.deadlines where id = $1", made) == deadline


async def test_a_task_for_later_is_deferred(connection, session):
    due = await db_now(connection, "1 hour")
    made = await enqueue(connection, run_after=due.isoformat())
    assert await connection.fetchval("select run_at from seedcore.deferred where id = $1", made) == due
    assert await claim(connection, session) == []
    past = await db_now(connection, "-1 hour")
    now = await enqueue(connection, run_after=past.isoformat())
    assert [lease.id for lease in await claim(connection, session)] == [now]


async def test_a_goal_goes_to_the_slow_lane(connection, session):
    made = await enqueue(connection, "goal", {"goal": "y"})
    assert await claim(connection, session) == []
    assert [lease.id for lease in await claim(connection, session, slow=True)] == [made]


async def test_a_limit_gates_it(connection, session):
    limit = {"key": "k", "max_running": 1, "rate_per_s": 5, "burst": 2}
    made = [await enqueue(connection, limit=limit) for _ in range(2)]
    state = await limits.get(connection, "k")
    assert (state.max_running, state.rate_per_s, state.burst, state.waiting) == (1, 5.0, 2, 2)
    await reaping.admit(connection)
    assert [lease.id for lease in await claim(connection, session)] == made[:1]


async def test_a_key_whose_period_is_over_makes_a_new_task(connection):
    first = await enqueue(connection, idempotency_key="k", idempotency_period_s=60)
    assert await enqueue(connection, idempotency_key="k") == first
    await connection.execute("update seedcore.idempotency set expires_at = now()")
    second = await enqueue(connection, params={"value": 2}, idempotency_key="k")
    assert second != first
    assert await enqueue(connection, params={"value": 2}, idempotency_key="k") == second
    with pytest.raises(asyncpg.UniqueViolationError):
        await enqueue(connection, params={"value": 3}, idempotency_key="k")


async def test_keys_are_shared_with_the_other_ways_in_and_apart_by_queue(connection):
    (first,) = await submitted(connection, task(1, idempotency_key="k"))
    assert await enqueue(connection, idempotency_key="k") == first
    assert await enqueue(connection, idempotency_key="k", queue="graph") != first


@pytest.mark.parametrize(
    ("params", "options"),
    [
        ([1], {}),
        ("text", {}),
        ({"v": "x" * 300_000}, {}),
        ({}, {"prioritty": 1}),
        ({}, {"priority": 101}),
        ({}, {"max_attempts": 0}),
        ({}, {"timeout_s": 0}),
        ({}, {"run_after": "soon"}),
        ({}, {"limit": {}}),
        ({}, {"limit": {"key": ""}}),
        ({}, {"limit": {"key": "k", "max_running": 0}}),
        ({}, {"limit": {"key": "k", "rate_per_s": -1}}),
    ],
)
async def test_what_the_api_refuses_it_refuses_too(connection, params, options):
    with pytest.raises(asyncpg.PostgresError):
        await enqueue(connection, params=params, **options)
    for table in ("tasks", "ready", "gated", "limits", "idempotency", "events"):
        assert await connection.fetchval(f"select count(*) from seedcore.{table}") == 0


async def test_types_have_the_length_that_the_api_gives_them(connection):
    for length in (TYPE.min, TYPE.max):
        assert (await queries.get(connection, await enqueue(connection, "x" * length))).type == TaskIn(
            type="x" * length
        ).type
    for length in (TYPE.min - 1, TYPE.max + 1):
        with pytest.raises(asyncpg.InvalidParameterValueError, match="type must have 1 to 200 characters"):
            await enqueue(connection, "x" * length)
        with pytest.raises(ValidationError):
            TaskIn(type="x" * length)


async def test_the_smallest_rate_lets_others_through(connection, session):
    """With a rate so small that the next start lies beyond all time, the reaper failed for every key."""
    slow = {"key": "a", "rate_per_s": RATE_PER_S.min}
    made = [await enqueue(connection, limit=limit) for limit in (slow, slow, {"key": "b"})]
    await reaping.admit(connection)
    assert [lease.id for lease in await claim(connection, session)] == [made[0], made[2]]


@pytest.mark.parametrize(
    "options",
    [
        {"queue": "No Such Name!"},
        {"idempotency_key": ""},
        {"idempotency_key": "x" * 501},
        {"idempotency_period_s": -1, "idempotency_key": "k"},
    ],
)
async def test_names_keys_and_periods_that_the_api_refuses_it_refuses_too(connection, options):
    with pytest.raises(asyncpg.PostgresError):
        await enqueue(connection, **options)


async def test_a_caller_that_rolls_back_leaves_no_trace(connection):
    """Everything goes or nothing: a failing caller leaves no trace of any kind."""
    transaction = connection.transaction()
    await transaction.start()
    soon = (await db_now(connection, "1 hour")).isoformat()
    await enqueue(connection, limit={"key": "k"}, deadline=soon, idempotency_key="k")
    await transaction.rollback()
    for table in ("tasks", "gated", "limits", "idempotency", "events", "deadlines"):
        assert await connection.fetchval(f"select count(*) from seedcore.{table}") == 0
