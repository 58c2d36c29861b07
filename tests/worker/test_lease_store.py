"""What a dispatcher relies on of its lease store; the twin in memory and the one in PostgreSQL behave alike."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from seedcore.stores.sqlstates import is_row_error
from seedcore.tasks.claims.claim_cursor import ClaimCursor
from seedcore.tasks.model import Lease, Outcome, PlanTerms, Retry, Status, StepSpec, TaskSpec, new_id
from seedcore.tasks.reaping import MAX_UNCOUNTED
from seedcore.tasks.recovery.lost_leases import LastSession
from seedcore.worker.ports import HeartbeatReport, LeaseEvents, LeaseStore
from tests.worker.conftest import World


class Claimant:
    """A dispatcher's session on a lease store."""

    def __init__(self, world: World, store: LeaseStore) -> None:
        self.world, self.store, self.session = world, store, uuid4()

    async def open(self, lease_s: float = 60.0, actor: str | None = None, queue: str = "default") -> "Claimant":
        await self.store.open_session(self.session, "test", queue, lease_s, actor or str(self.session))
        return self

    async def claim(self, limit: int = 1, *, slow: bool = False) -> list[Lease]:
        return await self.store.claim("default", self.session, limit, slow=slow, cursor=ClaimCursor())

    async def claim_one(self) -> Lease:
        (lease,) = await self.claim()
        return lease

    async def heartbeat(self, **changed: Any) -> Any:
        report = HeartbeatReport(0, False, [], True, lambda: None)._replace(**changed)
        return await self.store.heartbeat(self.session, 60.0, lambda: report)


Open = Callable[..., Awaitable[Claimant]]


@pytest.fixture
async def store(world: World) -> AsyncIterator[LeaseStore]:
    async with world.engine.lease_store(world.settings) as (store, _):
        yield store


@pytest.fixture
async def claimant(world: World, store: LeaseStore) -> Claimant:
    return await Claimant(world, store).open()


def key(lease: Lease) -> tuple[UUID, int]:
    return lease.id, lease.token


def completed(lease: Lease, result: str = "{}") -> Outcome:
    return Outcome(lease.id, lease.token, Status.COMPLETED, result=result, follow_up=lease.follow_up)


async def test_a_claimed_task_is_completed_with_its_result(world: World, claimant: Claimant):
    (task_id,) = await world.submit({"a": [1, 2.5]})
    assert (await world.task(task_id)).status == "queued"
    lease = await claimant.claim_one()
    assert (lease.id, lease.attempt, json.loads(lease.params)) == (task_id, 1, {"value": {"a": [1, 2.5]}})
    assert (await world.task(task_id)).status == "running"
    assert await claimant.store.finish([completed(lease, '{"value": 1}')]) == {task_id}
    record = await world.task(task_id)
    assert (record.status, record.result, record.attempts) == ("completed", {"value": 1}, 1)
    assert await world.events(task_id) == ["submitted", "leased", "started", "completed"]


async def test_the_highest_priority_comes_first_then_the_oldest(world: World, claimant: Claimant):
    ids = [(await world.submit(n, priority=5 * (n % 2)))[0] for n in range(4)]
    assert [lease.id for lease in await claimant.claim(4)] == [ids[1], ids[3], ids[0], ids[2]]


async def test_a_claim_gives_no_more_than_its_limit_and_its_lane(world: World, claimant: Claimant):
    fast = await world.submit(*range(3))
    slow = await world.submit(*range(2), slow=True)
    assert [lease.id for lease in await claimant.claim(2)] == fast[:2]
    assert [lease.id for lease in await claimant.claim(9, slow=True)] == slow
    assert [lease.id for lease in await claimant.claim(9)] == fast[2:]


async def test_claimants_side_by_side_never_get_the_same_task(world: World, store: LeaseStore):
    ids = await world.submit(*range(200))

    async def work() -> list[UUID]:
        own, got = await Claimant(world, store).open(), []
        while batch := await own.claim(17):
            got += [lease.id for lease in batch]
        return got

    claimed = [task_id for got in await asyncio.gather(work(), work(), work()) for task_id in got]
    assert sorted(claimed) == sorted(ids)


async def test_a_session_that_was_never_opened_gets_nothing(world: World, store: LeaseStore):
    await world.submit(1)
    assert await Claimant(world, store).claim() == []


async def test_a_stale_token_changes_nothing(world: World, claimant: Claimant):
    (task_id,) = await world.submit(1)
    old, store = await claimant.claim_one(), claimant.store
    await store.release([key(old)])
    new = await claimant.claim_one()
    assert new.token > old.token
    assert await store.finish([completed(old)]) == set()
    assert await store.retry([Retry(old.id, old.token, 0, "x", "x")]) == set()
    assert await store.release([key(old)]) == set()
    assert not await store.hold(key(old), "{}", expires_s=60, on_expiry="reject")
    assert not await store.store_plan(old, "{}", "{}", [], PlanTerms(), [])
    await store.started([key(old)])
    assert "started" not in await world.events(task_id)
    assert await store.finish([completed(new)]) == {task_id}
    assert await store.finish([completed(new)]) == set()


async def test_ends_and_the_next_claim_go_together(world: World, claimant: Claimant):
    ids = await world.submit(*range(3))
    first, second = await claimant.claim(2)
    stale = completed(second)
    stale.token -= 1_000_000
    accepted, claimed = await claimant.store.finish_and_claim(
        [completed(first), stale], "default", claimant.session, 5, slow=False, cursor=ClaimCursor()
    )
    assert (accepted, [lease.id for lease in claimed]) == ({ids[0]}, [ids[2]])


async def test_a_released_task_has_used_no_attempt_and_may_move_to_the_slow_lane(world: World, claimant: Claimant):
    (task_id,) = await world.submit(1)
    lease = await claimant.claim_one()
    assert await claimant.store.release([key(lease)], slow=True) == {task_id}
    assert (await world.task(task_id)).attempts == 0
    assert await claimant.claim() == []
    (again,) = await claimant.claim(slow=True)
    assert (again.attempt, again.slow) == (1, False)


async def test_a_retry_waits_for_its_delay_and_uses_the_attempt(world: World, claimant: Claimant):
    late, soon = await world.submit(1, 2)
    leases = {lease.id: lease for lease in await claimant.claim(2)}
    retries = [Retry(i, leases[i].token, delay_s, "boom", "it broke") for i, delay_s in ((late, 60.0), (soon, 0.05))]
    assert await claimant.store.retry(retries) == {late, soon}
    assert await claimant.claim(2) == []
    await asyncio.sleep(0.1)
    await world.engine.reap()
    (again,) = await claimant.claim(2)
    assert (again.id, again.attempt) == (soon, 2)
    assert (await world.events(soon)).count("retried") == 1


async def test_a_failed_task_keeps_the_errors_of_its_attempts(world: World, claimant: Claimant):
    (task_id,) = await world.submit(1)
    lease = await claimant.claim_one()
    await claimant.store.retry([Retry(lease.id, lease.token, 0.0, "first", "one")])
    await world.engine.reap()
    lease = await claimant.claim_one()
    await claimant.store.finish([Outcome(lease.id, lease.token, Status.FAILED, None, "second", "two")])
    record = await world.task(task_id)
    assert (record.status, record.error) == ("failed", {"code": "second", "message": "two"})
    assert [(e["attempt"], e["code"]) for e in record.errors] == [(1, "first"), (2, "second")]


async def test_an_expired_session_loses_its_tasks_and_can_claim_no_more(world: World, claimant: Claimant):
    (task_id, _) = await world.submit(1, 2)
    lease = await claimant.claim_one()
    await world.engine.expire_sessions()
    assert await claimant.claim() == []
    assert await world.engine.reap() == 1
    assert not (await claimant.heartbeat()).alive
    assert await claimant.store.finish([completed(lease)]) == set()
    assert (await world.task(task_id)).status == "queued"


async def test_a_task_whose_worker_is_lost_on_the_last_attempt_fails(world: World, claimant: Claimant):
    (task_id,) = await world.submit(1, max_attempts=1)
    await claimant.claim_one()
    await world.engine.expire_sessions()
    assert await world.engine.reap() == 0
    assert ((await world.task(task_id)).error or {})["code"] == "lease_expired"


async def test_a_closed_session_and_one_whose_actor_was_restarted_lose_what_they_hold(world: World, store: LeaseStore):
    await world.submit(1, 2)
    closed, restarted = await Claimant(world, store).open(), await Claimant(world, store).open(actor="a")
    await closed.claim_one()
    await restarted.claim_one()
    await store.close_session(closed.session)
    await Claimant(world, store).open(actor="a")
    assert await world.engine.reap() == 2


async def test_a_restarted_worker_takes_back_what_its_last_process_had_in_hand(world: World, store: LeaseStore):
    """What had not begun goes on at once, what had begun as the skill says, or not at all without attempts left."""
    ids = [*await world.submit(1, 2, max_attempts=2), *await world.submit(3, max_attempts=1)]
    before = await Claimant(world, store).open(actor="a")
    unbegun, begun, last_try = await before.claim(3)
    other = await Claimant(world, store).open(actor="b")
    (foreign_id,) = await world.submit(4)
    await other.claim_one()
    asked: list[tuple[str, int]] = []

    def pause_s(task_type: str, attempt: int) -> float:
        asked.append((task_type, attempt))
        return 3600.0

    after = Claimant(world, store)
    last = LastSession(before.session, {key(begun), key(last_try), (foreign_id, 1)}, pause_s)
    await world.engine.take_over(after.session, "a", last)
    again = await after.claim_one()
    assert (again.id, again.attempt) == (unbegun.id, 1)
    assert await after.claim(5) == []
    assert ("echo", 1) in asked
    records = [await world.task(task_id) for task_id in (*ids, foreign_id)]
    found = [(r.status, r.attempts, (r.error or {}).get("code")) for r in records]
    assert found == [("running", 1, None), ("queued", 1, None), ("failed", 1, "lease_expired"), ("running", 1, None)]
    assert await world.engine.reap() == 0, "nothing is left to the reaper"
    assert await store.finish([completed(unbegun), completed(begun)]) == set()


async def test_a_task_that_never_begins_while_its_workers_die_uses_attempts_in_the_end(world: World, store: LeaseStore):
    (task_id,) = await world.submit(1, max_attempts=2)
    session = (await Claimant(world, store).open(actor="a")).session
    for n in range(MAX_UNCOUNTED + 2):
        claimant = Claimant(world, store)
        claimant.session = session
        assert (await claimant.claim_one()).attempt == max(1, n + 1 - MAX_UNCOUNTED)
        session = uuid4()
        await world.engine.take_over(session, "a", LastSession(claimant.session, set(), lambda _type, _attempt: 0.0))
        await world.engine.reap()
    record = await world.task(task_id)
    assert (record.status, record.attempts, len(record.errors)) == ("failed", 2, MAX_UNCOUNTED + 2)


async def test_a_heartbeat_says_what_the_session_holds_and_writes_what_started(world: World, claimant: Claimant):
    (task_id,) = await world.submit(1)
    lease = await claimant.claim_one()
    written: list[str] = []
    started = {"started": [key(lease)], "on_started": lambda: written.append("started")}
    pulse = await claimant.heartbeat(holding=1, claimed=True, **started)
    assert written == ["started"]
    assert (pulse.alive, pulse.owned) == (True, {key(lease): False})
    assert "started" in await world.events(task_id)
    await world.engine.age_leases()
    assert (await claimant.heartbeat()).owned == {key(lease): True}
    await world.engine.cancel(task_id)
    assert (await claimant.heartbeat()).owned == {}


async def test_a_held_task_waits_for_a_person_and_has_used_no_attempt(world: World, claimant: Claimant):
    (task_id,) = await world.submit(1)
    lease = await claimant.claim_one()
    assert await claimant.store.hold(key(lease), '{"rule": "test"}', expires_s=60, on_expiry="reject")
    record = await world.task(task_id)
    assert (record.status, record.attempts, record.decision) == ("approval", 0, {"rule": "test"})
    assert await claimant.claim() == []
    await world.engine.approve(task_id)
    again = await claimant.claim_one()
    assert (again.attempt, again.approved) == (1, True)


async def test_what_is_late_is_not_claimed_and_its_end_is_refused(world: World, claimant: Claimant):
    soon = datetime.now(UTC) + timedelta(seconds=0.4)
    held, queued = await world.submit(1, 2, deadline=soon)
    lease = await claimant.claim_one()
    assert lease.left_s is not None
    assert 0 < lease.left_s <= 0.4
    await asyncio.sleep(0.5)
    assert await claimant.claim(5) == []
    assert await claimant.store.finish([completed(lease)]) == set()
    for task_id, attempts in ((held, 1), (queued, 0)):
        record = await world.task(task_id)
        assert (record.status, (record.error or {})["code"]) == ("failed", "deadline_exceeded")
        assert record.attempts == attempts


def plan_steps() -> tuple[list[StepSpec], str]:
    first, second = new_id(), new_id()
    bound = json.dumps({"value": {"task": str(first), "field": "v"}})
    steps = [
        StepSpec(first, "a", "echo", '{"value": 1}', None, ()),
        StepSpec(second, "b", "echo", '{"more": 2}', bound, (first,)),
    ]
    return steps, json.dumps({"steps": [], "output": {"y": {"$from": "b", "field": "v"}}})


async def test_a_plans_steps_run_in_order_take_earlier_results_and_give_its_output(world: World, claimant: Claimant):
    (task_id,) = await world.submit(1)
    goal, store = await claimant.claim_one(), claimant.store
    steps, plan = plan_steps()
    assert await store.store_plan(goal, '{"rule": "test"}', plan, steps, PlanTerms(), [])
    assert (await world.task(task_id)).status == "waiting"
    (first,) = await claimant.claim(5)
    assert (first.id, first.parent_id, first.bindings) == (steps[0].id, task_id, None)
    assert await store.finish([completed(first, '{"v": 7}')]) == {first.id}
    (second,) = await claimant.claim(5)
    ((params, missing),) = await store.bind([second])
    assert (json.loads(params), missing) == ({"more": 2, "value": 7}, None)
    assert await store.finish([completed(second, '{"v": 8}')]) == {second.id}
    record = await world.task(task_id)
    assert (record.status, record.result, record.decision) == ("completed", {"y": 8}, {"rule": "test"})


async def test_a_field_that_an_earlier_result_lacks_is_named(world: World, claimant: Claimant):
    await world.submit(1)
    steps, plan = plan_steps()
    await claimant.store.store_plan(await claimant.claim_one(), "{}", plan, steps, PlanTerms(), [])
    await claimant.store.finish([completed(await claimant.claim_one())])
    ((_, missing),) = await claimant.store.bind(await claimant.claim())
    assert missing == "'v'"


async def test_a_step_that_fails_ends_its_plan_and_the_other_steps(world: World, claimant: Claimant):
    (task_id,) = await world.submit(1)
    steps, plan = plan_steps()
    await claimant.store.store_plan(await claimant.claim_one(), "{}", plan, steps, PlanTerms(), [])
    first = await claimant.claim_one()
    failed = Outcome(first.id, first.token, Status.FAILED, None, "boom", "it broke", follow_up=True)
    assert await claimant.store.finish([failed]) == {first.id}
    record = await world.task(task_id)
    assert (record.status, (record.error or {})["code"]) == ("failed", "step_failed")
    assert "it broke" in (record.error or {})["message"]
    assert (await world.task(steps[1].id)).status == "cancelled"


async def test_a_task_that_no_plan_was_made_for_has_neither_plan_nor_recipe(world: World, claimant: Claimant):
    (task_id,) = await world.submit(1)
    assert await claimant.store.read_earlier_plan(task_id, "signature") == (None, None)


@pytest.mark.parametrize("result", ['{"v": "\\u0000"}', "not JSON"])
async def test_a_batch_with_a_row_that_cannot_be_kept_is_refused_whole(world: World, claimant: Claimant, result: str):
    await world.submit(1, 2)
    good, bad = await claimant.claim(2)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await claimant.store.finish([completed(good), completed(bad, result)])
    assert is_row_error(refused.value)
    assert await claimant.store.finish([completed(good)]) == {good.id}


async def test_a_listener_hears_of_new_tasks_of_its_lane_and_of_cancelled_ones(world: World, claimant: Claimant):
    heard: list[Any] = []
    listening = asyncio.Event()

    async def on_listening() -> None:
        listening.set()

    assert not await claimant.store.wait_in_lane("default", waits=True)
    events = LeaseEvents(lambda lane, _number: heard.append(lane), heard.append, lambda _: None, on_listening)
    task = asyncio.create_task(claimant.store.listen(events))
    try:
        async with asyncio.timeout(20):
            await listening.wait()
            assert await claimant.store.wait_in_lane("default", waits=True)
            (task_id,) = await world.submit(1)
            while "default" not in heard:
                await asyncio.sleep(0.01)
            await claimant.claim_one()
            await world.engine.cancel(task_id)
            while task_id not in heard:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_deferred_task_is_claimed_when_it_is_due(world: World, claimant: Claimant):
    (task_id,) = await world.engine.submit(
        [TaskSpec("echo", "{}", run_after=datetime.now(UTC) + timedelta(seconds=0.2))]
    )
    assert await claimant.claim() == []
    await asyncio.sleep(0.3)
    await world.engine.reap()
    assert (await claimant.claim_one()).id == task_id
