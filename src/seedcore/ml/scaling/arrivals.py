"""Counts arriving tasks into the table `arrivals`: of each queue and type, in slots of SLOT_S seconds.

A slot is counted as a whole, in every round until LATE_S after its end, because a transaction that submits tasks may
commit later than the time in their ids says. What is written is the higher count, so a slot that two rounds or two
replicas count is right all the same. `arrivals_counted` says from when to when there is no gap.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import numpy as np
import numpy.typing as npt

from seedcore.schemas.ml.scaling import SLOT_S
from seedcore.stores.postgres import Database
from seedcore.tasks.monitoring import arrival_reads

LATE_S = 30
"""A slot is counted again until so many seconds after its end; a submission that takes longer is missed."""

PAGE_S, PAGES = 300, 24
"""Seconds of history that one statement counts, and statements in a round: two hours a round after a pause."""

BACKFILL_S = 7 * 86_400
"""After a longer pause the record begins again: finished tasks are not kept for longer."""

EXPIRE_ROWS = 20_000
"""Old rows that one round deletes at most."""

_MARK = "select now() as now, c.since, c.until_final from (select 1) o left join seedcore.arrivals_counted c on true"

_SET_MARK = """
insert into seedcore.arrivals_counted as c (since, until_final) values ($1, $2) on conflict (one) do update
set since = greatest(c.since, excluded.since), until_final = greatest(c.until_final, excluded.until_final)
"""

_ADD = """
insert into seedcore.arrivals as a (queue, type, at, tasks)
select * from unnest($1::text[], $2::text[], $3::timestamptz[], $4::integer[])
on conflict (queue, type, at) do update set tasks = excluded.tasks where a.tasks < excluded.tasks
"""

# Index arrivals_at.
_EXPIRE = """
delete from seedcore.arrivals where ctid = any(array(
  select ctid from seedcore.arrivals where at < now() - make_interval(secs => $1) order by at limit $2))
"""

# Primary key, or index arrivals_at.
_SERIES = """
select floor(extract(epoch from at) / $3)::bigint as step, sum(tasks)::bigint as tasks from seedcore.arrivals
where ($1::text is null or queue = $1) and ($2::text is null or type = $2) and at >= $4 and at < $5 group by 1
"""

_TYPES = """
select type, sum(tasks)::bigint as tasks from seedcore.arrivals
where ($1::text is null or queue = $1) and ($2::text is null or type = $2) and at >= $3
group by 1 order by 2 desc limit $4
"""


@dataclass(frozen=True, slots=True)
class ArrivalSeries:
    """Tasks that arrived in each step.

    Attributes:
        counts: shape (n,), oldest first, steps without a gap.
        step_s: seconds of a step.
        end: when the last step ends.
    """

    counts: npt.NDArray[np.float64]
    step_s: int
    end: datetime


def floored(moment: datetime, seconds: int) -> datetime:
    """The beginning of the slot of so many seconds since 1970 that a moment lies in."""
    return datetime.fromtimestamp(int(moment.timestamp() // seconds) * seconds, UTC)


class ArrivalCounter:
    """Counts arrivals, and reads what was counted.

    Args:
        database: where tasks and counts are.
        kept_s: seconds that counts are kept.
    """

    def __init__(self, database: Database, kept_s: float) -> None:
        self._database, self._kept_s = database, kept_s

    async def count(self) -> bool:
        """Count what has come since the last round, at most PAGES pages; returns whether nothing is left."""
        for _ in range(PAGES):
            async with self._database.transaction() as connection:
                if await self._count_page(connection):
                    break
        else:
            return False
        async with self._database.connection() as connection:
            await connection.execute(_EXPIRE, self._kept_s, EXPIRE_ROWS)
        return True

    async def series(
        self, queue: str | None, kind: str | None, step_s: int, max_steps: int, *, final: bool = True
    ) -> ArrivalSeries | None:
        """Arrivals by steps, at most the newest `max_steps`; None queue or kind: all. None: nothing is counted yet.

        Args:
            queue: whose tasks; None: those of all queues.
            kind: their type; None: all types.
            step_s: a multiple of SLOT_S.
            max_steps: how many steps at most.
            final: up to the last slot that cannot change any more; else up to the last one that has ended.
        """
        async with self._database.connection() as connection:
            mark = await connection.fetchrow(_MARK)
            if mark["since"] is None:
                return None
            end = floored(mark["until_final"] if final else mark["now"], step_s)
            kept = mark["now"] - timedelta(seconds=self._kept_s)
            # The step in which the record begins is not whole.
            first_whole = floored(max(mark["since"], kept) + timedelta(seconds=step_s - 1), step_s)
            begin = max(first_whole, end - timedelta(seconds=step_s * max_steps))
            if begin >= end:
                return None
            rows = await connection.fetch(_SERIES, queue, kind, step_s, begin, end)
        counts = np.zeros(round((end - begin).total_seconds()) // step_s)
        first = int(begin.timestamp()) // step_s
        for step, tasks in rows:
            counts[step - first] = tasks
        return ArrivalSeries(counts, step_s, end)

    async def types(self, queue: str | None, kind: str | None, within_s: float, limit: int) -> dict[str, int]:
        """How many tasks of each type came within the last seconds, of the most frequent types."""
        async with self._database.connection() as connection:
            since = datetime.now(UTC) - timedelta(seconds=within_s)
            return {row["type"]: row["tasks"] for row in await connection.fetch(_TYPES, queue, kind, since, limit)}

    async def _count_page(self, connection: asyncpg.Connection) -> bool:
        """Count the next page; whether it was the last one."""
        mark = await connection.fetchrow(_MARK)
        now: datetime = mark["now"]
        ended, earliest = floored(now, SLOT_S), floored(now - timedelta(seconds=BACKFILL_S), SLOT_S)
        since, begin = mark["since"], mark["until_final"]
        if since is None or begin < earliest:
            oldest = await arrival_reads.oldest(connection)
            since = begin = min(ended, max(earliest, floored(oldest or now, SLOT_S)))
        end = min(ended, begin + timedelta(seconds=PAGE_S))
        found = await arrival_reads.arrivals(connection, begin, end, SLOT_S)
        if found:
            await connection.execute(_ADD, *(list(column) for column in zip(*found, strict=True)))
        final = floored(now - timedelta(seconds=LATE_S), SLOT_S)
        await connection.execute(_SET_MARK, since, max(begin, min(end, final)))
        return bool(end >= ended)
