"""Samples of the state in PostgreSQL, for plots: writing, expiring and reading them."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import asyncpg

from seedcore.errors import InvalidInputError, SeedCoreError
from seedcore.schemas.state import HistoryRequest, StateHistory
from seedcore.settings import Settings
from seedcore.state.agent_columns import OrganSums
from seedcore.state.sources import StateSources, SystemTotals
from seedcore.stores.postgres import Database
from seedcore.telemetry.logs import get_logger

MAX_POINTS = 2000
DEFAULT_POINTS = 500
MAX_DAYS = 3660.0
EXPIRE_BATCH = 10_000
EXPIRE_EVERY = 60
"""Samples between two removals of those past retention."""

_SUMS = ("agents", "running", "queued_s", "completed", "failed")
_QUEUE = ("ready", "deferred", "gated", "leased", "waiting", "approval", "dispatchers")
_COUNTERS = frozenset({"completed", "failed"})

# Primary keys. Replicas sample at the same times; the first writes the whole sample, the others nothing.
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
      select ctid from seedcore.{table}
      where at < now() - make_interval(secs => $1) order by at limit {EXPIRE_BATCH}))"""  # noqa: S608
    for table in ("samples", "organ_samples")
}


def _select(table: str, columns: tuple[str, ...], where: str) -> str:
    values = ", ".join(
        f"max({name})::float8 as {name}" if name in _COUNTERS else f"avg({name})::float8 as {name}" for name in columns
    )
    return f"""select date_bin(make_interval(secs => $1), at, 'epoch') as step, {values}
    from seedcore.{table} where at >= $2 and at < $3 {where} group by 1 order by 1"""  # noqa: S608


# Primary keys samples (at) and organ_samples (organ, at).
_SYSTEM = _select("samples", (*_SUMS, *_QUEUE), "")
_ORGAN = _select("organ_samples", _SUMS, "and organ = $4")


class Sampler:
    """Writes a sample of the present state every `state_sample_s` seconds."""

    def __init__(self, settings: Settings, sources: StateSources) -> None:
        self._settings, self._sources = settings, sources
        self.counts = {"written": 0, "written_elsewhere": 0, "failures": 0}
        self._log = get_logger("seedcore.state.samples")

    async def run(self) -> None:
        """Sample until cancelled, at the same times as every other replica."""
        every = self._settings.state_sample_s
        while True:
            await asyncio.sleep(every - time.time() % every)
            try:
                await self.sample()
            except (SeedCoreError, asyncpg.PostgresError, OSError) as error:
                self.counts["failures"] += 1
                self._log.warning("sample not written", reason=f"{type(error).__name__}: {error}")
            except Exception as error:  # noqa: BLE001 - whatever fails, the next sample is tried; failures are counted
                self.counts["failures"] += 1
                self._log.error("sample failed unexpectedly", exc_info=error)

    async def sample(self) -> bool:
        """Write the sample of this moment; False when another replica has.

        Raises:
            SeedCoreError: the present state is not known; nothing is written.
        """
        sources = self._sources
        await asyncio.gather(sources.agents.refresh(), sources.system.refresh())
        fresh_s = self._settings.state_sample_s
        sources.agents.within(fresh_s)
        queue = _queue(sources.system.within(fresh_s))
        organs = sources.view.columns.sums()
        values = [_organ_values(organ) for organ in organs.values()]
        by_organ = [[row[n] for row in values] for n in range(len(_SUMS))]
        totals = [sum(column) for column in by_organ]
        async with sources.database.connection() as connection:
            first = await connection.fetchval(
                _WRITE, fresh_s, *totals, *[queue[name] for name in _QUEUE], list(organs), *by_organ
            )
            self.counts["written" if first else "written_elsewhere"] += 1
            if first and self.counts["written"] % EXPIRE_EVERY == 1:
                await expire(connection, self._settings.retention_state_d)
        return bool(first)


def _organ_values(organ: OrganSums) -> tuple[float, ...]:
    """The columns _SUMS of an organ."""
    return organ["agents"], organ["running"], organ["queued_s"], organ["completed"], organ["failed"]


def _queue(system: SystemTotals) -> Mapping[str, int]:
    """The columns _QUEUE of the system."""
    depths = system["queues"].values()
    return {
        "ready": sum(depth["ready"] for depth in depths),
        "deferred": sum(depth["deferred"] for depth in depths),
        "gated": sum(depth["gated"] for depth in depths),
        "leased": system["running"],
        "waiting": system["waiting"],
        "approval": system["approval"],
        "dispatchers": system["dispatchers"],
    }


async def expire(connection: asyncpg.Connection, days: float) -> int:
    """Delete samples older than `days`; returns how many rows that were."""
    deleted = 0
    for statement in _EXPIRE.values():
        while (rows := int((await connection.execute(statement, days * 86_400)).rsplit(" ", 1)[-1])) > 0:
            deleted += rows
    return deleted


async def read_history(database: Database, settings: Settings, request: HistoryRequest) -> StateHistory:
    """A stretch of the past, in steps.

    Raises:
        InvalidInputError: it is empty, too long, or has too many steps.
    """
    until = request.until or datetime.now(UTC)
    since = request.since or until - timedelta(hours=1)
    seconds = (until - since).total_seconds()
    if not 0 < seconds <= MAX_DAYS * 86_400:
        raise InvalidInputError.for_field("from", f"must be before `to`, by {MAX_DAYS:g} days at most")
    step = request.step or max(settings.state_sample_s, float(-(-seconds // DEFAULT_POINTS)))
    if seconds / step > MAX_POINTS:
        message = f"must be at least {seconds / MAX_POINTS:.3f} for this stretch: {MAX_POINTS} points"
        raise InvalidInputError.for_field("step", message)
    organ = () if request.organ is None else (request.organ,)
    async with database.connection() as connection:
        rows = await connection.fetch(_ORGAN if organ else _SYSTEM, step, since, until, *organ)
    names = _SUMS if organ else (*_SUMS, *_QUEUE)
    columns = {name: [row[name] for row in rows] for name in names}
    return StateHistory(organ=request.organ, step=step, at=[row["step"] for row in rows], columns=columns)
