"""When tasks came, and how long they take, by type: for forecasts of other rooms."""

from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

# Range of the primary key of tasks. The first 48 bits of an id are its milliseconds; PostgreSQL 16 has no function for
# that.
ARRIVALS = """
select queue, type, to_timestamp(slot * $3::float8) as at, count(*)::integer as tasks
from (select queue, type, floor(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 1000.0 / $3)::bigint
             as slot
      from seedcore.tasks where id >= seedcore.first_id($1) and id < seedcore.first_id($2)) t
group by queue, type, slot
"""

OLDEST = "select id from seedcore.tasks order by id limit 1"

# Primary keys of finished and tasks, the newest $2 ended tasks.
SECONDS_OF_TYPES = """
select t.type, count(*) as tasks, avg(e.seconds)::float8 as mean_s
from (select id, extract(epoch from finished_at - started_at)::float8 as seconds from seedcore.finished
      where status = 'completed' and started_at is not null
        and id >= seedcore.first_id(now() - make_interval(secs => $1))
      order by id desc limit $2) e
join seedcore.tasks t on t.id = e.id group by t.type
"""


class Arrivals(NamedTuple):
    """Tasks of a queue and type that were submitted in the slot of time that begins at `at`."""

    queue: str
    type: str
    at: datetime
    tasks: int


class TypeSeconds(NamedTuple):
    """Mean seconds of the last attempt of so many completed tasks of a type."""

    type: str
    tasks: int
    mean_s: float


async def arrivals(connection: asyncpg.Connection, since: datetime, until: datetime, slot_s: int) -> list[Arrivals]:
    """Tasks submitted from `since` on and before `until`, by queue, type and slots of `slot_s` seconds since 1970.

    By the time in their ids, so a transaction that has not committed yet is missing: read the last seconds again later.
    """
    return [Arrivals(*row) for row in await connection.fetch(ARRIVALS, since, until, slot_s)]


async def oldest(connection: asyncpg.Connection) -> datetime | None:
    """When the oldest task that is kept was submitted; None: there is none."""
    found: UUID | None = await connection.fetchval(OLDEST)
    return None if found is None else datetime.fromtimestamp((found.int >> 80) / 1000, UTC)


async def seconds_of_types(connection: asyncpg.Connection, within_s: float, limit: int) -> list[TypeSeconds]:
    """How long tasks of each type take, of the newest `limit` completed ones of the last `within_s` seconds."""
    return [TypeSeconds(*row) for row in await connection.fetch(SECONDS_OF_TYPES, within_s, limit)]
