"""A dispatcher with scripted decisions and hosts, on the lease store in memory and on PostgreSQL."""

import asyncio
import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from seedcore.errors import InvalidInputError, UnavailableError
from seedcore.skills.host_protocol import HANDED_BACK, Call, Completion
from seedcore.skills.registry import SkillRegistry, specs_of
from seedcore.tasks.claims.claim_cursor import ClaimCursor
from seedcore.tasks.model import TaskSpec
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.ports import HostLostError, HostUnavailableError
from tests.skills import flaky
from tests.worker.conftest import World
from tests.worker.twins.decider import FAST, ScriptedDecider, ScriptedPlanService
from tests.worker.twins.host_pool import InMemoryHostPool, bad, good


async def test_tasks_run_and_their_record_says_who_decided_what(world: World):
    hosts = InMemoryHostPool(good)
    async with world.dispatcher(ScriptedDecider(), hosts):
        ids = await world.submit(*range(50))
        records = [await world.until(task_id, "completed") for task_id in ids]
    assert [record.result["value"] for record in records] == list(range(50))
    assert records[0].decision == FAST.record()
    assert len(hosts.calls) == 50


async def test_a_slow_task_delays_none_of_its_batch(world: World):
    async def slow(call: Call) -> Completion:
        await asyncio.sleep(20 if json.loads(call.params)["value"] == 0 else 0)
        return good(call)

    async with world.dispatcher(ScriptedDecider(), InMemoryHostPool(slow)):
        ids = await world.submit(*range(20))
        began = time.monotonic()
        for task_id in ids[1:]:
            await world.until(task_id, "completed")
        assert time.monotonic() - began < 15
        running = await world.until(ids[0], "running")
        assert running.finished_at is None
        async with asyncio.timeout(15):
            while "started" not in await world.events(ids[0]):
                await asyncio.sleep(0.05)


async def test_a_failed_attempt_is_tried_again_and_the_last_one_fails_the_task(world: World):
    hosts = InMemoryHostPool(bad)
    async with world.dispatcher(ScriptedDecider(), hosts):
        (task_id,) = await world.submit(1, max_attempts=3)
        record = await world.until(task_id, "failed")
    assert (record.attempts, record.error) == (3, {"code": "boom", "message": "it broke"})
    assert [call.attempt for call in hosts.calls] == [1, 2, 3]
    assert (await world.events(task_id)).count("retried") == 2


async def test_an_error_that_says_so_is_not_tried_again(world: World):
    hosts = InMemoryHostPool(lambda call: bad(call, retryable=False))
    async with world.dispatcher(ScriptedDecider(), hosts):
        (task_id,) = await world.submit(1)
        assert (await world.until(task_id, "failed")).attempts == 1


async def test_a_host_that_does_not_answer_costs_no_attempt(world: World):
    state = {"down": True}

    def behave(call: Call) -> Completion:
        if state.pop("down", False):
            raise HostUnavailableError("restarting")
        return good(call)

    async with world.dispatcher(ScriptedDecider(), InMemoryHostPool(behave)):
        (task_id,) = await world.submit(1)
        assert (await world.until(task_id, "completed")).attempts == 1


async def test_what_a_host_hands_back_costs_no_attempt_and_its_batch_goes_on(world: World):
    seen: Counter[str] = Counter()

    def behave(call: Call) -> Completion:
        seen[call.task_id] += 1
        if json.loads(call.params)["value"] == "back" and seen[call.task_id] < 3:
            return bad(call)._replace(error_code=HANDED_BACK)
        return good(call)

    async with world.dispatcher(ScriptedDecider(), InMemoryHostPool(behave)):
        back, neighbour = await world.submit("back", "other", max_attempts=1)
        record = await world.until(back, "completed", "failed")
        assert (record.status, record.attempts) == ("completed", 1)
        assert (await world.until(neighbour, "completed")).attempts == 1
    assert seen[str(back)] == 3


async def test_a_host_that_ends_while_tasks_run_costs_them_an_attempt(world: World):
    state = {"alive": True}

    def behave(call: Call) -> Completion:
        if state.pop("alive", False):
            raise HostLostError("SIGKILL")
        return good(call)

    async with world.dispatcher(ScriptedDecider(), InMemoryHostPool(behave)):
        (task_id,) = await world.submit(1)
        assert (await world.until(task_id, "completed")).attempts == 2


@pytest.mark.parametrize("loss", ["lost", "silent"])
async def test_a_lost_host_is_retried_by_the_skills_own_policy(
    memory_world: World, monkeypatch: pytest.MonkeyPatch, loss: str
):
    """SeedCore's default would wait up to a minute: the skill's own policy says a hundredth of a second."""
    registry = SkillRegistry(specs_of(flaky))
    monkeypatch.setattr(SkillRegistry, "load", lambda _settings: registry)
    monkeypatch.setattr("seedcore.worker.heartbeat.GRACE_S", 0.1)
    monkeypatch.setattr("seedcore.tasks.retry.random.uniform", lambda least, longest: longest)
    forever = asyncio.Event()

    async def behave(call: Call) -> Completion:
        if call.attempt == 1 and loss == "lost":
            raise HostLostError("SIGKILL")
        if call.attempt == 1:
            await forever.wait()
        return good(call)

    settings = {"retry_base_s": 60.0, "retry_max_s": 60.0}
    hosts = InMemoryHostPool(behave)
    async with memory_world.dispatcher(ScriptedDecider(), hosts, **settings):
        own, default = await memory_world.engine.submit(
            [TaskSpec(name, "{}", timeout_s=0.2) for name in ("test.hasty", "test.plain")]
        )
        assert (await memory_world.until(own, "completed", timeout_s=10)).attempts == 2
        record = await memory_world.until(default, "queued", timeout_s=10)
    assert [error["code"] for error in record.errors] == [f"host_{loss}"]


async def test_without_a_snapshot_tasks_wait_and_lose_no_attempt(world: World):
    decisions = ScriptedDecider(error=UnavailableError("there is no snapshot"))
    async with world.dispatcher(decisions, InMemoryHostPool(good)) as dispatcher:
        (task_id,) = await world.submit(1)
        async with asyncio.timeout(20):
            while dispatcher.status()["released"] < 2:
                await asyncio.sleep(0.02)
        decisions.error = None
        assert (await world.until(task_id, "completed")).attempts == 1


async def test_no_living_agent_means_wait(world: World):
    answers = iter([RouteDecision(None, "no_agent", "nobody"), RouteDecision(None, "no_agent", "nobody")])
    decisions = ScriptedDecider(decision=lambda task: next(answers, FAST))
    async with world.dispatcher(decisions, InMemoryHostPool(good)):
        (task_id,) = await world.submit(1)
        assert (await world.until(task_id, "completed")).attempts == 1


async def test_a_rejected_task_fails_with_the_policys_code(world: World):
    decisions = ScriptedDecider(decision=RouteDecision("reject", "unknown_skill", "no skill 'x'"))
    async with world.dispatcher(decisions, InMemoryHostPool(good)):
        (task_id,) = await world.submit(1)
        record = await world.until(task_id, "failed")
    assert record.error == {"code": "policy_rejected", "message": "no skill 'x'"}
    assert record.decision is not None
    assert record.decision["rule"] == "unknown_skill"
    assert await world.events(task_id) == ["submitted", "leased", "failed"]


async def test_a_held_task_runs_once_a_person_releases_it(world: World):
    def decide(task: dict) -> RouteDecision:
        return FAST if task.approved else RouteDecision("hold", "needs_a_person", "test")

    async with world.dispatcher(ScriptedDecider(decision=decide), InMemoryHostPool(good)):
        (task_id,) = await world.submit(1)
        await world.until(task_id, "approval")
        await world.engine.approve(task_id)
        assert (await world.until(task_id, "completed")).attempts == 1


async def test_a_goal_is_planned_and_ends_with_its_steps_output(world: World):
    plan = {
        "steps": [
            {"id": "a", "skill": "echo", "params": {"value": {"$from": "inputs", "field": "x"}}, "needs": []},
            {"id": "b", "skill": "echo", "params": {"value": {"$from": "a", "field": "value"}}, "needs": ["a"]},
        ],
        "output": {"y": {"$from": "b", "field": "value"}},
    }

    def decide(task: dict) -> RouteDecision:
        return RouteDecision("plan", "goal", "test") if task.type == "goal" else FAST

    async with world.dispatcher(ScriptedDecider(decide), InMemoryHostPool(good), ScriptedPlanService(plan)):
        goal = TaskSpec("goal", json.dumps({"goal": "y", "inputs": {"x": 7}}))
        (task_id,) = await world.engine.submit([goal])
        record = await world.until(task_id, "completed")
    assert record.result == {"y": 7}
    assert record.decision is not None
    assert record.decision["route"] == "plan"


async def test_a_goal_without_a_plan_fails_and_says_why(world: World):
    async def no_plan(request: object) -> dict:
        raise InvalidInputError("nothing makes 'y'")

    decisions = ScriptedDecider(decision=RouteDecision("plan", "goal", "test"))
    async with world.dispatcher(decisions, InMemoryHostPool(good), ScriptedPlanService(no_plan)):
        (task_id,) = await world.engine.submit([TaskSpec("goal", '{"goal": "y"}')])
        record = await world.until(task_id, "failed")
    assert record.error == {"code": "invalid_input", "message": "nothing makes 'y'"}
    assert record.attempts == 1


async def test_cancel_reaches_the_host_and_wins(world: World):
    ended = asyncio.Event()

    async def slow(call: Call) -> Completion:
        await ended.wait()
        return good(call)

    hosts = InMemoryHostPool(slow)
    async with world.dispatcher(ScriptedDecider(), hosts) as dispatcher:
        (task_id,) = await world.submit(1)
        await world.until(task_id, "running")
        await world.engine.cancel(task_id)
        async with asyncio.timeout(15):
            while str(task_id) not in hosts.cancelled:
                await asyncio.sleep(0.02)
        ended.set()
        (other,) = await world.submit(2)
        await world.until(other, "completed")
        assert dispatcher.status()["completed"] == 1
    assert (await world.task(task_id)).status == "cancelled"


async def test_a_result_that_postgresql_cannot_keep_fails_alone(world: World):
    def behave(call: Call) -> Completion:
        completion = good(call)
        if json.loads(call.params)["value"] == 3:
            return Completion(
                *[getattr(completion, f) for f in completion.__slots__][:6], result='{"value": "\\u0000"}'
            )
        return completion

    async with world.dispatcher(ScriptedDecider(), InMemoryHostPool(behave)):
        ids = await world.submit(*range(6))
        for n, task_id in enumerate(ids):
            record = await world.until(task_id, "failed" if n == 3 else "completed")
            assert (record.error is None) == (n != 3)


async def test_it_claims_only_what_it_has_room_for(world: World):
    release = asyncio.Event()

    async def slow(call: Call) -> Completion:
        await release.wait()
        return good(call)

    hosts = InMemoryHostPool(slow)
    async with world.dispatcher(ScriptedDecider(), hosts, dispatcher_room=5):
        ids = await world.submit(*range(12))
        async with asyncio.timeout(20):
            while len(hosts.calls) < 5:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        assert len(hosts.calls) == 5
        release.set()
        for task_id in ids:
            await world.until(task_id, "completed")


async def test_stopping_finishes_what_runs_and_hands_back_the_rest(world: World):
    forever = asyncio.Event()

    async def behave(call: Call) -> Completion:
        await (asyncio.sleep(0.3) if json.loads(call.params)["value"] == 0 else forever.wait())
        return good(call)

    hosts = InMemoryHostPool(behave)
    async with world.dispatcher(ScriptedDecider(), hosts) as dispatcher:
        quick, stuck = await world.submit(0, 1)
        await world.until(stuck, "running")
        async with asyncio.timeout(20):
            while len(hosts.calls) < 2:
                await asyncio.sleep(0.02)
        await dispatcher.stop(1.0)
    assert (await world.task(quick)).status == "completed"
    handed_back = await world.task(stuck)
    assert (handed_back.status, handed_back.attempts) == ("queued", 0)


async def test_a_session_that_was_reaped_changes_nothing_more_and_a_new_one_goes_on(world: World):
    """What a paused (SIGSTOP) dispatcher meets when it wakes after its leases ended."""
    release = asyncio.Event()

    async def slow(call: Call) -> Completion:
        if call.attempt == 1:
            await release.wait()
        return good(call)

    async with world.dispatcher(ScriptedDecider(), InMemoryHostPool(slow)) as dispatcher:
        (task_id,) = await world.submit(1)
        await world.until(task_id, "running")
        await world.engine.expire_sessions()
        assert await world.engine.reap() == 1
        release.set()
        record = await world.until(task_id, "completed")
        assert record.attempts == 2
        assert dispatcher.status()["sessions"] == 2


async def test_a_claim_whose_answer_got_lost_is_given_back(world: World):
    async with world.dispatcher(ScriptedDecider(), InMemoryHostPool(good)) as dispatcher:
        async with asyncio.timeout(20):
            while dispatcher.status()["session"] is None:
                await asyncio.sleep(0.02)
        (task_id,) = await world.engine.submit([TaskSpec("echo", '{"value": 1}', queue="other")])
        async with world.engine.lease_store(world.settings) as (store, _):
            await store.claim("other", UUID(dispatcher.status()["session"]), 1, slow=False, cursor=ClaimCursor())
        await world.engine.age_leases()
        record = await world.until(task_id, "queued")
        assert record.attempts == 0


@pytest.mark.integration
async def test_connections_that_break_are_an_interruption_and_nothing_is_lost(pg_world: World):
    world = pg_world
    async with world.dispatcher(ScriptedDecider(), InMemoryHostPool(good)) as dispatcher:
        ids = []
        for n in range(10):
            ids += await world.submit(*range(n * 10, n * 10 + 10))
            async with world.database.connection() as connection:
                await connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where application_name = 'dispatcher' and datname = current_database()"
                )
            await asyncio.sleep(0.05)
        for task_id in ids:
            await world.until(task_id, "completed", timeout_s=20)
        assert dispatcher.status()["sessions"] == 1


async def test_the_coordinator_is_told_what_waits_and_how_it_went(world: World):
    decisions = ScriptedDecider()
    release = asyncio.Event()

    async def behave(call: Call) -> Completion:
        if json.loads(call.params)["value"] == "slow":
            await release.wait()
        return good(call)

    async with world.dispatcher(decisions, InMemoryHostPool(behave)):
        quick, slow = await world.submit("quick", "slow")
        await world.until(quick, "completed")
        (third,) = await world.submit("third")
        await world.until(third, "completed")
        report = world.reports.take("w", "s", (0, 0), 0.0)
        assert report["outstanding"] == [{"agent": "a-1", "type": "echo", "count": 1}]
        assert [(o["agent"], o["count"], o["successes"]) for o in report["outcomes"]] == [("a-1", 2, 2)]
        assert [(s["type"], s["seen"], len(s["outcomes"])) for s in report["streams"]] == [("echo", 3, 2)]
        release.set()
        await world.until(slow, "completed")


async def test_deferred_tasks_run_when_they_are_due(world: World):
    async with world.dispatcher(ScriptedDecider(), InMemoryHostPool(good)):
        due = datetime.now(UTC) + timedelta(seconds=0.6)
        (task_id,) = await world.submit(1, run_after=due)
        record = await world.until(task_id, "completed")
    assert record.started_at is not None
    assert 0 <= (record.started_at - due).total_seconds() < 2


async def test_a_silent_host_is_given_up_after_the_skills_own_timeout(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("seedcore.worker.heartbeat.GRACE_S", 0.1)
    forever = asyncio.Event()

    async def behave(call: Call) -> Completion:
        if call.attempt == 1:
            await forever.wait()
        return good(call)

    patient = FAST._replace(timeout_s=0.2)
    async with world.dispatcher(ScriptedDecider(decision=patient), InMemoryHostPool(behave)):
        (task_id,) = await world.submit(1)
        assert (await world.until(task_id, "completed")).attempts == 2
