"""Ended tasks, as other rooms read them."""

import json

import asyncpg
import pytest

from seedcore.tasks import commands, history, leases
from seedcore.tasks.failure_codes import FailureCode
from seedcore.tasks.model import Outcome, Status, TaskSpec
from seedcore.tasks.submission.submit import submit

pytestmark = pytest.mark.integration


async def ended(connection, session, code: str | None = None, *, domain: str | None = None, agent: str = "a") -> None:
    """A task that completed, or failed with that code."""
    await submit(connection, [TaskSpec("echo", '{"value": 1}', domain=domain)])
    (lease,) = await leases.claim(connection, "default", session, 1)
    status = Status.COMPLETED if code is None else Status.FAILED
    decision = json.dumps({"route": "fast", "agent": agent})
    await leases.finish(connection, [Outcome(lease.id, lease.token, status, "{}", code, "why", decision)])


async def test_decisions_are_the_newest_first_and_no_more_than_asked_for(connection: asyncpg.Connection, session):
    for agent in "abc":
        await ended(connection, session, agent=agent, domain="shop" if agent == "c" else None)
    found = await history.decisions(connection, 2)
    assert [json.loads(past.decision)["agent"] for past in found] == ["c", "b"]
    assert [(past.type, past.domain, past.attempts) for past in found] == [("echo", "shop", 1), ("echo", "", 1)]
    assert found[0].params_bytes == len('{"value": 1}')


async def test_a_stream_is_a_type_in_a_domain(connection: asyncpg.Connection, session):
    await ended(connection, session, domain="shop")
    await ended(connection, session, FailureCode.SKILL_FAILED, domain="shop")
    await ended(connection, session)
    ends = await history.stream_ends(connection, "shop/echo", 100, 100)
    assert [end.ok for end in ends] == [False, True]
    assert ends[0].seconds is None
    assert ends[1].seconds is not None
    assert len(await history.stream_ends(connection, "echo", 100, 100)) == 1


async def test_refusals_count_as_no_failures_of_the_work(connection: asyncpg.Connection, session):
    await ended(connection, session, FailureCode.POLICY_REJECTED)
    await ended(connection, session, FailureCode.SKILL_TIMEOUT, agent="b")
    assert [end.ok for end in await history.stream_ends(connection, "echo", 100, 100)] == [False]
    (end,) = await history.recent_ends(connection, 60, 100)
    assert (end.stream, end.ok, end.attempts, end.code, end.agent) == ("echo", False, 1, "skill_timeout", "b")
    assert 0 <= end.age_s < 60


async def test_one_task_can_be_left_out_and_older_ones_are(connection: asyncpg.Connection, session):
    await ended(connection, session)
    (task,) = await submit(connection, [TaskSpec("echo", "{}")])
    await commands.cancel(connection, task.id)
    await ended(connection, session)
    both = await history.recent_ends(connection, 60, 100)
    assert [end.ok for end in both] == [True, True]
    newest = await connection.fetchval("select id from seedcore.finished order by id desc limit 1")
    assert len(await history.recent_ends(connection, 60, 100, newest)) == 1
    assert await history.recent_ends(connection, 0, 100) == []
