"""Holds streams: new tasks of a held stream wait for a person until the hold ends or is released."""

import asyncio
import time
from dataclasses import dataclass
from uuid import UUID

from seedcore.errors import NotFoundError
from seedcore.schemas.snapshot import HoldJson
from seedcore.stores.postgres import Database

MAX_HOLDS = 1_000

# Primary key.
_LOAD = """
select stream, since, until, extract(epoch from until - now())::float8 as left_s, reason, wait_s, triage
from seedcore.holds where until > now() order by until limit $1
"""

_PUT = """
with old as (delete from seedcore.holds where until <= now() and stream <> $1)
insert into seedcore.holds as h (stream, until, reason, wait_s, triage)
values ($1, now() + make_interval(secs => $2::float8), $3, $4::float8, $5)
on conflict (stream) do update set since = now(), until = excluded.until, reason = excluded.reason,
  wait_s = excluded.wait_s, triage = excluded.triage
"""

_RELEASE = "delete from seedcore.holds where stream = $1 and until > now() returning stream"


@dataclass(frozen=True, slots=True)
class StreamHold:
    """A held stream; `ends` is on the monotonic clock, `until_s` UTC in seconds since 1970, `wait_s` how long its tasks
    wait (None: as the setting says)."""

    stream: str
    since: str
    until: str
    ends: float
    until_s: float
    reason: str
    wait_s: float | None
    triage: str | None

    def report(self) -> dict[str, object]:
        """The hold as JSON."""
        names = ("stream", "since", "until", "reason", "wait_s", "triage")
        return {name: getattr(self, name) for name in names}


class StreamHolds:
    """The holds in the database, read again every round of the maintenance and after each change made here."""

    def __init__(self, database: Database, changed: asyncio.Event | None = None) -> None:
        self._database = database
        self._changed = changed or asyncio.Event()
        self._known: dict[str, StreamHold] = {}
        self.loaded = False
        """Before the first load nothing may be decided: tasks of a held stream would run."""

    def of(self, stream: str) -> StreamHold | None:
        """The hold of a stream; None: it is not held, or the hold has ended."""
        hold = self._known.get(stream)
        return hold if hold is not None and hold.ends > time.monotonic() else None

    def __bool__(self) -> bool:
        return bool(self._known)

    def report(self) -> list[dict[str, object]]:
        """Every hold as JSON, by their ends."""
        now = time.monotonic()
        return [hold.report() for hold in self._known.values() if hold.ends > now]

    def published(self) -> dict[str, HoldJson]:
        """Every hold as workers get it, by stream."""
        now = time.monotonic()
        return {
            hold.stream: {"until": hold.until_s, "reason": hold.reason, "wait_s": hold.wait_s}
            for hold in self._known.values()
            if hold.ends > now
        }

    async def load(self) -> None:
        """Read the holds."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_LOAD, MAX_HOLDS)
        now = time.monotonic()
        self._known = {
            row["stream"]: StreamHold(
                row["stream"],
                row["since"].isoformat(),
                row["until"].isoformat(),
                now + row["left_s"],
                row["until"].timestamp(),
                row["reason"],
                row["wait_s"],
                None if row["triage"] is None else str(row["triage"]),
            )
            for row in rows
        }
        self.loaded = True

    async def put(
        self, stream: str, hold_s: float, reason: str, wait_s: float | None, triage: UUID | None
    ) -> StreamHold:
        """Hold a stream from now on; a stream that is held already gets the new end."""
        async with self._database.connection() as connection:
            await connection.execute(_PUT, stream, hold_s, reason, wait_s, triage)
        await self.load()
        self._changed.set()
        return self._known[stream]

    async def release(self, stream: str) -> dict[str, object]:
        """End a hold early; tasks that wait already keep waiting for a person.

        Raises:
            NotFoundError: the stream is not held.
        """
        async with self._database.connection() as connection:
            released = await connection.fetchval(_RELEASE, stream)
        await self.load()
        self._changed.set()
        if released is None:
            held = ", ".join(sorted(self._known)) or "none"
            raise NotFoundError(f"The stream {stream!r} is not held; held: {held}.")
        return {"stream": stream, "released": True}
