"""A plan that completed often enough for its kind of goal becomes a recipe; one that starts failing is withdrawn."""

from dataclasses import replace
from uuid import UUID

import asyncpg
import pytest

from seedcore.tasks.model import PlanTerms
from seedcore.tasks.plans import repository as plan_repository
from tests.tasks.plans.test_plan_failures import Planned

pytestmark = pytest.mark.integration
LEARN = PlanTerms({}, {}, "kind", False, {"goal": "x", "inputs": {"given": "integer"}, "after": 3, "least": 0.7})
RUN = replace(LEARN, recipe=True)


@pytest.fixture
async def planned(connection: asyncpg.Connection, session: UUID) -> Planned:
    return Planned(connection, session)


async def ends(planned: Planned, terms: PlanTerms, *, good: bool = True, step: str = "a") -> None:
    await planned.plan(await planned.goal(), {step: ()}, {"x": step}, terms)
    (lease,) = (await planned.claim()).values()
    await (planned.end(lease) if good else planned.fail(lease))


async def recipe(planned: Planned, signature: str = "kind") -> list[str] | None:
    before = await plan_repository.read_earlier_plan(planned.connection, UUID(int=1), signature)
    return None if before[1] is None else [step["id"] for step in before[1]["steps"]]


async def test_it_takes_as_many_successes_of_the_same_plan_as_are_asked_for(planned: Planned):
    await ends(planned, LEARN)
    await ends(planned, LEARN, step="other")
    await ends(planned, LEARN)
    assert await recipe(planned) is None
    await ends(planned, LEARN)
    assert await recipe(planned) == ["a"]
    assert await recipe(planned, "another kind") is None


async def test_a_plan_that_fails_too_often_becomes_none(planned: Planned):
    for _ in range(4):
        await ends(planned, LEARN, good=False)
        await ends(planned, LEARN)
    assert await recipe(planned) is None


async def test_a_recipe_that_starts_failing_is_withdrawn_and_has_to_prove_itself_again(planned: Planned):
    for _ in range(3):
        await ends(planned, LEARN)
    for _ in range(5):
        await ends(planned, RUN)
    await ends(planned, RUN, good=False)
    assert await recipe(planned) == ["a"]
    failed = 1
    while await recipe(planned) is not None:
        await ends(planned, RUN, good=False)
        failed += 1
        assert failed < 10
    row = await planned.connection.fetchrow("select * from seedcore.recipes")
    assert row["reason"].startswith("5 of its last ")
    for _ in range(2):
        await ends(planned, LEARN)
    assert await recipe(planned) is None
    await ends(planned, LEARN)
    assert await recipe(planned) == ["a"]
    assert await planned.connection.fetchval("select count(*) from seedcore.plan_ends where recipe") == 5 + failed


async def test_a_step_that_makes_a_plan_be_made_anew_counts_against_the_recipe(planned: Planned):
    await planned.plan(await planned.goal(), {"a": ()}, {"x": "a"}, replace(RUN, policy={"*": "replan"}))
    (lease,) = (await planned.claim()).values()
    await planned.fail(lease)
    assert (await planned.record()).status == "queued"
    assert await planned.connection.fetch("select recipe, ok from seedcore.plan_ends") == [(True, False)]
