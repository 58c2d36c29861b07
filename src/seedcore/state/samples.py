"""The past, sampled into PostgreSQL, for plots."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from seedcore.errors import InvalidInputError, SeedCoreError
from seedcore.schemas.state import History, HistoryRequest
from seedcore.settings import Settings
from seedcore.state.sources import Sources
from seedcore.stores.postgres import Database
from seedcore.telemetry.logs import get_logger

MOST_POINTS = 2000
USUAL_POINTS = 500
LONGEST_D = 3660.0
PAGE = 10_000
EXPIRE_EVERY = 60
"""Samples between two looks for those that retention has passed."""

_SUMS = ("agents", "running", "queued_s", "completed", "failed")
_QUEUE = ("ready", "deferred", "gated", "leased", "waiting", "approval", "dispatchers")
_COUNTERS = frozenset({"completed", "failed"})

# Primary keys. Replicas sample the same moments; the first to write a moment writes all of it, the others nothing.
_WRITE = """
with first as (
  insert into seedcore.samples (at, agents, running, queued_s, completed, failed,
                                ready, deferred, gated, leased, waiting, approval, dispatchers)
  values (to_timestamp(floor(extract(epoch from now()) / $1::float8) * $1::float8),
          $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
  on conflict do nothing returning at)
, organs as (
  insert into seedcore.organ_samples (at, organ, agents, running, queued_s, completed, failed)
  select first.at, o.* from first, unnest($14::text[], $15::int[], $16::int[], $17::float8[], $18::bigint[],
                                          $19::bigint[]) o)
select count(*) from first
"""
# Primary key samples (at); index organ_samples_at.
_EXPIRE = {
    table: f"""delete from seedcore.{table} where ctid = any(array(
      select ctid from seedcore.{table} where at < now() - make_interval(secs => $1) order by at limit {PAGE}))"""  # noqa: S608
    for table in ("samples", "organ_samples")
}


def _read(table: str, columns: tuple[str, ...], where: str) -> str:
    values = ", ".join(
        f"max({name})::float8 as {name}" if name in _COUNTERS else f"avg({name})::float8 as {name}" for name in columns
    )
    return f"""select date_bin(make_interval(secs => $1), at, 'epoch') as step, {values}
    from seedcore.{table} where at >= $2 and at < $3 {where} group by 1 order by 1"""  # noqa: S608


# Primary keys samples (at) and organ_samples (organ, at).
_SYSTEM = _read("samples", (*_SUMS, *_QUEUE), "")
_ORGAN = _read("organ_samples", _SUMS, "and organ = $4")


class Sampler:
    """Writes a sample of the present whenever another `state_sample_s` have passed."""

    def __init__(self, settings: Settings, sources: Sources) -> None:
        self._settings, self._sources = settings, sources
        self.counts = {"written": 0, "written_elsewhere": 0, "failures": 0}
        self._log = get_logger("seedcore.state.samples")

    async def run(self) -> None:
        """Sample for ever, at the same moments as every other replica."""
        every = self._settings.state_sample_s
        while True:
            await asyncio.sleep(every - time.time() % every)
            try:
                await self.sample()
            except (SeedCoreError, asyncpg.PostgresError, OSError) as error:
                self.counts["failures"] += 1
                self._log.warning("no sample", reason=f"{type(error).__name__}: {error}")
            except Exception as error:  # noqa: BLE001 - whatever breaks one sample, the next is tried; it is counted
                self.counts["failures"] += 1
                self._log.error("sampling broke", exc_info=error)

    async def sample(self) -> bool:
        """Write this moment's sample; False when another replica has.

        Raises:
            SeedCoreError: the present is not known; nothing is written then.
        """
        sources = self._sources
        await asyncio.gather(sources.agents.refresh(), sources.system.refresh())
        fresh_s = self._settings.state_sample_s
        sources.agents.within(fresh_s)
        queue = _queue(sources.system.within(fresh_s))
        organs = sources.view.columns.sums()
        totals = [sum(organ[name] for organ in organs.values()) for name in _SUMS]
        by_organ = [[organ[name] for organ in organs.values()] for name in _SUMS]
        async with sources.database.connection() as connection:
            first = await connection.fetchval(
                _WRITE, fresh_s, *totals, *[queue[name] for name in _QUEUE], list(organs), *by_organ
            )
            self.counts["written" if first else "written_elsewhere"] += 1
            if first and self.counts["written"] % EXPIRE_EVERY == 1:
                await expire(connection, self._settings.retention_state_d)
        return bool(first)


def _queue(system: dict[str, Any]) -> dict[str, int]:
    depths = system["queues"].values()
    return {
        **{name: sum(depth[name] for depth in depths) for name in ("ready", "deferred", "gated")},
        "leased": system["running"],
        **{name: system[name] for name in ("waiting", "approval", "dispatchers")},
    }


async def expire(connection: asyncpg.Connection, days: float) -> int:
    """Forget samples older than that; returns how many rows went."""
    gone = 0
    for statement in _EXPIRE.values():
        while (rows := int((await connection.execute(statement, days * 86_400)).rsplit(" ", 1)[-1])) > 0:
            gone += rows
    return gone


async def history(database: Database, settings: Settings, request: HistoryRequest) -> History:
    """A stretch of the past in steps.

    Raises:
        InvalidInputError: it is empty, too long, or has too many steps.
    """
    until = request.until or datetime.now(UTC)
    since = request.since or until - timedelta(hours=1)
    seconds = (until - since).total_seconds()
    if not 0 < seconds <= LONGEST_D * 86_400:
        raise _wrong("from", f"must be before `to`, by {LONGEST_D:g} days at most")
    step = request.step or max(settings.state_sample_s, float(-(-seconds // USUAL_POINTS)))
    if seconds / step > MOST_POINTS:
        raise _wrong("step", f"must be at least {seconds / MOST_POINTS:.3f} for this stretch: {MOST_POINTS} points")
    organ = () if request.organ is None else (request.organ,)
    async with database.connection() as connection:
        rows = await connection.fetch(_ORGAN if organ else _SYSTEM, step, since, until, *organ)
    names = _SUMS if organ else (*_SUMS, *_QUEUE)
    columns = {name: [row[name] for row in rows] for name in names}
    return History(organ=request.organ, step=step, at=[row["step"] for row in rows], columns=columns)


def _wrong(field: str, message: str) -> InvalidInputError:
    return InvalidInputError.for_field(field, message)
