"""Keeps the last whole snapshot in PostgreSQL, under the generation of this Coordinator."""

import asyncio
import time

from seedcore.coordinator.publishing.published_snapshot import PublishedSnapshot
from seedcore.schemas.snapshot import SNAPSHOT_FORMAT
from seedcore.stores import snapshots
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.telemetry.logs import get_logger

URGENT_S, SAVE_S = 1.0, 5.0
"""Least time between two saves: after a change that workers are woken for, and after any other."""

MAX_SAVE_SHARE = 0.02
"""The largest share of the time for writing snapshots down: one of 2,000 agents by 20 types takes some 0.25 s."""

RETRY_S = 1.0


class SnapshotKeeper:
    """Takes a generation, and saves the snapshot under it.

    Attributes:
        generation: of this Coordinator; 0: it could not take one yet.
        superseded_at: when a later Coordinator was seen (monotonic); None: this is the latest.
    """

    def __init__(self, database: Database, snapshot: PublishedSnapshot) -> None:
        self._database, self._snapshot = database, snapshot
        self.generation = 0
        self.superseded_at: float | None = None
        self.counts = {"saves": 0, "failed_saves": 0}
        self._saved, self._saved_at = 0, float("-inf")
        self._took_s = 0.0
        self._saving: asyncio.Task[None] | None = None
        self._log = get_logger("seedcore.coordinator")

    async def take_generation(self) -> None:
        """Take a generation that is higher than all earlier ones; tries again while the database is away."""
        while True:
            try:
                async with self._database.connection() as connection:
                    self.generation = await snapshots.next_generation(connection)
            except DATABASE_ERRORS as error:
                self._log.warning("no generation yet, trying again", reason=f"{type(error).__name__}: {error}")
                await asyncio.sleep(RETRY_S)
            else:
                self.superseded_at, self._saved = None, 0
                self._log.info("generation taken", generation=self.generation)
                return

    def _supersede(self) -> None:
        if self.superseded_at is None:
            self.superseded_at = time.monotonic()
            self._log.warning("a later Coordinator has taken over", generation=self.generation)

    def save_if_due(self) -> None:
        """Start a save in the background when one is due."""
        if self._saving is not None and not self._saving.done():
            return
        pause = URGENT_S if self._snapshot.parts.urgent > self._saved else SAVE_S
        pause = max(pause, self._took_s / MAX_SAVE_SHARE)
        changed = self._snapshot.version > self._saved
        if changed and self.superseded_at is None and time.monotonic() - self._saved_at >= pause:
            self._saved_at = time.monotonic()
            self._saving = asyncio.create_task(self.save(), name="save snapshot")

    async def save(self) -> None:
        """Save the snapshot as it is now, unless a later Coordinator has saved one."""
        began = time.monotonic()
        version, body = self._snapshot.version, self._snapshot.stored(self.generation)
        self._took_s = time.monotonic() - began
        try:
            async with self._database.connection() as connection:
                kept = await snapshots.save(connection, self.generation, version, SNAPSHOT_FORMAT, body)
        except DATABASE_ERRORS as error:
            self.counts["failed_saves"] += 1
            self._log.warning("snapshot not saved", reason=f"{type(error).__name__}: {error}")
            return
        if kept:
            self.counts["saves"] += 1
            self._saved = version
        else:
            self.counts["failed_saves"] += 1
            self._supersede()

    async def aclose(self) -> None:
        """Save what has changed since the last time."""
        if self._saving is not None:
            await asyncio.gather(self._saving, return_exceptions=True)
        if self.generation and self._snapshot.version > self._saved and self.superseded_at is None:
            try:
                async with asyncio.timeout(3):
                    await self.save()
            except TimeoutError:
                self.counts["failed_saves"] += 1
