"""Migrates MySQL, where it is set."""

import asyncio
import time

from seedcore.errors import UnavailableError
from seedcore.memory.flashbulbs.mysql_schema import migrate_mysql
from seedcore.settings import Settings
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter

WAIT_S = 60.0
"""Longest wait for a MySQL that starts: what is kept there can wait, and nothing else shall."""
PAUSE_S = 1.0


async def bootstrap_mysql(settings: Settings, deadline: float) -> int | None:
    """Bring MySQL's schema to this release's; returns its version.

    None without SEEDCORE_MYSQL_DSN, and when MySQL does not answer in time: flashbulb incidents then wait in PostgreSQL
    until the bootstrap, or `seedcore migrate`, has been run again. `deadline` is on `time.monotonic()`.
    """
    until = min(deadline, time.monotonic() + WAIT_S)
    while True:
        try:
            return await asyncio.to_thread(migrate_mysql, settings)
        except UnavailableError as error:
            if time.monotonic() + PAUSE_S > until:
                counter("seedcore_fallbacks_total").add(1, fallback="flashbulb_postgres")
                get_logger("bootstraps.mysql").error(
                    "MySQL is not migrated, incidents wait in PostgreSQL: run `seedcore migrate` when it answers",
                    reason=error.detail,
                )
                return None
        await asyncio.sleep(PAUSE_S)
