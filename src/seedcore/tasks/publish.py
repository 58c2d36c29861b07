"""Letting SQL know what a submit over HTTP knows: the settings' bounds, and what skills declare about their tasks."""

import asyncio
from collections.abc import Mapping

import asyncpg

from seedcore.settings import Settings
from seedcore.skills.sdk import SkillSpec
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.utils.background import stay_cancelled
from seedcore.utils.logs import get_logger

RETRY_S = 0.5

# In the order of the keys, so that two gateways that start together never wait for each other in a circle.
_SETTINGS = """
insert into seedcore.settings as s (name, value)
select name, value from unnest($1::text[], $2::bigint[]) g(name, value) order by name
on conflict (name) do update set value = excluded.value where s.value <> excluded.value
"""
_SKILLS = """
insert into seedcore.skills as s (name, slow, max_attempts)
select name, slow, max_attempts from unnest($1::text[], $2::bool[], $3::smallint[]) g(name, slow, max_attempts)
order by name
on conflict (name) do update set slow = excluded.slow, max_attempts = excluded.max_attempts
where (s.slow, s.max_attempts) is distinct from (excluded.slow, excluded.max_attempts)
"""


async def publish(connection: asyncpg.Connection, settings: Settings, skills: Mapping[str, SkillSpec]) -> None:
    """Write what `seedcore.enqueue` resolves options by. A skill that is gone stays: its tasks cannot run anyway."""
    known = {"max_attempts": settings.max_attempts, "max_params_bytes": settings.max_params_bytes}
    specs = list(skills.values())
    async with connection.transaction():
        await connection.execute(_SETTINGS, list(known), list(known.values()))
        await connection.execute(
            _SKILLS, [s.name for s in specs], [s.slow for s in specs], [s.retry.max_attempts for s in specs]
        )


async def publish_when_ready(database: Database, skills: Mapping[str, SkillSpec]) -> None:
    """`publish` as soon as the database answers and has this version's schema."""
    log = get_logger("seedcore.tasks.publish")
    said = False
    while True:
        try:
            async with database.connection() as connection:
                await publish(connection, database.settings, skills)
        except DATABASE_ERRORS as error:
            stay_cancelled(error)
            if not said:
                log.info("SQL does not know the skills yet", reason=f"{type(error).__name__}: {error}")
                said = True
            await asyncio.sleep(RETRY_S)
        else:
            return
