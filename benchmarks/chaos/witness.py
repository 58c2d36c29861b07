"""A bystander at the database: sees leases come and go, and ends appear; writes nothing but stale writes, on purpose.

It looks a few times a second, each time at one snapshot. A lease that was there and is gone while its task has not
ended was taken away, so any later write under its token is stale. An end that it has seen must stay what it was.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg

from benchmarks.chaos import sql
from benchmarks.chaos.evidence import End, Evidence
from benchmarks.chaos.impostor import Impostor

AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a connection may raise while the server is killed, stopped or starting."""

LOOK_S, SWEEP_S, WINDOW_S = 0.25, 15.0, 20.0
STATEMENT_S = 15.0


def dsn_of(data_dir: Path) -> str:
    """Where the embedded PostgreSQL of this data directory listens.

    Raises:
        OSError: its supervisor has not said yet.
    """
    try:
        return str(json.loads((data_dir / "run" / "postgres.json").read_text())["uri"])
    except (KeyError, ValueError) as error:
        raise ConnectionError("PostgreSQL is starting") from error


class Witness:
    """Fills in what the database can tell into `evidence`."""

    def __init__(self, data_dir: Path, evidence: Evidence, impostor: Impostor) -> None:
        self._data_dir = data_dir
        self._evidence = evidence
        self._impostor = impostor
        self.leases: dict[str, int] = {}
        self._seen: dict[str, End] = {}
        self.looks = 0

    @property
    def ended(self) -> int:
        """Tasks whose end it has seen."""
        return len(self._seen)

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop`; a server that is away is tried again, and what was seen before is kept."""
        swept = 0.0
        while not stop.is_set():
            try:
                async with self.connected() as connection:
                    while not stop.is_set():
                        now = asyncio.get_running_loop().time()
                        await self.look(connection, sweep=now - swept > SWEEP_S)
                        swept = now if now - swept > SWEEP_S else swept
                        await self._impostor.strike(connection, self._evidence, self.leases)
                        await _pause(stop, LOOK_S)
            except AWAY:
                await _pause(stop, LOOK_S)

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of its own."""
        async with connected(dsn_of(self._data_dir)) as connection:
            yield connection

    async def look(self, connection: asyncpg.Connection, *, sweep: bool) -> None:
        """One snapshot: which leases there are, which went without an end, and what ended."""
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            rows = await connection.fetch(sql.LEASES)
            leases = {row["id"]: row["token"] for row in rows}
            gone = {i: token for i, token in self.leases.items() if leases.get(i) != token}
            ended = {row["id"] for row in await connection.fetch(sql.ENDS_OF, list(gone))}
            if sweep:
                ends = await connection.fetch(sql.ENDS)
            else:
                ends = await connection.fetch(sql.ENDS_SINCE, WINDOW_S)
        self.leases = leases
        for task_id, token in leases.items():
            self._evidence.newest[task_id] = max(token, self._evidence.newest.get(task_id, 0))
        taken = [(i, token) for i, token in gone.items() if i not in ended]
        self._evidence.revoked.update(taken)
        self._impostor.learn(taken, [(i, token) for i, token in gone.items() if i in ended])
        self._compare(ends, whole=sweep)
        self.looks += 1

    def _compare(self, rows: list[asyncpg.Record], *, whole: bool) -> None:
        now = {row["id"]: _end(row) for row in rows}
        for task_id, end in now.items():
            before = self._seen.setdefault(task_id, end)
            if before != end:
                self._evidence.rewritten.append((task_id, f"ended as {before}, and later stood there as {end}"))
                self._seen[task_id] = end
        if whole:
            for task_id in self._seen.keys() - now.keys():
                before = self._seen.pop(task_id)
                self._evidence.rewritten.append((task_id, f"ended as {before}, and later that end was gone"))

    async def conclude(self, connection: asyncpg.Connection) -> None:
        """The last look, at everything that stays."""
        await self.look(connection, sweep=True)
        evidence = self._evidence
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            for row in await connection.fetch(sql.ENDS):
                evidence.ends.setdefault(row["id"], []).append(_end(row))
            for row in await connection.fetch(sql.END_EVENTS):
                evidence.end_events.setdefault(row["id"], []).append(row["event"])
            for row in await connection.fetch(sql.STILL_IN):
                evidence.still_in.setdefault(row["id"], []).append(row["kept_in"])
            for row in await connection.fetch(sql.KEYS):
                evidence.stored.setdefault(row["key"], []).append(row["id"])
            for row in await connection.fetch(sql.LOST_TOKENS):
                evidence.revoked.add((row["id"], row["token"]))
                evidence.newest[row["id"]] = max(row["token"], evidence.newest.get(row["id"], 0))


@contextlib.asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection whose every statement has a deadline: the process behind it may be stopped at any moment."""
    settings = {"application_name": "chaos-witness"}
    connection = await asyncpg.connect(dsn, timeout=5, command_timeout=STATEMENT_S, server_settings=settings)
    try:
        yield connection
    finally:
        connection.terminate()


def _end(row: asyncpg.Record) -> End:
    return End(row["kept_in"], row["status"], row["token"], row["attempts"])


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
