"""Keeps the graph up to date: applies what waits in the outbox. One process leads, in the workers on the queue `graph`.

Applying a change twice changes nothing, so a change is taken out of the outbox after it is in the graph, never before.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from seedcore.errors import NotConfiguredError, SeedCoreError, UnavailableError
from seedcore.graph import outbox
from seedcore.graph.changes import write_of
from seedcore.graph.graph_write import NodeRow
from seedcore.graph.repository import MARK, GraphStore
from seedcore.settings import Settings
from seedcore.stores.leading.leader_loop import LeaderJob, LeaderLoop
from seedcore.stores.postgres import Database
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter

ROUND_S = 0.25
TIDY_S = 30.0
BATCH = 2000
MAX_BACKOFF_S = 30.0
"""The longest pause after rounds that failed: one after another they come later."""

Json = dict[str, object]


@dataclass(slots=True)
class SyncCounts:
    """What this process has done."""

    changes: int = 0
    sums: int = 0
    rounds: int = 0
    failures: int = 0


class GraphSync:
    """Leads where no other process does, and then applies what waits.

    Args:
        settings: where the Bolt server is.
        database: where the outbox is; it belongs to the loop that `start` is called in.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self.store = GraphStore(settings)
        jobs = [LeaderJob("sync", ROUND_S, self.round), LeaderJob("tidy", TIDY_S, self._tidy)]
        self._leader = LeaderLoop(database, "graph", jobs)
        self._counts = SyncCounts()
        self._checked = False
        self._not_before = float("-inf")
        self._pause_s = ROUND_S
        self._log = get_logger("seedcore.graph.sync")

    def start(self) -> None:
        """Begin to lead, and to apply what waits once the graph is used, or at once when NEO4J_URI is set."""
        self._leader.start()

    async def stop(self) -> None:
        """Let another process lead, and close the connections."""
        await self._leader.stop()
        await self.store.close()
        await self._database.aclose()

    def status(self) -> Mapping[str, object]:
        """Whether this process leads, and what it has done."""
        done = self._counts
        return {**self._leader.health(), "changes": done.changes, "sums": done.sums, "failures": done.failures}

    async def round(self) -> None:
        """Add up what has ended, and apply everything that waits.

        Raises:
            UnavailableError: PostgreSQL or the Bolt server does not answer; what was not applied waits.
        """
        async with self._database.connection() as connection:
            await outbox.fold(connection)
            state = await outbox.read_state(connection)
        if state.started_at is None and self._settings.neo4j_uri is None:
            return
        if time.monotonic() < self._not_before:
            return
        try:
            await self._catch_up(refill=state.refill)
        except SeedCoreError as error:
            self._counts.failures += 1
            self._pause_s = min(2 * self._pause_s, MAX_BACKOFF_S)
            self._not_before = time.monotonic() + self._pause_s
            # It may come back as another server.
            self._checked = False
            async with self._database.connection() as connection:
                await outbox.failed(connection, error.detail[:500])
            raise
        self._pause_s = ROUND_S

    async def _catch_up(self, *, refill: bool) -> None:
        if not self._checked:
            refill = await self._is_strange() or refill
            self._checked = True
        if refill:
            async with self._database.transaction() as connection:
                read = await outbox.refill(connection)
            self._log.info("the graph is filled from the tables", changes=read)
        while True:
            async with self._database.connection() as connection:
                changes, sums = await outbox.pending(connection, BATCH)
            if changes or sums:
                write = await asyncio.to_thread(write_of, changes, sums)
                if changes:
                    write.put(NodeRow(MARK, "Mark", changes[-1].seq, {"tenant": ""}))
                await self.store.apply(write)
            async with self._database.connection() as connection:
                await outbox.taken(connection, changes, sums)
            self._counts.changes += len(changes)
            self._counts.sums += len(sums)
            counter("seedcore_graph_changes_total").add(len(changes) + len(sums))
            if len(changes) < BATCH and len(sums) < BATCH:
                return

    async def _is_strange(self) -> bool:
        """Whether the graph is not the one that was written last: empty, or ahead of this database."""
        async with self._database.connection() as connection:
            last = await outbox.last_seq(connection)
            found = await self.store.read("MATCH (n:Entity {id: $id}) RETURN n.seq AS seq", id=MARK)
            seen = int(found[0]["seq"]) if found else 0
            if seen > last:
                self._log.warning("the graph is ahead of the database, which is an older one's backup", seen=seen)
                await outbox.go_on_from(connection, seen)
            synced = (await outbox.read_state(connection)).synced_seq
        return seen > last or seen < synced

    async def _tidy(self) -> None:
        async with self._database.connection() as connection:
            await outbox.tidy(connection)


async def wait_until_synced(database: Database, settings: Settings, timeout_s: float) -> outbox.GraphState:
    """Use the graph: from the first time on it is kept up to date. Waits until it has what the database has now.

    Raises:
        UnavailableError: it does not come to that within `timeout_s` seconds; the detail says why.
    """
    async with database.connection() as connection:
        await outbox.start(connection)
        goal = await outbox.last_seq(connection)
    deadline, refilling = time.monotonic() + timeout_s, False
    while True:
        async with database.connection() as connection:
            state = await outbox.read_state(connection)
            if refilling and not state.refill:
                # What the tables hold waits now.
                goal = await outbox.last_seq(connection)
            refilling = state.refill
            oldest = await outbox.oldest(connection)
        if state.failing is not None:
            raise _failing(state.failing)
        if state.synced_at is not None and not state.refill and (oldest is None or oldest > goal):
            return state
        if time.monotonic() > deadline:
            raise _late(state, settings)
        await asyncio.sleep(0.1)


def _failing(reason: str) -> SeedCoreError:
    return UnavailableError(f"The graph cannot be brought up to date: {reason}", retry_after_s=5)


def _late(state: outbox.GraphState, settings: Settings) -> SeedCoreError:
    if state.synced_at is None and not settings.graph_dispatchers:
        return NotConfiguredError(
            "No worker on the queue `graph` keeps the graph up to date: set SEEDCORE_GRAPH_DISPATCHERS to 1 or more."
        )
    return UnavailableError(
        f"The graph is {state.lag_s:.0f} s behind, and {state.pending} changes wait for it.", retry_after_s=5
    )
