"""What goes wrong with a batch in ways nobody foresaw: no lease is kept for ever, no neighbour pays."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from seedcore.errors import UnavailableError
from seedcore.schemas.snapshot import WorkerReport
from seedcore.tasks.model import TaskSpec
from seedcore.tasks.submission.submit import submit
from seedcore.web.service_base import parse
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.lease_store import PostgresLeaseStore
from tests.worker.conftest import World
from tests.worker.task_engines import MemoryEngine
from tests.worker.twins.decider import FAST, ScriptedDecider, ScriptedPlanService
from tests.worker.twins.host_pool import InMemoryHostPool, bad, good
from tests.worker.twins.lease_store import InMemoryLeaseStore


def plan_goals(task: Any) -> RouteDecision:
    return RouteDecision("plan", "goal", "test") if task.type == "goal" else FAST


async def goal(world: World, **options: Any) -> UUID:
    new = TaskSpec("goal", json.dumps({"goal": "y", "inputs": {"x": 7}}), **options)
    return (await world.engine.submit([new]))[0]


def step(name: str, source: str, field: str) -> dict[str, Any]:
    return {"id": name, "skill": "echo", "params": {"value": {"$from": source, "field": field}}, "needs": []}


def fail_once(monkeypatch: pytest.MonkeyPatch, world: World, name: str) -> list[str]:
    """Let a method of the lease store fail the first time, and count its calls."""
    store = InMemoryLeaseStore if isinstance(world.engine, MemoryEngine) else PostgresLeaseStore
    real, calls = getattr(store, name), []

    async def method(*args: Any, **named: Any) -> Any:
        calls.append(name)
        if len(calls) == 1:
            raise UnavailableError("PostgreSQL went away")
        return await real(*args, **named)

    monkeypatch.setattr(store, name, method)
    return calls


async def test_a_hold_that_the_database_does_not_take_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch):
    calls = fail_once(monkeypatch, world, "hold")
    decisions = ScriptedDecider(decision=RouteDecision("hold", "needs_a_person", "test"))
    async with world.dispatcher(decisions, InMemoryHostPool(good)):
        (task_id,) = await world.submit(1)
        assert (await world.until(task_id, "approval")).attempts == 0
    assert len(calls) == 2


async def test_a_plan_that_the_database_does_not_take_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch):
    calls = fail_once(monkeypatch, world, "store_plan")
    plan = {"steps": [step("a", "inputs", "x")], "output": {"y": {"$from": "a", "field": "value"}}}
    decisions, plans = ScriptedDecider(plan_goals), ScriptedPlanService(plan)
    async with world.dispatcher(decisions, InMemoryHostPool(good), plans):
        assert (await world.until(await goal(world), "completed")).result == {"y": 7}
    assert len(calls) == 2


async def test_a_step_whose_input_is_missing_fails_its_plan_and_no_neighbour(world: World):
    plan = {
        "steps": [step("a", "inputs", "x"), {**step("b", "a", "value"), "needs": ["a"]}],
        "output": {"y": {"$from": "b", "field": "value"}},
    }
    # The first step's skill does not give what its model declares.
    hosts = InMemoryHostPool(lambda call: good(call)._replace(result="{}"))
    async with world.dispatcher(ScriptedDecider(plan_goals), hosts, ScriptedPlanService(plan)):
        goal_id = await goal(world, max_attempts=2)
        record = await world.until(goal_id, "failed")
        assert record.error is not None
        assert record.error["code"] == "step_failed"
        assert "no earlier step's result has what this one takes: 'value'" in record.error["message"]
        (neighbour,) = await world.submit(1)
        await world.until(neighbour, "completed")


async def test_a_plan_that_makes_no_sense_fails_its_goal(world: World):
    plans = ScriptedPlanService({"steps": [{"skill": "echo"}]})
    async with world.dispatcher(ScriptedDecider(plan_goals), InMemoryHostPool(good), plans):
        assert (await world.until(await goal(world, max_attempts=2), "failed")).error is not None


@pytest.mark.parametrize("answers", ["too few", "an error nobody knows"])
async def test_a_decision_that_fails_for_no_known_reason_is_tried_again(world: World, answers: str):
    decisions = ScriptedDecider()
    real, asked = decisions.decide, []

    def decide(tasks: Any) -> list[RouteDecision]:
        asked.append(tasks)
        if len(asked) > 1:
            return real(tasks)
        if answers == "too few":
            return []
        raise RuntimeError("what is this?")

    decisions.decide = decide  # type: ignore[method-assign]
    async with world.dispatcher(decisions, InMemoryHostPool(good)) as dispatcher:
        (task_id,) = await world.submit(1)
        record = await world.until(task_id, "completed")
        assert dispatcher.status()["refused_tasks"] == 1
    assert record.attempts == 2


async def test_hosts_that_break_in_a_way_nobody_knows_cost_an_attempt(world: World):
    state = {"broken": True}

    def behave(call: Any) -> Any:
        if state.pop("broken", False):
            raise RuntimeError("what is this?")
        return good(call)

    async with world.dispatcher(ScriptedDecider(), InMemoryHostPool(behave)):
        (task_id,) = await world.submit(1)
        assert (await world.until(task_id, "completed")).attempts == 2


async def test_a_host_whose_answers_end_too_early_has_lost_the_rest(world: World):
    class Short(InMemoryHostPool):
        async def run(self, host: str, calls: Any) -> Any:
            self.calls += calls
            for call in calls:
                if call.attempt > 1:
                    yield [good(call)]

    async with world.dispatcher(ScriptedDecider(), Short(good)):
        (task_id,) = await world.submit(1)
        assert (await world.until(task_id, "completed")).attempts == 2


@pytest.mark.parametrize("text", ["\0", "\ud800", "x" * 100_000], ids=["NUL", "half a character", "long"])
@pytest.mark.parametrize("field", ["error_message", "error_code", "result"])
async def test_text_that_postgresql_cannot_keep_ends_its_task_and_holds_nobody_up(world: World, text: str, field: str):
    def behave(call: Any) -> Any:
        if json.loads(call.params)["value"] != "bad":
            return good(call)
        if field == "result":
            return good(call)._replace(result=json.dumps({"v": text}, ensure_ascii=False))
        return bad(call)._replace(**{field: text})

    async with world.dispatcher(ScriptedDecider(), InMemoryHostPool(behave)):
        (wrong,) = await world.submit("bad", max_attempts=2)
        neighbours = await world.submit(*range(5))
        for task_id in neighbours:
            await world.until(task_id, "completed")
        kept = await world.until(wrong, "failed", "completed")
        if field == "result":
            assert (kept.status, kept.error is None) == (("completed", True) if len(text) > 1 else ("failed", False))
        else:
            assert kept.status == "failed"
            assert len(json.dumps(kept.errors)) < 20_000


async def test_a_host_that_never_answers_ends_its_task_and_delays_no_neighbour(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    """What a skill looks like that blocks its host's loop: every attempt runs out of its own time, then it is over."""
    monkeypatch.setattr("seedcore.worker.heartbeat.GRACE_S", 0.1)
    forever = asyncio.Event()

    async def behave(call: Any) -> Any:
        if json.loads(call.params)["value"] == "blocks":
            await forever.wait()
        return good(call)

    async with world.dispatcher(ScriptedDecider(), InMemoryHostPool(behave)):
        (silent,) = await world.submit("blocks", max_attempts=2, timeout_s=0.2)
        neighbours = await world.submit(*range(10))
        for task_id in neighbours:
            await world.until(task_id, "completed", timeout_s=15)
        record = await world.until(silent, "failed", timeout_s=20)
    assert [error["code"] for error in record.errors] == ["host_silent", "host_silent"]


async def test_a_task_that_cannot_be_decided_about_fails_alone_and_its_neighbours_run(world: World):
    decisions = ScriptedDecider(refuses=lambda task: len(task.domain or "") > 200)
    async with world.dispatcher(decisions, InMemoryHostPool(good)) as dispatcher:
        early, bad_one = (*await world.submit(1), *await world.submit(2, domain="d" * 201))
        neighbours = [early, *await world.submit(*range(30))]
        record = await world.until(bad_one, "failed")
        for task_id in neighbours:
            await world.until(task_id, "completed", timeout_s=10)
        assert dispatcher.status()["refused_tasks"] == 1
    assert record.error is not None
    assert (record.error["code"], record.attempts) == ("decision_refused", 1)
    assert f"task {bad_one} is refused" in record.error["message"]


ODD: list[dict[str, Any]] = [
    {"usage": (0.0, float("inf"))},
    {"usage": (float("nan"), 1e308)},
    {"usage": (0.0, None)},
    {"seconds": float("nan")},
    {"seconds": -5.0},
    {"seconds": 1e300},
]


async def test_figures_that_cannot_be_are_bounded_and_seen_and_block_no_report(world: World):
    decisions = ScriptedDecider()
    hosts = InMemoryHostPool(lambda call: good(call)._replace(**ODD[json.loads(call.params)["value"]]))
    async with world.dispatcher(decisions, hosts) as dispatcher:
        for _ in range(2):
            for task_id in await world.submit(*range(len(ODD))):
                await world.until(task_id, "completed", timeout_s=10)
        assert dispatcher.status()["bounded_reports"] == 2 * len(ODD)
    report = parse(WorkerReport, world.reports.take("w", "s", (0, 0), 0.0))
    assert sum(outcome["count"] for outcome in report.outcomes) == 2 * len(ODD)


@pytest.mark.integration
@pytest.mark.parametrize("value", ["1e4300", "[" * 1100 + "]" * 1100], ids=["4300 digits", "1100 deep"])
async def test_what_python_cannot_read_is_handed_from_step_to_step(pg_world: World, value: str):
    plan = {
        "steps": [step("a", "inputs", "x"), {**step("b", "a", "value"), "needs": ["a"]}],
        "output": {"y": {"$from": "b", "field": "value"}},
    }

    def behave(call: Any) -> Any:
        return good(call)._replace(result=f'{{"value": {value}}}')

    async with pg_world.dispatcher(ScriptedDecider(plan_goals), InMemoryHostPool(behave), ScriptedPlanService(plan)):
        goal_id, (neighbour,) = await goal(pg_world), await pg_world.submit(1)
        await ended(pg_world, goal_id, neighbour)
    async with pg_world.database.connection() as connection:
        ends = "select count(*) from seedcore.finished where status = 'completed' and id = any($1)"
        assert await connection.fetchval(ends, [goal_id, neighbour]) == 2


async def ended(world: World, *task_ids: UUID) -> None:
    """Wait without reading results: these are not for Python."""
    async with asyncio.timeout(20), world.database.connection() as connection:
        while await connection.fetchval("select count(*) from seedcore.ended where id = any($1)", task_ids) < len(
            task_ids
        ):
            await asyncio.sleep(0.02)


@pytest.mark.integration
async def test_a_plan_whose_end_the_database_refuses_holds_nobody_up(pg_world: World):
    """What an older release stored as a plan may be anything."""
    plan = {"steps": [step("a", "inputs", "x")], "output": {"y": {"$from": "a", "field": "value"}}}
    released = asyncio.Event()

    async def behave(call: Any) -> Any:
        if json.loads(call.params)["value"] == 7:
            await released.wait()
        return good(call)

    async with pg_world.dispatcher(
        ScriptedDecider(plan_goals), InMemoryHostPool(behave), ScriptedPlanService(plan)
    ) as dispatcher:
        goal_id = await goal(pg_world)
        await pg_world.until(goal_id, "waiting")
        async with pg_world.database.connection() as connection:
            await connection.execute("update seedcore.held set plan = '{\"output\": 5}' where id = $1", goal_id)
            released.set()
            of_plan = await connection.fetchval("select id from seedcore.tasks where parent_id = $1", goal_id)
        assert (await pg_world.until(of_plan, "failed")).error is not None
        (neighbour,) = await pg_world.submit(1)
        await pg_world.until(neighbour, "completed", timeout_s=10)
        assert dispatcher.status()["unwritable"] >= 1


async def test_a_retry_that_the_database_refuses_ends_its_task_alone(world: World):
    def behave(call: Any) -> Any:
        odd = json.loads(call.params)["value"] == "odd"
        return bad(call)._replace(retry_within_s=1e300) if odd else good(call)

    async with world.dispatcher(ScriptedDecider(), InMemoryHostPool(behave)) as dispatcher:
        (odd,) = await world.submit("odd")
        neighbours = await world.submit(*range(5))
        for task_id in neighbours:
            await world.until(task_id, "completed", timeout_s=10)
        record = await world.until(odd, "failed")
        assert dispatcher.status()["unwritable"] == 1
    assert record.error is not None
    assert record.error["code"] == "result_not_storable"


async def test_a_hold_that_cannot_be_kept_fails_its_task(world: World):
    held = RouteDecision("hold", "needs_a_person", "test", hold_s=1e300)
    decisions = ScriptedDecider(decision=lambda task: held if "odd" in task.params else FAST)
    async with world.dispatcher(decisions, InMemoryHostPool(good)):
        (odd,), (neighbour,) = await world.submit("odd"), await world.submit(1)
        assert (await world.until(odd, "failed")).error is not None
        await world.until(neighbour, "completed")


async def test_a_task_whose_deadline_passes_before_it_begins_is_not_begun(world: World):
    """The decision takes too long for one; the one beside it has no deadline."""
    decisions, hosts = ScriptedDecider(), InMemoryHostPool(good)
    real = decisions.decide

    def decide(tasks: Any) -> list[RouteDecision]:
        time.sleep(1.0 if any(task.left_s is not None for task in tasks) else 0)
        return real(tasks)

    decisions.decide = decide  # type: ignore[method-assign]
    soon = datetime.now(UTC) + timedelta(seconds=0.8)
    hurried, other = (*await world.submit(1, deadline=soon), *await world.submit(2))
    async with world.dispatcher(decisions, hosts):
        record = await world.until(hurried, "failed", timeout_s=10)
        await world.until(other, "completed", timeout_s=10)
    assert record.error is not None
    assert record.error["code"] == "deadline_exceeded"
    assert [call.task_id for call in hosts.calls] == [str(other)]


@pytest.mark.integration
async def test_a_plan_with_a_millisecond_of_time_does_not_complete(pg_world: World):
    plan = {"steps": [step("a", "inputs", "x")], "output": {"y": {"$from": "a", "field": "value"}}}
    hosts = InMemoryHostPool(good)
    params = json.dumps({"goal": "y", "inputs": {"x": 7}, "budget": {"time_s": 0.001}})
    async with pg_world.database.connection() as connection:
        goal_id = (await submit(connection, [TaskSpec("goal", params)]))[0].id
    async with pg_world.dispatcher(ScriptedDecider(plan_goals), hosts, ScriptedPlanService(plan)):
        record = await pg_world.until(goal_id, "failed", "completed", timeout_s=10)
    assert record.error is not None
    assert record.error["code"] == "budget_exceeded"
    assert hosts.calls == []
