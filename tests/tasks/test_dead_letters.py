"""Dead letters: what failed for good, with every error on the way, to look at and to run again."""

import pytest

from seedcore.errors import ConflictError
from seedcore.tasks import commands, dead_letters, leases, queries, reaping, sessions
from seedcore.tasks.model import Limit, Retry, StepSpec, new_id
from seedcore.tasks.plans import repository as plan_repository
from tests.tasks.engine_support import claim, failed, status, submitted, task

pytestmark = pytest.mark.integration


async def fail_through(connection, session, codes: list[str]) -> None:
    """Fail the one task that is there with these codes, attempt by attempt; the last one for good."""
    for code in codes[:-1]:
        (lease,) = await claim(connection, session)
        await leases.retry(connection, [Retry(lease.id, lease.token, 0, code, f"{code} happened")])
        await reaping.promote(connection)
    (lease,) = await claim(connection, session)
    await leases.finish(connection, [failed(lease, codes[-1])])


async def test_a_dead_letter_holds_every_error_on_the_way(connection, session):
    (task_id,) = await submitted(connection, task())
    await fail_through(connection, session, ["first", "second", "third"])
    record = await queries.get(connection, task_id)
    assert (str(record.status), record.attempts) == ("failed", 3)
    assert [(e["attempt"], e["code"], e["message"]) for e in record.errors] == [
        (1, "first", "first happened"),
        (2, "second", "second happened"),
        (3, "third", "third happened"),
    ]
    assert [e["at"] for e in record.errors] == sorted(e["at"] for e in record.errors)
    assert record.error == {"code": "third", "message": "third happened"}


async def test_a_worker_that_was_lost_is_one_of_the_errors(pg_settings, connection, session):
    (task_id,) = await submitted(connection, task(max_attempts=2))
    (lease,) = await claim(connection, session)
    await leases.retry(connection, [Retry(lease.id, lease.token, 0, "boom", "it broke")])
    await reaping.promote(connection)
    await claim(connection, session)
    await sessions.close_session(connection, session)
    assert (await reaping.reap(connection, pg_settings)).dead == 1
    errors = (await queries.get(connection, task_id)).errors
    assert [(e["attempt"], e["code"]) for e in errors] == [(1, "boom"), (2, "lease_expired")]


async def test_a_dead_letter_runs_again_with_all_its_attempts(connection, session):
    (task_id,) = await submitted(connection, task(max_attempts=2))
    await fail_through(connection, session, ["first", "second"])
    assert await dead_letters.requeue(connection, ids=[task_id]) == [task_id]
    assert await dead_letters.requeue(connection, ids=[task_id]) == []
    record = await queries.get(connection, task_id)
    assert (str(record.status), record.attempts, record.error) == ("queued", 0, None)
    (lease,) = await claim(connection, session)
    assert (lease.attempt, lease.max_attempts) == (1, 2)
    events = [e.event for e in await queries.events_of(connection, task_id)]
    assert events[-2:] == ["retried", "leased"]


async def test_its_errors_stay_known_when_it_dies_again(connection, session):
    (task_id,) = await submitted(connection, task())
    await fail_through(connection, session, ["first", "second"])
    await dead_letters.requeue(connection, ids=[task_id])
    await fail_through(connection, session, ["third", "fourth"])
    record = await queries.get(connection, task_id)
    assert [e["code"] for e in record.errors] == ["first", "second", "third", "fourth"]


async def test_dead_letters_are_found_and_requeued_by_type_and_code(connection, session):
    ids = await submitted(connection, *(task(n) for n in range(4)))
    codes = dict(zip(ids, ["a", "b", "a", "b"], strict=True))
    batch = await claim(connection, session)
    await leases.finish(connection, [failed(lease, codes[lease.id]) for lease in batch])
    assert [r.id for r in await dead_letters.find(connection, code="a")] == [ids[2], ids[0]]
    assert [r.id for r in await dead_letters.find(connection, task_type="echo", before=ids[2], limit=1)] == [ids[1]]
    assert {(row["code"], row["tasks"]) for row in await dead_letters.counts(connection)} == {("a", 2), ("b", 2)}
    assert await dead_letters.requeue(connection, code="a", limit=1) == [ids[2]]
    assert await dead_letters.requeue(connection, code="a") == [ids[0]]
    assert await dead_letters.requeue(connection, task_type="other") == []
    assert [await status(connection, i) for i in ids] == ["queued", "failed", "queued", "failed"]


async def test_a_step_is_requeued_with_its_plan_alone(connection, session):
    (goal,) = await submitted(connection, task())
    (lease,) = await claim(connection, session)
    step = StepSpec(new_id(), "s", "echo", "{}", None, ())
    await plan_repository.store_plan(connection, lease, "{}", '{"output": {}}', [step])
    (running,) = await claim(connection, session)
    await leases.finish(connection, [failed(running)])
    with pytest.raises(ConflictError):
        await commands.retry(connection, step.id)
    assert await dead_letters.requeue(connection, ids=[step.id, goal]) == [goal]


async def test_a_dead_letter_with_a_key_waits_for_its_place_again(connection, session):
    one, two = await submitted(connection, *(task(n, limit=Limit("k", max_running=1)) for n in range(2)))
    await reaping.admit(connection)
    await leases.finish(connection, [failed(lease) for lease in await claim(connection, session)])
    assert [lease.id for lease in await claim(connection, session)] == [two]
    await dead_letters.requeue(connection, ids=[one])
    await reaping.admit(connection)
    assert await claim(connection, session) == []
    assert await status(connection, one) == "queued"
