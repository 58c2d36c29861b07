"""How tasks of each type ended lately, read at most once a minute: what costs are learnt from."""

import asyncio
import time
from collections.abc import Mapping

from seedcore.cognitive.engines.offline.learned_costs import SkillRecord, records
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.tasks.history import ends_by_type
from seedcore.telemetry.logs import get_logger

WINDOW_S = 604_800.0
MOST_ENDS = 20_000
FRESH_S = 60.0
WAIT_S = 2.0
"""Longest wait for the first reading; plans are made without it then."""


class SkillStatistics:
    """The record of each skill. What was read last is used while a new reading is under way or fails.

    Args:
        database: where tasks are.
        reads: False: nothing is read, and nothing is known.
    """

    def __init__(self, database: Database, *, reads: bool = True) -> None:
        self._database, self._reads = database, reads
        self._known: Mapping[str, SkillRecord] = {}
        self._read_at: float | None = None
        self._tried_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._log = get_logger("seedcore.cognitive.statistics")

    async def known(self) -> Mapping[str, SkillRecord]:
        """The records; empty until the first reading."""
        if self._reads and self._reading is None and time.monotonic() - self._tried_at >= FRESH_S:
            self._tried_at = time.monotonic()
            self._reading = asyncio.create_task(self._read())
        if self._reading is not None and self._read_at is None:
            await asyncio.wait({self._reading}, timeout=WAIT_S)
        return self._known

    async def _read(self) -> None:
        try:
            async with self._database.connection() as connection:
                ends = await ends_by_type(connection, WINDOW_S, MOST_ENDS)
            self._known, self._read_at = records(ends), time.monotonic()
        except DATABASE_ERRORS as error:
            self._log.warning("cannot read how tasks ended, costs stay as they are", reason=str(error))
        finally:
            self._reading = None

    def health(self) -> dict[str, object]:
        """How many skills' records are known, and how old they are."""
        age = None if self._read_at is None else round(time.monotonic() - self._read_at, 1)
        return {"skills": len(self._known), "age_s": age}

    async def aclose(self) -> None:
        """End a reading that is under way."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
