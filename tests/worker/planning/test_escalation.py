"""Escalated tasks through a dispatcher: moves are chosen by the Cognitive service's code, kept, learnt, remembered."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from examples import price_skills
from seedcore.cognitive.moves.escalations import Escalations
from seedcore.cognitive.moves.move_memory import MoveMemory
from seedcore.errors import NoPlanError, SkillError
from seedcore.llm.embedding.embedder import make_embedder
from seedcore.memory.long_term.store import MemoryStore
from seedcore.memory.working.working_memory import WorkingMemory
from seedcore.schemas.cognitive.planning import EscalationIn, PlanTaskRequest
from seedcore.skills.host_protocol import Call, Completion
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.signatures import signatures
from seedcore.tasks import commands, queries
from seedcore.tasks.model import Lease, TaskSpec
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.ports import PlanRequest
from tests.worker.conftest import World
from tests.worker.twins.decider import FAST
from tests.worker.twins.host_pool import InMemoryHostPool, failed, good

pytestmark = pytest.mark.integration

SKILLS = "examples.price_skills"
HELPS = "equivalent:shop.price_with_comma"
READERS = {
    "shop.price": r"(\d{1,3}(?:,?\d{3})*)\.(\d\d)",
    "shop.price_check": r"(\d{1,3}(?:,?\d{3})*)\.(\d\d)",
    "shop.price_in_cents": r"(\d+) ct (\d\d)",
    "shop.price_with_comma": r"(\d{1,3}(?:\.?\d{3})*),(\d\d)",
}


class Cognition:
    """Decides that every task's stream changed, and asks `Escalations` for plans."""

    ready = True

    def __init__(self, world: World) -> None:
        self.working = WorkingMemory(world.settings)
        memory = MoveMemory(MemoryStore(world.database, make_embedder(world.settings)))
        self.escalations = Escalations(world.settings, world.database, memory, self.working)
        settings = world.settings.model_copy(update={"skills": SKILLS})
        self.skills = signatures(SkillRegistry.load(settings).values())
        self.requests: list[PlanRequest] = []

    def decide(self, tasks: Sequence[Lease]) -> list[RouteDecision]:
        planned = RouteDecision("plan", "valve_open", "the stream changed", evidence=0.9)
        # A task that runs as it is keeps the rule that escalated it, as with the real decider.
        return [FAST if task.direct else planned for task in tasks]

    async def plan(self, request: PlanRequest) -> Any:
        self.requests.append(request)
        task = request.escalation
        assert task is not None
        given = EscalationIn(stream=task.stream, rule=task.rule, why=task.why, tenant=task.tenant, task_id=task.task_id)
        asked = PlanTaskRequest(
            goal=request.goal,
            inputs=dict(request.inputs),
            without=list(request.without),
            done=dict(request.done),
            escalation=given,
        )
        answer = await self.escalations.plan(asked, self.skills)
        if answer is None:
            raise NoPlanError("no move")
        return answer.model_dump(mode="json")


def reads(call: Call) -> Completion:
    try:
        cents = price_skills._cents(json.loads(call.params)["text"], READERS[call.skill])
    except SkillError as error:
        return failed(call, "skill_failed", error.detail, retryable=False)
    result = {"readable": True} if call.skill == "shop.price_check" else {"cents": cents}
    return good(call)._replace(result=json.dumps(result))


@pytest.fixture
async def cognition(pg_world: World) -> AsyncIterator[Cognition]:
    found = Cognition(pg_world)
    yield found
    await found.working.close()


@asynccontextmanager
async def running(world: World, cognition: Cognition, **changed: Any) -> AsyncIterator[InMemoryHostPool]:
    hosts = InMemoryHostPool(reads)
    async with world.dispatcher(cognition, hosts, cognition, skills=SKILLS, **changed):
        yield hosts


async def prices(world: World, *texts: str, domain: str = "de") -> list[UUID]:
    return await world.engine.submit([TaskSpec("shop.price", json.dumps({"text": t}), domain=domain) for t in texts])


async def moves_of(world: World, task_id: UUID) -> list[tuple[str, bool | None, int | None]]:
    async with world.database.connection() as connection:
        rows = await connection.fetch(
            "select move, helped, steps from seedcore.move_outcomes where task_id = $1 order by n", task_id
        )
    return [(row["move"], row["helped"], row["steps"]) for row in rows]


async def test_work_that_goes_well_runs_as_it_is_and_few_ask(pg_world: World, cognition: Cognition):
    async with running(pg_world, cognition):
        for _ in range(3):
            tasks = await prices(pg_world, *["12.50"] * 20)
            records = [await pg_world.until(task, "completed") for task in tasks]
    assert all(record.result == {"cents": 1250} for record in records)
    assert "run as it is" in (records[-1].decision or {})["reason"]
    assert len(cognition.requests) < 25


async def test_the_second_occurrence_is_solved_from_the_memory_of_the_first(pg_world: World, cognition: Cognition):
    async with running(pg_world, cognition) as hosts:
        first = await solved(pg_world, "de")
        runs = len(hosts.calls)
        await cognition.escalations.remember()
        second = await solved(pg_world, "at")
    tried = [move for task in first for move in await moves_of(pg_world, task)]
    assert (HELPS, True, 1) in tried
    assert [helped for _, helped, _ in tried].count(False) >= 2
    assert await moves_of(pg_world, second[0]) == [(HELPS, True, 1)]
    assert len(second) == 1
    assert len(hosts.calls) - runs == 1
    assert runs >= 4
    decision = (await pg_world.task(second[0])).decision or {}
    assert decision["move"]["move"] == HELPS
    assert len(decision["move"]["memories"]) >= 1
    assert "of like incidents" in decision["reason"]


async def solved(world: World, domain: str) -> list[UUID]:
    """Submit prices until one is read; returns their tasks."""
    tasks: list[UUID] = []
    for _ in range(30):
        tasks += await prices(world, "1.234,50", domain=domain)
        record = await world.until(tasks[-1], "completed", "failed", "approval")
        if record.status == "completed":
            assert record.result == {"cents": 123450}
            return tasks
    raise AssertionError(f"not solved: {record.decision}, {record.error}")


async def test_moves_are_tried_in_turn_for_one_task_and_a_person_is_asked_at_last(
    pg_world: World, cognition: Cognition
):
    async with running(pg_world, cognition):
        # For a moment after an answer others like it run without asking, so which of them is asked about varies.
        for _ in range(40):
            (task,) = await prices(pg_world, "no price at all")
            record = await pg_world.until(task, "failed", "approval")
            if record.status == "approval":
                break
        assert record.status == "approval"
        assert (record.decision or {})["rule"] == "escalation"
        assert "a person decides" in (record.decision or {})["reason"]
        async with pg_world.database.connection() as connection:
            await commands.approve(connection, task, by="ada")
        record = await pg_world.until(task, "failed")
    assert "a person approved it" in (record.decision or {})["reason"]
    assert record.error is not None
    assert record.error["code"] == "skill_failed"


async def test_a_sample_runs_first_and_the_others_go_on_when_it_went_well(pg_world: World, cognition: Cognition):
    await half_fails(pg_world, cognition)
    async with running(pg_world, cognition, concurrency=4):
        tasks = await prices(pg_world, *["12.50"] * 40)
        records = [await pg_world.until(task, "completed") for task in tasks]
    moves = [await moves_of(pg_world, task) for task in tasks]
    assert moves.count([("sample", True, 1)]) == 5
    assert all(record.result == {"cents": 1250} for record in records)
    async with pg_world.database.connection() as connection:
        assert await connection.fetchval("select count(*) from seedcore.holds") == 0
        events = [e for task in tasks for e in await queries.events_of(connection, task) if e.event == "approval"]
    assert sum(event.data.get("how") == "sample" for event in events) >= 1


async def test_after_a_sample_that_failed_the_others_wait_for_a_person(pg_world: World, cognition: Cognition):
    await half_fails(pg_world, cognition)
    async with running(pg_world, cognition, concurrency=4):
        tasks = await prices(pg_world, *["12,50"] * 40)
        for task in tasks:
            await pg_world.until(task, "failed", "approval", "completed")
        async with pg_world.database.connection() as connection:
            status = await connection.fetchval(
                "select status from seedcore.stream_samples where stream = 'de/shop.price'"
            )
            held = await connection.fetchval("select count(*) from seedcore.held where status = 'approval'")
            reason = await connection.fetchval("select reason from seedcore.holds where stream = 'de/shop.price'")
    assert status == "failed"
    assert held >= 20
    assert "a first sample of 5 runs before the others" in reason


async def half_fails(world: World, cognition: Cognition) -> None:
    """Half of the newest runs of the stream failed; only samples are allowed."""
    cognition.escalations._settings = world.settings.model_copy(update={"escalation_moves": "sample"})
    async with running(world, cognition):
        for text in ("12.50", "no", "12.50", "no", "12.50", "no"):
            (task,) = await prices(world, text)
            await world.until(task, "completed", "failed")


async def test_who_chose_to_sample_before_a_sample_ended_starts_no_other_one(pg_world: World):
    async with pg_world.database.connection() as connection:

        async def join(after: UUID | None) -> str | None:
            return await connection.fetchval("select seedcore.join_sample('de/x', 1, 600, $1)", after)

        async def ended(good: bool) -> UUID:
            found = await connection.fetchval("select id from seedcore.stream_samples where stream = 'de/x'")
            await connection.execute("select seedcore.sample_ended('de/x', $1, $2)", found, good)
            return found

        assert await join(None) is None
        for good in (True, False):
            last = await ended(good)
            assert f"(sample {last})" in (await join(None) or "")
            assert f"(sample {last})" in (await join(UUID(int=1)) or "")
            assert await join(last) is None


async def test_a_task_that_comes_after_its_sample_has_passed_goes_on(pg_world: World, cognition: Cognition):
    await half_fails(pg_world, cognition)
    # An answer from before the sample: the history that is known does not change any more.
    history = cognition.escalations._history
    kept: list[Any] = []

    async def old(escalation: Any) -> Any:
        kept[:] = kept or [(await history(escalation))._replace(waiting=40)]
        return kept[0]

    cognition.escalations._history = old  # type: ignore[method-assign]
    async with running(pg_world, cognition, concurrency=4):
        first = await prices(pg_world, *["12.50"] * 5)
        for task in first:
            await pg_world.until(task, "completed")
        (late,) = await prices(pg_world, "12.50")
        async with asyncio.timeout(20):
            while (how := await released(pg_world, late)) is None:
                await asyncio.sleep(0.02)
    assert how == "sample"
    assert await moves_of(pg_world, late) == []


async def released(world: World, task_id: UUID) -> str | None:
    async with world.database.connection() as connection:
        events = await queries.events_of(connection, task_id)
    return next((event.data.get("how") for event in events if event.data.get("released")), None)


async def test_a_task_that_waits_for_a_sample_that_another_has_replaced_goes_on(pg_world: World):
    (task,) = await prices(pg_world, "12.50")
    async with pg_world.database.connection() as connection:
        assert await connection.fetchval("select seedcore.join_sample('de/x', 1, 600, null)") is None
        why = f"a first sample of 1 runs before the others (sample {UUID(int=1)})"
        await connection.execute("delete from seedcore.ready where id = $1", task)
        decision = json.dumps({"rule": "sample_first", "reason": why})
        await connection.execute(
            "insert into seedcore.held (id, status, attempts, decision) values ($1, 'approval', 0, $2)", task, decision
        )
    assert (await pg_world.task(task)).status == "queued"
