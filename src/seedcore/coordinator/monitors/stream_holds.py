"""Streams that are held: their new tasks wait for a person until the hold ends or is released."""

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from seedcore.errors import NotFoundError
from seedcore.stores.postgres import Database

MOST = 1_000

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
class Hold:
    """A held stream; `ends` is on the monotonic clock, `wait_s` how long its tasks wait (None: as the setting says)."""

    stream: str
    since: str
    until: str
    ends: float
    reason: str
    wait_s: float | None
    triage: str | None

    def report(self) -> dict[str, Any]:
        """As JSON."""
        names = ("stream", "since", "until", "reason", "wait_s", "triage")
        return {name: getattr(self, name) for name in names}


class Holds:
    """What the database holds, read again every round of the Coordinator and whenever this one changes it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, Hold] = {}
        self.loaded = False
        """Until they are known nothing may be decided: a held stream would run."""

    def of(self, stream: str) -> Hold | None:
        """The hold of a stream, until it ends."""
        hold = self._known.get(stream)
        return hold if hold is not None and hold.ends > time.monotonic() else None

    def __bool__(self) -> bool:
        return bool(self._known)

    def report(self) -> list[dict[str, Any]]:
        """All of them, the one that ends first first."""
        now = time.monotonic()
        return [hold.report() for hold in self._known.values() if hold.ends > now]

    async def load(self) -> None:
        """Read them."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_LOAD, MOST)
        now = time.monotonic()
        self._known = {
            row["stream"]: Hold(
                row["stream"],
                row["since"].isoformat(),
                row["until"].isoformat(),
                now + row["left_s"],
                row["reason"],
                row["wait_s"],
                None if row["triage"] is None else str(row["triage"]),
            )
            for row in rows
        }
        self.loaded = True

    async def put(self, stream: str, hold_s: float, reason: str, wait_s: float | None, triage: UUID | None) -> Hold:
        """Hold a stream from now on; one that is held already is held until the new end."""
        async with self._database.connection() as connection:
            await connection.execute(_PUT, stream, hold_s, reason, wait_s, triage)
        await self.load()
        return self._known[stream]

    async def release(self, stream: str) -> dict[str, Any]:
        """End a hold before its time; tasks that wait already go on waiting for a person.

        Raises:
            NotFoundError: that stream is not held.
        """
        async with self._database.connection() as connection:
            gone = await connection.fetchval(_RELEASE, stream)
        await self.load()
        if gone is None:
            held = ", ".join(sorted(self._known)) or "none"
            raise NotFoundError(f"The stream {stream!r} is not held; held: {held}.")
        return {"stream": stream, "released": True}
