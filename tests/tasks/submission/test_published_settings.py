"""What gateways let SQL know: skills' attempts and lanes, and the settings' bounds."""

import asyncio

import asyncpg
import pytest

from seedcore.settings import Settings
from seedcore.skills.registry import SkillRegistry
from seedcore.stores.postgres import Database
from seedcore.tasks import leases, queries
from seedcore.tasks.model import StepSpec, TaskSpec, new_id
from seedcore.tasks.plans import repository as plan_repository
from seedcore.tasks.submission.published_settings import Publisher, publish
from seedcore.tasks.submission.submit import submit

pytestmark = pytest.mark.integration

ONCE = "select seedcore.enqueue('declaring.once', '{}')"


@pytest.fixture
def skills(settings: Settings) -> SkillRegistry:
    return SkillRegistry.load(settings.model_copy(update={"skills": "tests.client.declaring_skills"}))


async def attempts(connection: asyncpg.Connection, statement: str) -> int:
    return (await queries.get(connection, await connection.fetchval(statement))).max_attempts


async def test_what_nobody_has_published_has_the_defaults_of_the_settings(connection, settings):
    assert await attempts(connection, ONCE) == settings.max_attempts
    params = "jsonb_build_object('value', repeat('x', {} - 12))"
    await connection.fetchval(f"select seedcore.enqueue('echo', {params.format(settings.max_params_bytes)})")
    with pytest.raises(asyncpg.InvalidParameterValueError, match="SEEDCORE_MAX_PARAMS_BYTES"):
        await connection.fetchval(f"select seedcore.enqueue('echo', {params.format(settings.max_params_bytes + 1)})")


async def test_what_is_published_again_takes_the_place_of_what_was_and_the_same_writes_nothing(
    connection, settings, skills
):
    written = "select xmin::text from seedcore.skills union all select xmin::text from seedcore.settings"
    await publish(connection, settings, skills)
    before = await connection.fetch(written)
    await publish(connection, settings, skills)
    assert await connection.fetch(written) == before
    assert await attempts(connection, ONCE) == 1
    echo = "select seedcore.enqueue('echo', '{}')"
    assert await attempts(connection, echo) == 5
    await publish(connection, settings.model_copy(update={"max_attempts": 9}), skills)
    assert await attempts(connection, echo) == 9


async def test_a_step_has_the_attempts_that_its_skill_declares(connection, session, settings, skills):
    await publish(connection, settings, skills)
    (goal,) = await submit(connection, [TaskSpec("goal", "{}", max_attempts=8)])
    (lease,) = await leases.claim(connection, "default", session, 1)
    steps = [StepSpec(new_id(), name, name, "{}", None, ()) for name in ("declaring.once", "echo")]
    await plan_repository.store_plan(connection, lease, "{}", '{"output": {}}', steps)
    stored = {step.type: step.max_attempts for step in await queries.children(connection, goal.id)}
    assert stored == {"declaring.once": 1, "echo": 8}


async def test_it_waits_until_the_schema_is_there(empty_pg_settings, skills):
    from seedcore.stores.migrate import migrate

    database = Database(empty_pg_settings)
    try:
        publishing = asyncio.create_task(Publisher(database, skills).run())
        await asyncio.to_thread(migrate, empty_pg_settings)
        async with asyncio.timeout(30):
            await publishing
        async with database.connection() as connection:
            assert await attempts(connection, ONCE) == 1
    finally:
        await database.aclose()
