"""A goal in free text as a task: a worker asks the Cognitive service, a scripted model plans, and the steps run."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from seedcore.cognitive.service import CognitiveService
from seedcore.errors import NoPlanError
from seedcore.skills.host_protocol import Call, Completion
from seedcore.tasks.model import GOAL, TaskSpec
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.ports import PlanRequest
from tests.cognitive.engines.llm.worlds import asking
from tests.support.scripted_model import ModelTurn, ScriptedModel
from tests.worker.conftest import World
from tests.worker.twins.decider import FAST, ScriptedDecider
from tests.worker.twins.host_pool import InMemoryHostPool, good

pytestmark = pytest.mark.integration

TEXT = "Please summarise the page for me"
PLAN = {
    "steps": [
        {"id": "s1", "skill": "http.fetch", "params": {"url": {"$from": "inputs", "field": "address"}}},
        {"id": "s2", "skill": "text.summarize", "params": {"text": {"$from": "s1", "field": "text"}}},
    ],
    "output": {"summary": {"$from": "s2", "field": "summary"}},
}
ADDRESS = "https://example.org/"
RESULTS = {"http.fetch": {"text": "A long page."}, "text.summarize": {"summary": "A page."}}


class Asked:
    """The Cognitive service in this process, as a dispatcher asks it."""

    def __init__(self, service: CognitiveService) -> None:
        self.service = service

    async def plan(self, request: PlanRequest) -> Any:
        return await self.service.invoke(
            "/plan-task",
            {
                "goal": request.goal,
                "inputs": dict(request.inputs),
                "max_steps": request.max_steps,
                "without": list(request.without),
                "done": dict(request.done),
                "tenant": request.tenant,
                "plan_id": str(request.task_id),
                "plan_tokens": request.tokens,
                "plan_money": request.money,
            },
        )


def runs(call: Call) -> Completion:
    return good(call)._replace(result=json.dumps(RESULTS[call.skill]))


def decided(lease: Any) -> RouteDecision:
    return RouteDecision("plan", "goal", "a goal is planned") if lease.type == GOAL else FAST


@asynccontextmanager
async def planning(
    world: World, *turns: ModelTurn, hosts: InMemoryHostPool | None = None
) -> AsyncIterator[ScriptedModel]:
    """A dispatcher whose goals a scripted model plans."""
    decider, hosts = ScriptedDecider(decided), hosts or InMemoryHostPool(runs)
    async with (
        asking(world.settings, *turns) as (_, model, service),
        world.dispatcher(decider, hosts, Asked(service)),
    ):
        yield model


async def submitted(world: World, **more: Any) -> UUID:
    params = {"goal": TEXT, "inputs": {"address": ADDRESS}, **more}
    (task,) = await world.engine.submit([TaskSpec(GOAL, json.dumps(params))])
    return task


async def usage_of(world: World, task: UUID) -> list[tuple[float, float]]:
    async with world.database.connection() as connection:
        return [
            tuple(row) for row in await connection.fetch("select tokens, money from seedcore.usage where id = $1", task)
        ]


async def test_its_steps_run_to_the_end_and_its_budget_pays_for_the_plan(pg_world: World):
    hosts = InMemoryHostPool(runs)
    async with planning(pg_world, ModelTurn({}), ModelTurn(PLAN), hosts=hosts) as model:
        task = await submitted(pg_world)
        record = await pg_world.until(task, "completed", "failed")
    assert record.status == "completed", record.error
    assert record.result == {"summary": "A page."}
    assert [call.skill for call in hosts.calls] == ["http.fetch", "text.summarize"]
    assert [json.loads(call.params) for call in hosts.calls] == [{"url": ADDRESS}, {"text": "A long page."}]
    assert len(model.requests) == 2
    assert ADDRESS not in json.dumps(model.requests)
    assert await usage_of(pg_world, task) == [(30, 0)], "both rounds"
    async with pg_world.database.connection() as connection:
        spent = await connection.fetchrow("select * from seedcore.spent($1, '-infinity')", task)
        row = await connection.fetchval(
            "select tokens from seedcore.llm_budgets where kind = 'plan' and name = $1", str(task)
        )
    assert (spent["tokens"], row) == (30, 30)


async def test_a_goal_whose_own_budget_holds_no_call_asks_no_model(pg_world: World):
    async with planning(pg_world, ModelTurn(PLAN)) as model:
        task = await submitted(pg_world, budget={"tokens": 5})
        record = await pg_world.until(task, "completed", "failed")
    assert model.requests == []
    assert (record.error or {})["code"] == "budget_exceeded", "the offline engine has no plan for this text"
    assert await usage_of(pg_world, task) == []


async def test_what_was_used_for_no_plan_is_written_down(pg_world: World):
    async with planning(pg_world, ModelTurn("nonsense")):
        task = await submitted(pg_world, goal="Sing me a song!", inputs={})
        record = await pg_world.until(task, "failed")
    assert (record.error or {})["code"] == NoPlanError.code
    assert await usage_of(pg_world, task) == [(30, 0)]
