"""What was recorded of a stream, as series: how long its last tasks took, and how many failed in each block of them."""

from seedcore.errors import ConflictError
from seedcore.schemas.triage import MIN_POINTS
from seedcore.stores.postgres import Database
from seedcore.tasks.failure_codes import NOT_FAILURES_OF_THE_WORK

MOST_ENDS, MOST_OF_STREAM = 10_000, 2_000
BLOCKS = 200

# Primary keys, in the order of submission.
_ENDS = """
select e.ok, e.seconds from (
  select * from (select id, true as ok, extract(epoch from finished_at - started_at)::float8 as seconds, finished_at
                 from seedcore.finished where status = 'completed' order by id desc limit $2) f
  union all
  select * from (select id, false, null::float8, finished_at from seedcore.dead
                 where error_code <> all($4::text[]) order by id desc limit $2) d
  order by id desc limit $2) e
join seedcore.tasks t on t.id = e.id
where (case when t.domain is null then t.type else t.domain || '/' || t.type end) = $1
order by e.finished_at desc, e.id desc limit $3
"""


async def recorded(database: Database, stream: str) -> dict[str, list[float]]:
    """`duration_s` of its last completed tasks, and `failures` in blocks of its last tasks; the oldest first.

    Among the newest MOST_ENDS ended tasks of all streams.

    Raises:
        ConflictError: too few of the stream's tasks are among them.
    """
    async with database.connection() as connection:
        rows = await connection.fetch(_ENDS, stream, MOST_ENDS, MOST_OF_STREAM, NOT_FAILURES_OF_THE_WORK)
    ends = [(row["ok"], row["seconds"]) for row in reversed(rows)]
    found = {"duration_s": [float(seconds) for ok, seconds in ends if ok and seconds is not None]}
    size = -(-len(ends) // BLOCKS) or 1
    failed = [not ok for ok, _ in ends]
    # The oldest tasks that fill no block are left out.
    blocks = range(len(ends) % size, len(ends), size)
    found["failures"] = [float(sum(failed[start : start + size])) for start in blocks]
    enough = {name: values for name, values in found.items() if len(values) >= MIN_POINTS}
    if not enough:
        raise ConflictError(
            f"{len(ends)} of the newest {MOST_ENDS} ended tasks are of the stream {stream!r}: {MIN_POINTS} are needed."
        )
    return enough
