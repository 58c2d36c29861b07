"""Goals through a dispatcher: what a failed step brings about, what the budget allows, and recipes."""

import asyncio
import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from seedcore.cognitive.engines.offline.cheapest_actions import SearchBounds
from seedcore.cognitive.engines.offline.planner import find_plan
from seedcore.errors import NoPlanError, SeedCoreError, UnavailableError
from seedcore.settings import load_settings
from seedcore.skills.host_protocol import Call, Completion
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.signatures import signatures
from seedcore.tasks import queries
from seedcore.tasks.model import TaskSpec
from seedcore.tasks.submission.submit import submit
from seedcore.tasks.submission.validate import Submission
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.planning.plan_steps import renamed
from seedcore.worker.ports import PlanRequest
from tests.worker.conftest import World
from tests.worker.twins.decider import FAST
from tests.worker.twins.host_pool import InMemoryHostPool, bad, good

REGISTRY = SkillRegistry.load(load_settings())
SKILLS = signatures(REGISTRY.values())
RESULTS: dict[str, dict[str, Any]] = {
    "http.fetch": {"text": "a b", "status": 200, "url": "u", "content_type": "text/html"},
    "text.keywords": {"keywords": ["a"], "scores": [1.0]},
    "text.summarize": {"summary": "a"},
}


class Searching:
    """Decides, and plans by search, as the Cognitive service does."""

    def __init__(self) -> None:
        self.requests: list[PlanRequest] = []

    ready = True

    def decide(self, tasks: Any) -> list[RouteDecision]:
        return [RouteDecision("plan", "goal", "test") if t.type == "goal" else FAST for t in tasks]

    async def plan(self, request: PlanRequest) -> Any:
        self.requests.append(request)
        bounds = SearchBounds(request.max_steps or 16)
        plan = find_plan(request.goal, request.inputs, SKILLS, bounds, without=request.without, done=request.done)
        steps = [{"id": s.id, "skill": s.skill, "params": s.params, "needs": list(s.needs)} for s in plan.steps]
        return {"steps": steps, "output": plan.output}


class Escalating(Searching):
    """One whose Coordinator plans what may be planned."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error
        self.questions = 0

    def decide(self, tasks: Any) -> list[RouteDecision]:
        self.questions += 1
        return [FAST if t.direct else RouteDecision("plan", "valve_open", "shifted") for t in tasks]

    async def plan(self, request: PlanRequest) -> Any:
        if self.error is not None:
            raise self.error
        return await super().plan(request)


async def summaries(world: World, count: int, **params: Any) -> list[UUID]:
    return await world.engine.submit([TaskSpec("text.summarize", json.dumps(params)) for _ in range(count)])


def hosts(*failing: str, usage: tuple[float, float] | None = None) -> InMemoryHostPool:
    def behave(call: Call) -> Completion:
        if call.skill in failing:
            return bad(call, retryable=False)
        result = json.dumps(RESULTS[call.skill]) if call.skill in RESULTS else call.params
        return good(call)._replace(result=result, usage=usage)

    return InMemoryHostPool(behave)


async def goal(world: World, *wanted: str, **params: Any) -> UUID:
    given = {"goal": list(wanted), "inputs": {"url": "http://x/"}, **params}
    task = Submission(world.settings, REGISTRY).check({"type": "goal", "params": given})
    return (await world.engine.submit([task]))[0]


async def steps(world: World, task_id: UUID) -> list[queries.TaskRecord]:
    return await world.engine.steps(task_id)


@pytest.mark.parametrize(
    ("signed", "said"),
    [
        ({"engine": "llm", "model": "small-1"}, "; planned by the language model small-1"),
        ({"engine": "offline", "fallback": {"code": "deadline_exceeded"}}, "gave no plan (deadline_exceeded)"),
    ],
)
@pytest.mark.integration
async def test_a_goal_says_when_a_model_planned_it_or_why_none_did(pg_world: World, signed: dict[str, Any], said: str):
    class Signing(Searching):
        async def plan(self, request: PlanRequest) -> Any:
            return {**await super().plan(request), **signed}

    service = Signing()
    async with pg_world.dispatcher(service, hosts(), service):
        record = await pg_world.until(await goal(pg_world, "summary"), "completed")
    assert record.decision is not None
    assert record.decision["reason"].endswith(said)


@pytest.mark.integration
async def test_a_goal_goes_on_without_the_skill_that_it_may_skip(pg_world: World):
    async with pg_world.dispatcher(Searching(), hosts("text.keywords"), Searching()):
        task_id = await goal(pg_world, "summary", "keywords", on_failure={"text.keywords": "skip"})
        record = await pg_world.until(task_id, "completed")
    assert record.result == {"summary": "a"}


@pytest.mark.integration
async def test_a_goal_is_planned_again_without_the_failed_skill_and_nothing_done_is_repeated(pg_world: World):
    service, machines = Searching(), hosts("text.keywords")
    async with pg_world.dispatcher(service, machines, service):
        # The status is there already; without that skill there is no way to keywords.
        task_id = await goal(pg_world, "status", "keywords", on_failure="replan")
        record = await pg_world.until(task_id, "failed")
    assert record.error is not None
    assert record.error["code"] == "no_plan"
    assert [request.without for request in service.requests] == [(), ("text.keywords",)]
    assert list(service.requests[1].done.values()) == ["http.fetch"]
    assert [c.skill for c in machines.calls].count("http.fetch") == 1


@pytest.mark.integration
async def test_steps_of_a_new_plan_take_from_those_that_were_done(pg_world: World, monkeypatch: pytest.MonkeyPatch):
    service = Searching()
    broken = {"text.summarize"}

    def behave(call: Call) -> Completion:
        if call.skill in broken:
            return bad(call, retryable=False)
        return good(call)._replace(result=json.dumps(RESULTS[call.skill]))

    async def second(request: PlanRequest) -> Any:
        if request.without:
            # As if another skill gave the summary, too.
            broken.clear()
            request = replace(request, without=())
        return await Searching.plan(service, request)

    monkeypatch.setattr(service, "plan", second)
    machines = InMemoryHostPool(behave)
    async with pg_world.dispatcher(service, machines, service):
        task_id = await goal(pg_world, "summary", "status", on_failure="replan")
        record = await pg_world.until(task_id, "completed")
    assert record.result == {"summary": "a", "status": 200}
    assert [c.skill for c in machines.calls] == ["http.fetch", "text.summarize", "text.summarize"]
    assert json.loads(machines.calls[-1].params)["text"] == "a b"
    made = [(r.step, str(r.status)) for r in await steps(pg_world, task_id)]
    assert made == [("s1", "completed"), ("s2", "failed"), ("r1.s2", "completed")]


async def test_a_task_whose_plan_is_its_own_skill_runs_as_it_is_and_is_asked_for_once(world: World):
    service, machines = Escalating(), hosts()
    async with world.dispatcher(service, machines, service):
        for n in range(3):
            (task_id,) = await summaries(world, 1, text=f"{n} b", sentences=1)
            record = await world.until(task_id, "completed")
    assert len(service.requests) == 1
    assert [json.loads(call.params) for call in machines.calls] == [
        {"text": f"{n} b", "sentences": 1} for n in range(3)
    ]
    assert (record.decision["route"], record.decision["rule"]) == ("fast", "valve_open")
    assert "the cheapest plan is the skill itself" in record.decision["reason"]
    assert await steps(world, task_id) == []


async def test_tasks_known_to_be_their_own_plan_run_in_one_question_and_never_take_the_slow_lane(world: World):
    service, machines = Escalating(), hosts()
    async with world.dispatcher(service, machines, service) as dispatcher:
        (first,) = await summaries(world, 1, text="first", sentences=1)
        await world.until(first, "completed")
        before = service.questions
        ids = await summaries(world, 200, text="a b", sentences=1)
        records = [await world.until(task_id, "completed") for task_id in ids]
        status = dispatcher.status()
    assert len(service.requests) == 1
    assert service.questions - before <= 10, "one to plan them and one to run them, for each claim"
    assert status["released"] == 0
    assert {r.decision["rule"] for r in records} == {"valve_open"}


@pytest.mark.integration
async def test_params_that_no_planner_can_read_break_no_batch(pg_world: World):
    deep = "[" * 2000 + "]" * 2000
    service, machines = Escalating(), hosts()
    async with pg_world.dispatcher(service, machines, service):
        (first,) = await summaries(pg_world, 1, text="a b")
        await pg_world.until(first, "completed")
        tasks = [TaskSpec("text.summarize", f'{{"text": {text}}}') for text in ('"a b"', deep, '"c d"')]
        async with pg_world.database.connection() as connection:
            ids = [item.id for item in await submit(connection, tasks)]
        for task_id in (ids[0], ids[2]):
            assert (await pg_world.until(task_id, "completed")).decision["rule"] == "valve_open"
        rule = "select decision->>'rule' from seedcore.finished where id = $1"
        async with asyncio.timeout(20), pg_world.database.connection() as connection:
            while (found := await connection.fetchval(rule, ids[1])) is None:
                await asyncio.sleep(0.05)
    assert found == "no_plan"


@pytest.mark.integration
async def test_a_task_that_lacks_what_its_skill_needs_is_planned_and_its_steps_are_not_planned_again(pg_world: World):
    service, machines = Escalating(), hosts()
    async with pg_world.dispatcher(service, machines, service):
        found = await summaries(pg_world, 6, url="http://x/")
        records = [await pg_world.until(task_id, "completed") for task_id in found]
        # From the sixth on a recipe does it.
        (last,) = await summaries(pg_world, 1, url="http://x/")
        record = await pg_world.until(last, "completed")
    assert all(r.result == {"summary": "a"} for r in records)
    assert [(s.step, s.type) for s in await steps(pg_world, found[0])] == [
        ("s1", "http.fetch"),
        ("s2", "text.summarize"),
    ]
    assert (record.decision["route"], record.decision["rule"]) == ("fast", "recipe")


@pytest.mark.parametrize("error", [UnavailableError("Cognitive is away"), NoPlanError("nothing leads there")])
async def test_a_task_that_no_plan_is_available_for_runs_as_it_is_and_says_so(world: World, error: SeedCoreError):
    service = Escalating(error)
    async with world.dispatcher(service, hosts(), service):
        (task_id,) = await summaries(world, 1, text="a b")
        record = await world.until(task_id, "completed")
    # The question that followed told it, to be counted in the Coordinator's health.
    assert sum(body.unplanned for body in world.reports.unheard()) == 1
    assert record.attempts == 1
    assert (record.decision["route"], record.decision["rule"]) == ("fast", "no_plan")
    assert error.detail in record.decision["reason"]


async def test_a_goal_whose_plan_has_more_steps_than_its_budget_is_not_begun(world: World):
    machines = hosts()
    async with world.dispatcher(Searching(), machines, Searching()):
        record = await world.until(await goal(world, "summary", budget={"steps": 1}), "failed")
    assert record.error is not None
    assert record.error["code"] in ("no_plan", "budget_exceeded")
    assert machines.calls == []


@pytest.mark.integration
async def test_the_steps_of_a_new_plan_count_on(pg_world: World):
    async with pg_world.dispatcher(Searching(), hosts("text.summarize"), Searching()):
        record = await pg_world.until(
            await goal(pg_world, "summary", on_failure="replan", budget={"steps": 2}), "failed"
        )
    assert record.error == {"code": "budget_exceeded", "message": "its budget of 2 steps is used up"}


@pytest.mark.integration
async def test_what_skills_report_is_held_against_the_budget(pg_world: World):
    async with pg_world.dispatcher(Searching(), hosts(usage=(600.0, 0.5)), Searching()):
        within, over = await goal(pg_world, "summary"), await goal(pg_world, "summary", budget={"tokens": 1000})
        await pg_world.until(within, "completed")
        record = await pg_world.until(over, "failed")
        async with pg_world.database.connection() as connection:
            shown = await queries.plan_of(connection, within)
    assert record.error is not None
    assert record.error["code"] == "budget_exceeded"
    assert shown is not None
    assert (shown["spent"]["tokens"], shown["spent"]["money"]) == (1200.0, 1.0)


@pytest.mark.integration
async def test_the_sixth_goal_of_a_kind_runs_the_recipe_and_a_failing_recipe_goes(pg_world: World):
    service, failing = Searching(), set[str]()

    def behave(call: Call) -> Completion:
        done = good(call)._replace(result=json.dumps(RESULTS[call.skill]))
        return bad(call, retryable=False) if call.skill in failing else done

    async with pg_world.dispatcher(service, InMemoryHostPool(behave), service):
        for n in range(6):
            record = await pg_world.until(await goal(pg_world, "summary", n=n), "completed")
            assert record.decision is not None
            assert (record.decision["route"], record.decision["rule"]) == (
                ("plan", "goal") if n < 5 else ("fast", "recipe")
            )
        assert len(service.requests) == 5
        # Another kind of goal: other inputs, or other fields.
        await pg_world.until(await goal(pg_world, "summary", inputs={"text": "a b"}), "completed")
        assert len(service.requests) == 6
        failing.add("text.summarize")
        asked = len(service.requests)
        for _ in range(5):
            await pg_world.until(await goal(pg_world, "summary"), "failed")
        assert len(service.requests) > asked


@pytest.mark.parametrize(
    "plan",
    [
        {"steps": [{"id": "a", "skill": "no.such", "params": {}, "needs": []}], "output": {}},
        {"steps": [{"id": "a", "skill": "text.summarize", "params": {"text": 5}, "needs": []}], "output": {}},
        {"steps": [], "output": {}},
        {
            "steps": [{"id": str(n), "skill": "echo", "params": {"value": 1}, "needs": []} for n in range(17)],
            "output": {},
        },
    ],
    ids=["unknown skill", "wrong type", "no steps", "too many steps"],
)
async def test_no_plan_is_stored_that_does_not_hold(
    world: World, monkeypatch: pytest.MonkeyPatch, plan: dict[str, Any]
):
    service = Searching()

    async def answers(request: PlanRequest) -> dict[str, Any]:
        return plan

    monkeypatch.setattr(service, "plan", answers)
    async with world.dispatcher(service, hosts(), service):
        task_id = await goal(world, "summary")
        record = await world.until(task_id, "failed")
    assert record.error is not None
    assert record.error["code"] in ("invalid_input", "budget_exceeded")
    assert await steps(world, task_id) == []


def test_renaming_leaves_what_is_not_the_plans_own():
    plan = {
        "steps": [{"id": "s2", "skill": "x", "params": {"a": {"$from": "s1", "field": "f"}}, "needs": ["s1"]}],
        "output": {"y": {"$from": "s2", "field": "g"}, "z": {"$from": "inputs", "field": "z"}},
    }
    moved = renamed(plan, "r1.", {"s1": "x"})
    assert moved["steps"][0] == {**plan["steps"][0], "id": "r1.s2"}  # type: ignore[index]
    assert moved["output"] == {"y": {"$from": "r1.s2", "field": "g"}, "z": {"$from": "inputs", "field": "z"}}


async def test_the_valves_see_every_task_once_whatever_becomes_of_it(world: World):
    class Watching(Escalating):
        seen = 0

        def decide(self, tasks: Any) -> list[RouteDecision]:
            self.seen += sum(not task.reported_to_valves for task in tasks)
            return super().decide(tasks)

    service = Watching()
    async with (
        world.dispatcher(service, hosts(), service, slow_slots=1),
        world.dispatcher(service, hosts(), service, slow_slots=1),
    ):
        planned = await summaries(world, 20, url="http://x/")
        direct = await summaries(world, 20, text="a b")
        for task_id in [*planned, *direct]:
            await world.until(task_id, "completed", timeout_s=60)
    assert service.seen == 40
