"""Publish to SQL what a submission over HTTP knows: the settings' bounds, and what skills declare about their tasks."""

import asyncio
from collections.abc import Mapping

import asyncpg

from seedcore.settings import Settings
from seedcore.skills.skill_decorator import SkillSpec
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.tasks.sql.submit import PUBLISH_SETTINGS, PUBLISH_SKILLS
from seedcore.telemetry.logs import get_logger
from seedcore.utils.background_loop import stay_cancelled

RETRY_S = 0.5


async def publish(connection: asyncpg.Connection, settings: Settings, skills: Mapping[str, SkillSpec]) -> None:
    """Write what `seedcore.enqueue` resolves options by. A skill that is gone stays: its tasks cannot run anyway."""
    known = {"max_attempts": settings.max_attempts, "max_params_bytes": settings.max_params_bytes}
    specs = list(skills.values())
    async with connection.transaction():
        await connection.execute(PUBLISH_SETTINGS, list(known), list(known.values()))
        await connection.execute(
            PUBLISH_SKILLS,
            [s.name for s in specs],
            [s.slow for s in specs],
            [s.retry.max_attempts for s in specs],
            [s.platform for s in specs],
            [s.queue for s in specs],
            [s.organ for s in specs],
        )


class Publisher:
    """Publishes once, as soon as the database answers and has this version's schema."""

    def __init__(self, database: Database, skills: Mapping[str, SkillSpec]) -> None:
        self._database, self._skills = database, skills
        self._lock = asyncio.Lock()
        self._published = False
        self._log = get_logger("seedcore.tasks.submission.published_settings")

    async def attempt(self) -> bool:
        """Publish, unless it was done; False while the database is away, behind, or refuses."""
        async with self._lock:
            if not self._published:
                try:
                    async with self._database.connection() as connection:
                        await publish(connection, self._database.settings, self._skills)
                except DATABASE_ERRORS as error:
                    stay_cancelled(error)
                    self._log.info(
                        "cannot publish settings and skills to SQL yet", reason=f"{type(error).__name__}: {error}"
                    )
                    return False
                self._published = True
            return True

    async def run(self) -> None:
        """Try until it is done."""
        while not await self.attempt():  # noqa: ASYNC110 - nothing announces that a database is migrated
            await asyncio.sleep(RETRY_S)
