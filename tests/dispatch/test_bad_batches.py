"""What goes wrong with a batch in ways nobody foresaw: no lease is kept for ever, no neighbour pays."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest

from seedcore.dispatch.ports import Decision
from seedcore.errors import UnavailableError
from seedcore.tasks import leases
from seedcore.tasks.model import NewTask
from seedcore.tasks.submit import submit

from .conftest import FAST, ScriptedBrain, ScriptedHosts, World, bad, good

pytestmark = pytest.mark.integration


def plan_goals(task: Any) -> Decision:
    return Decision("plan", "goal", "test") if task.type == "goal" else FAST


async def goal(world: World, **options: Any) -> UUID:
    async with world.database.connection() as connection:
        new = NewTask("goal", json.dumps({"goal": "y", "inputs": {"x": 7}}), **options)
        return (await submit(connection, [new]))[0].id


def step(name: str, source: str, field: str) -> dict[str, Any]:
    return {"id": name, "skill": "echo", "params": {"value": {"$from": source, "field": field}}, "needs": []}


class Once:
    """Raises the first time, then does the real thing."""

    def __init__(self, real: Any, error: Exception) -> None:
        self.real, self.error, self.calls = real, error, 0

    async def __call__(self, *args: Any, **named: Any) -> Any:
        self.calls += 1
        if self.calls == 1:
            raise self.error
        return await self.real(*args, **named)


async def test_a_hold_that_the_database_does_not_take_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch):
    once = Once(leases.hold, UnavailableError("PostgreSQL went away"))
    monkeypatch.setattr(leases, "hold", once)
    brain = ScriptedBrain(decision=Decision("hold", "needs_a_person", "test"))
    async with world.dispatcher(brain, ScriptedHosts(good)):
        (task_id,) = await world.submit(1)
        assert (await world.until(task_id, "approval")).attempts == 0
    assert once.calls == 2


async def test_a_plan_that_the_database_does_not_take_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch):
    once = Once(leases.store_plan, UnavailableError("PostgreSQL went away"))
    monkeypatch.setattr(leases, "store_plan", once)
    plan = {"steps": [step("a", "inputs", "x")], "output": {"y": {"$from": "a", "field": "value"}}}
    async with world.dispatcher(ScriptedBrain(decision=plan_goals, a_plan=plan), ScriptedHosts(good)):
        assert (await world.until(await goal(world), "completed")).result == {"y": 7}
    assert once.calls == 2


async def test_a_step_whose_input_is_missing_fails_its_plan_and_no_neighbour(world: World):
    plan = {
        "steps": [step("a", "inputs", "x"), {**step("b", "a", "value"), "needs": ["a"]}],
        "output": {"y": {"$from": "b", "field": "value"}},
    }
    # The first step's skill does not give what its model declares.
    hosts = ScriptedHosts(lambda call: good(call)._replace(result="{}"))
    async with world.dispatcher(ScriptedBrain(decision=plan_goals, a_plan=plan), hosts):
        goal_id = await goal(world, max_attempts=2)
        record = await world.until(goal_id, "failed")
        assert record.error is not None
        assert record.error["code"] == "step_failed"
        assert "no earlier step's result has what this one takes: 'value'" in record.error["message"]
        (neighbour,) = await world.submit(1)
        await world.until(neighbour, "completed")


async def test_a_plan_that_makes_no_sense_fails_its_goal(world: World):
    brain = ScriptedBrain(decision=plan_goals, a_plan={"steps": [{"skill": "echo"}]})
    async with world.dispatcher(brain, ScriptedHosts(good)):
        assert (await world.until(await goal(world, max_attempts=2), "failed")).error is not None


@pytest.mark.parametrize("answers", ["too few", "an error nobody knows"])
async def test_a_coordinator_that_answers_nonsense_costs_no_attempt(world: World, answers: str):
    brain = ScriptedBrain()
    real, asked = brain.decide, []

    async def decide(tasks: Any, feedback: Any) -> list[Decision]:
        asked.append(tasks)
        if len(asked) > 1:
            return await real(tasks, feedback)
        if answers == "too few":
            return []
        raise RuntimeError("what is this?")

    brain.decide = decide  # type: ignore[method-assign]
    async with world.dispatcher(brain, ScriptedHosts(good)):
        (task_id,) = await world.submit(1)
        assert (await world.until(task_id, "completed")).attempts == 1
    assert len(asked) == 2


async def test_hosts_that_break_in_a_way_nobody_knows_cost_an_attempt(world: World):
    state = {"broken": True}

    def behave(call: Any) -> Any:
        if state.pop("broken", False):
            raise RuntimeError("what is this?")
        return good(call)

    async with world.dispatcher(ScriptedBrain(), ScriptedHosts(behave)):
        (task_id,) = await world.submit(1)
        assert (await world.until(task_id, "completed")).attempts == 2


async def test_a_host_whose_answers_end_too_early_has_lost_the_rest(world: World):
    class Short(ScriptedHosts):
        async def run(self, host: str, calls: Any) -> Any:
            self.calls += calls
            for call in calls:
                if call.attempt > 1:
                    yield [good(call)]

    async with world.dispatcher(ScriptedBrain(), Short(good)):
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

    async with world.dispatcher(ScriptedBrain(), ScriptedHosts(behave)):
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
    monkeypatch.setattr("seedcore.dispatch.watch.GRACE_S", 0.1)
    forever = asyncio.Event()

    async def behave(call: Any) -> Any:
        if json.loads(call.params)["value"] == "blocks":
            await forever.wait()
        return good(call)

    async with world.dispatcher(ScriptedBrain(), ScriptedHosts(behave)):
        (silent,) = await world.submit("blocks", max_attempts=2, timeout_s=0.2)
        neighbours = await world.submit(*range(10))
        for task_id in neighbours:
            await world.until(task_id, "completed", timeout_s=15)
        record = await world.until(silent, "failed", timeout_s=20)
    assert [error["code"] for error in record.errors] == ["host_silent", "host_silent"]
