"""What becomes of a plan when a step fails, by its policy, and when it spends more than its budget."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from seedcore.tasks import commands, leases, queries, reaping
from seedcore.tasks.model import Lease, Outcome, PlanTerms, Retry, Status, StepSpec, TaskSpec, Usage, new_id
from seedcore.tasks.plans import repository as plan_repository
from seedcore.tasks.submission.submit import submit

pytestmark = pytest.mark.integration
Needs = Mapping[str, tuple[str, ...]]


class Planned:
    """A goal whose plan is stored, and the leases of its steps."""

    def __init__(self, connection: asyncpg.Connection, session: UUID) -> None:
        self.connection, self.session = connection, session

    async def goal(self) -> Lease:
        (submitted,) = await submit(self.connection, [TaskSpec("goal", '{"goal": "x", "inputs": {"given": 5}}')])
        (lease,) = await leases.claim(self.connection, "default", self.session, 1)
        self.id = submitted.id
        return lease

    async def plan(
        self, lease: Lease, needs: Needs, outputs: Mapping[str, str], terms: PlanTerms | None = None
    ) -> None:
        ids = {name: new_id() for name in needs}
        steps = [StepSpec(ids[n], n, f"skill.{n}", "{}", None, tuple(ids[m] for m in of)) for n, of in needs.items()]
        plan = {
            "steps": [{"id": n, "skill": f"skill.{n}", "params": {}, "needs": list(of)} for n, of in needs.items()],
            "output": {name: {"$from": step, "field": "value"} for name, step in outputs.items()},
        }
        assert await plan_repository.store_plan(self.connection, lease, "{}", json.dumps(plan), steps, terms)

    async def claim(self, *, slow: bool = False) -> dict[str, Lease]:
        claimed = await leases.claim(self.connection, "default", self.session, 100, slow=slow)
        return {lease.type.removeprefix("skill."): lease for lease in claimed}

    async def end(self, *ended: Lease, value: Any = 1, usage: Usage | None = None) -> None:
        outcomes = [
            Outcome(e.id, e.token, Status.COMPLETED, json.dumps({"value": value}), follow_up=True, usage=usage)
            for e in ended
        ]
        await leases.finish(self.connection, outcomes)

    async def fail(self, *ended: Lease) -> None:
        outcomes = [
            Outcome(e.id, e.token, Status.FAILED, error_code="boom", error_message="it broke", follow_up=True)
            for e in ended
        ]
        await leases.finish(self.connection, outcomes)

    async def states(self) -> dict[str, str]:
        return {str(r.step): r.error["code"] if r.error else str(r.status) for r in await self.children()}

    async def children(self) -> list[queries.TaskRecord]:
        return await queries.children(self.connection, self.id)

    async def record(self) -> queries.TaskRecord:
        return await queries.get(self.connection, self.id)

    async def told(self, event: str) -> list[dict[str, Any]]:
        events = await queries.events_of(self.connection, self.id)
        return [e.data for e in events if e.event == event]


@pytest.fixture
async def planned(connection: asyncpg.Connection, session: UUID) -> Planned:
    return Planned(connection, session)


SKIP = PlanTerms({"skill.b": "skip"}, {"steps": 16})
DIAMOND = {"a": (), "b": ("a",), "c": ("a",), "d": ("b",), "e": ("d",), "f": ("c",)}


async def test_a_skipped_step_takes_those_that_need_it_along_and_the_rest_goes_on(planned: Planned):
    await planned.plan(await planned.goal(), DIAMOND, {"left": "e", "right": "f"}, SKIP)
    await planned.end((await planned.claim())["a"])
    second = await planned.claim()
    await planned.fail(second["b"])
    assert await planned.states() == {
        "a": "completed",
        "b": "boom",
        "c": "running",
        "d": "need_skipped",
        "e": "need_skipped",
        "f": "waiting",
    }
    assert (await planned.told("waiting"))[-1] == {
        "skipped": "b",
        "skill": "skill.b",
        "code": "boom",
        "message": "it broke",
    }
    await planned.end(second["c"])
    await planned.end((await planned.claim())["f"], value=7)
    record = await planned.record()
    assert (record.status, record.result) == ("completed", {"right": 7})


async def test_when_no_output_is_left_a_plan_with_skipped_steps_fails(planned: Planned):
    await planned.plan(await planned.goal(), DIAMOND, {"left": "e"}, SKIP)
    await planned.end((await planned.claim())["a"])
    second = await planned.claim()
    await planned.fail(second["b"])
    await planned.end(second["c"])
    await planned.end((await planned.claim())["f"])
    record = await planned.record()
    assert record.error == {"code": "step_failed", "message": "no output is left: step b failed: it broke"}


async def test_a_step_that_must_not_fail_wins_over_one_that_may(planned: Planned):
    await planned.plan(await planned.goal(), {"a": (), "b": (), "c": ()}, {"x": "c"}, SKIP)
    claimed = await planned.claim()
    await planned.fail(claimed["a"], claimed["b"])
    assert (await planned.record()).error == {"code": "step_failed", "message": "step a failed: it broke"}
    assert (await planned.states())["c"] == "plan_failed"


async def test_a_cancelled_or_refused_step_is_skipped_like_one_that_failed(planned: Planned):
    await planned.plan(await planned.goal(), {"b": (), "c": ("b",), "d": ()}, {"x": "d"}, SKIP)
    claimed = await planned.claim()
    await commands.cancel(planned.connection, claimed["b"].id)
    assert (await planned.states())["c"] == "need_skipped"
    await planned.end(claimed["d"])
    assert (await planned.record()).result == {"x": 1}


REPLAN = PlanTerms({"*": "replan"}, {"steps": 16})


async def test_a_plan_is_made_anew_once_and_keeps_what_was_done(planned: Planned):
    await planned.plan(await planned.goal(), {"a": (), "b": (), "c": ()}, {"x": "a", "y": "b"}, REPLAN)
    claimed = await planned.claim()
    await planned.end(claimed["a"], value="kept")
    await planned.fail(claimed["b"])
    record = await planned.record()
    assert (record.status, record.attempts) == ("queued", 0)
    assert await planned.states() == {"a": "completed", "b": "boom", "c": "planned_anew"}
    assert (await planned.told("retried"))[-1]["without"] == "skill.b"
    before, _ = await plan_repository.read_earlier_plan(planned.connection, planned.id, "")
    assert before is not None
    assert (before.replans, before.without, before.steps) == (1, ("skill.b",), 3)
    assert [(d.name, d.skill, d.task) for d in before.done] == [("a", "skill.a", claimed["a"].id)]

    (lease,) = (await planned.claim(slow=True)).values()
    assert (lease.id, lease.attempt) == (planned.id, 1)
    await planned.plan(lease, {"r1.b": ()}, {"x": "a", "y": "r1.b"}, REPLAN)
    again = await planned.claim()
    await planned.end(again["r1.b"], value="new")
    assert (await planned.record()).result == {"x": "kept", "y": "new"}


async def test_the_second_failure_fails_a_plan_that_was_made_anew(planned: Planned):
    await planned.plan(await planned.goal(), {"a": (), "b": ()}, {"x": "b"}, REPLAN)
    claimed = await planned.claim()
    await planned.end(claimed["a"])
    await planned.fail(claimed["b"])
    (lease,) = (await planned.claim(slow=True)).values()
    await planned.plan(lease, {"r1.c": ()}, {"x": "r1.c"}, REPLAN)
    await planned.fail((await planned.claim())["r1.c"])
    record = await planned.record()
    assert record.error == {"code": "step_failed", "message": "step r1.c failed: it broke"}
    assert [e["code"] for e in record.errors] == ["step_failed", "step_failed"]
    # Run again by request it is planned afresh.
    await commands.retry(planned.connection, planned.id)
    assert (await plan_repository.read_earlier_plan(planned.connection, planned.id, ""))[0] is None


async def test_a_new_plan_without_steps_ends_with_what_was_done(planned: Planned):
    await planned.plan(await planned.goal(), {"a": (), "b": ()}, {"x": "b"}, REPLAN)
    claimed = await planned.claim()
    await planned.end(claimed["a"], value=3)
    await planned.fail(claimed["b"])
    (lease,) = (await planned.claim(slow=True)).values()
    plan = json.dumps({"steps": [], "output": {"x": {"$from": "a", "field": "value"}}})
    assert await plan_repository.store_plan(planned.connection, lease, "{}", plan, [], REPLAN, [claimed["a"].id])
    assert (await planned.record()).result == {"x": 3}


async def test_a_plan_that_spends_more_than_its_budget_ends_with_its_steps(planned: Planned):
    terms = PlanTerms({}, {"steps": 16, "tokens": 100, "money": 5.0})
    await planned.plan(await planned.goal(), {"a": (), "b": (), "c": ("a",)}, {"x": "c"}, terms)
    claimed = await planned.claim()
    await planned.end(claimed["a"], usage=Usage(60, 1.0))
    assert (await planned.record()).status == "waiting"
    # A failed attempt has spent, too.
    spent = Retry(claimed["b"].id, claimed["b"].token, 0.0, "boom", "it broke", usage=Usage(41, 0.0))
    assert await leases.retry(planned.connection, [spent]) == {claimed["b"].id}
    record = await planned.record()
    assert record.error is not None
    assert record.error["code"] == "budget_exceeded"
    assert "101 tokens" in record.error["message"]
    assert await planned.states() == {"a": "completed", "b": "budget_exceeded", "c": "budget_exceeded"}
    shown = await queries.plan_of(planned.connection, planned.id)
    assert shown is not None
    assert (shown["spent"]["tokens"], shown["spent"]["money"], shown["spent"]["steps"]) == (101.0, 1.0, 3)
    assert shown["budget"] == {"steps": 16, "tokens": 100, "money": 5.0}
    steps = {str(step.step): step.usage for step in await queries.children(planned.connection, planned.id)}
    assert steps == {"a": {"tokens": 60, "money": 1}, "b": {"tokens": 41, "money": 0}, "c": None}


async def test_a_lost_lease_spends_nothing(planned: Planned):
    await planned.plan(await planned.goal(), {"a": ()}, {"x": "a"}, PlanTerms({}, {"tokens": 100}))
    (lease,) = (await planned.claim()).values()
    stale = Outcome(lease.id, lease.token - 1, Status.COMPLETED, "{}", follow_up=True, usage=Usage(1000, 0.0))
    assert await leases.finish(planned.connection, [stale]) == set()
    assert await planned.connection.fetchval("select count(*) from seedcore.usage") == 0


async def test_the_time_of_a_budget_ends_a_plan(planned: Planned):
    terms = PlanTerms({}, {"steps": 16, "time_s": 60.0})
    await planned.plan(await planned.goal(), {"a": ()}, {"x": "a"}, terms)
    assert (await planned.record()).deadline is not None
    await planned.connection.execute(
        "update seedcore.plans set until = now() - interval '1 s';"
        "update seedcore.tasks set deadline = now() - interval '1 s' where parent_id is null;"
        "update seedcore.deadlines set at = now() - interval '1 s'"
    )
    assert await reaping.close_late(planned.connection) == 2
    assert (await planned.record()).error == {
        "code": "budget_exceeded",
        "message": "it had not ended within its budget's time_s",
    }
    assert (await planned.states()) == {"a": "deadline_exceeded"}


async def test_a_nearer_deadline_of_the_task_stays_and_says_so(connection: asyncpg.Connection, session: UUID):
    planned = Planned(connection, session)
    lease = await planned.goal()
    await connection.execute("update seedcore.tasks set deadline = now() + interval '1 s'")
    near = (await planned.record()).deadline
    await planned.plan(lease, {"a": ()}, {"x": "a"}, PlanTerms({}, {"time_s": 60.0}))
    assert (await planned.record()).deadline == near
    await connection.execute("insert into seedcore.deadlines (id, at) values ($1, now() - interval '1 s')", planned.id)
    await reaping.close_late(connection)
    record = await planned.record()
    assert record.error is not None
    assert record.error["code"] == "deadline_exceeded"


async def test_an_inner_plans_spending_is_the_outer_ones(planned: Planned):
    await planned.plan(await planned.goal(), {"a": (), "b": ("a",)}, {"x": "b"}, PlanTerms({}, {"tokens": 100}))
    outer, inner = planned.id, (await planned.claim())["a"]
    planned.id = inner.id
    await planned.plan(inner, {"c": ()}, {"value": "c"}, PlanTerms({}, {"tokens": 1000}))
    await planned.end((await planned.claim())["c"], usage=Usage(500, 0.0))
    assert (await planned.record()).status == "completed"
    planned.id = outer
    record = await planned.record()
    assert record.error is not None
    assert record.error["code"] == "budget_exceeded"
