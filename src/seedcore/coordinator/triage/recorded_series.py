"""What was recorded of a stream, as series: how long its last tasks took, and how many failed in each block of them."""

from seedcore.errors import ConflictError
from seedcore.schemas.triage import MIN_POINTS
from seedcore.stores.postgres import Database
from seedcore.tasks import history

MOST_ENDS, MOST_OF_STREAM = 10_000, 2_000
BLOCKS = 200


async def recorded(database: Database, stream: str) -> dict[str, list[float]]:
    """`duration_s` of its last completed tasks, and `failures` in blocks of its last tasks; the oldest first.

    Among the newest MOST_ENDS ended tasks of all streams.

    Raises:
        ConflictError: too few of the stream's tasks are among them.
    """
    async with database.connection() as connection:
        ends = await history.stream_ends(connection, stream, MOST_ENDS, MOST_OF_STREAM)
    ends.reverse()
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
