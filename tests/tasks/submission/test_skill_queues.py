"""A skill that declares a queue: its tasks that name none go there, however they are submitted."""

from uuid import uuid4

import asyncpg
import pytest
from pydantic import BaseModel

from seedcore.settings import Settings, load_settings
from seedcore.skills.registry import SkillRegistry
from seedcore.skills.skill_decorator import SkillContext, skill
from seedcore.stores.postgres import Database
from seedcore.tasks import leases, sessions
from seedcore.tasks.model import StepSpec, new_id
from seedcore.tasks.plans.repository import store_plan
from seedcore.tasks.submission.published_settings import publish
from seedcore.tasks.submission.validate import Submission

SKILLS = SkillRegistry.load(load_settings())
QUERY = {"type": "graph.query", "params": {"query": "blast_radius", "skill": "echo"}}
ECHO = {"type": "echo", "params": {"value": 1}}


class Nothing(BaseModel):
    """No field."""


@pytest.mark.parametrize("given", [{}, {"queue": None}])
def test_a_task_goes_to_the_queue_of_its_skill_unless_it_names_one(given: dict[str, None]) -> None:
    submission = Submission(load_settings(), SKILLS)
    assert submission.check(QUERY | given).queue == "graph"
    assert submission.check(ECHO | given).queue == "default"
    assert submission.check(QUERY | {"queue": "default"}).queue == "default"
    assert submission.check({"type": "goal", "params": {"goal": "x"}}).queue == "default"


@pytest.mark.parametrize("name", ["", "Graph", "a b", "x" * 64])
def test_a_queue_that_cannot_be_is_refused_where_the_skill_is_declared(name: str) -> None:
    async def never(params: Nothing, context: SkillContext) -> Nothing:
        return params

    with pytest.raises(TypeError, match="queue"):
        skill("x.never", queue=name)(never)


@pytest.mark.integration
async def test_sql_and_plans_know_the_queue_of_a_skill(pg_settings: Settings) -> None:
    database = Database(pg_settings, size=1)
    async with database.connection() as connection:
        await publish(connection, pg_settings, SKILLS)
        enqueue = "select seedcore.enqueue($1, $2::jsonb, $3::jsonb)"

        async def queue_of(kind: str, options: str = "{}") -> str:
            task = await connection.fetchval(enqueue, kind, "{}", options)
            stored, ready = await connection.fetchrow(
                "select t.queue, r.queue from seedcore.tasks t join seedcore.ready r on r.id = t.id where t.id = $1",
                task,
            )
            assert stored == ready
            return str(stored)

        assert await queue_of("graph.query") == "graph"
        assert await queue_of("graph.query", '{"queue": null}') == "graph"
        assert await queue_of("graph.query", '{"queue": "default"}') == "default"
        assert await queue_of("echo") == "default"
        assert await queue_of("unknown.skill") == "default"
        await steps_of_a_plan(connection)
    await database.aclose()


async def steps_of_a_plan(connection: asyncpg.Connection) -> None:
    await connection.execute("delete from seedcore.ready")
    parent = await connection.fetchval("select seedcore.enqueue('goal', '{}', '{\"queue\": \"other\"}')")
    session = uuid4()
    await sessions.open_session(connection, session, "w", "other", 60)
    (lease,) = await leases.claim(connection, "other", session, 1, slow=True)
    assert lease.id == parent
    steps = [StepSpec(new_id(), name, name, "{}", None, ()) for name in ("graph.query", "echo")]
    assert await store_plan(connection, lease, "{}", '{"steps": [], "output": {}}', steps)
    rows = await connection.fetch("select t.type, r.queue from seedcore.ready r join seedcore.tasks t on t.id = r.id")
    assert {row["type"]: row["queue"] for row in rows} == {"graph.query": "graph", "echo": "other"}
