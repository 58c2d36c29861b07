"""The queue of what is to be remembered. Triggers fill it, in the transaction that changed the thing."""

from collections.abc import Sequence
from dataclasses import dataclass

from seedcore.stores.postgres import Database, loads

FULL = 100_000
"""Rows over which triggers write no more, as in `seedcore.remember_later`."""
STALE_S = 60.0
"""What was taken longer ago is taken again: whoever took it has died, or could not remember it."""

# Primary key, in order. What changes after this has committed waits in a row of its own.
_TAKE = """
with next as (
  select seq from seedcore.memory_intake
  where taken_at is null or taken_at < now() - make_interval(secs => $2) order by seq limit $1
  for update skip locked)
update seedcore.memory_intake i set taken_at = now() from next n where i.seq = n.seq
returning i.seq, i.kind, i.ref, i.payload::text as payload
"""
_DONE = "delete from seedcore.memory_intake where seq = any($1::bigint[])"
_STATE = """
select count(*) as waiting, coalesce(extract(epoch from now() - min(w.at)), 0)::float8 as lag_s,
       (select coalesce(max(seq) - min(seq), 0) from seedcore.memory_intake) as span
from (select at from seedcore.memory_intake order by seq limit 10000) w
"""


@dataclass(frozen=True, slots=True)
class IntakeRow:
    """One thing to remember; `payload` holds what its own tables do not say later."""

    seq: int
    kind: str
    ref: str
    payload: dict[str, object]


@dataclass(frozen=True, slots=True)
class IntakeState:
    """How much waits (counted up to 10,000), for how long, and whether triggers have stopped to write."""

    waiting: int
    lag_s: float
    full: bool


class IntakeQueue:
    """Takes rows, and removes those that are remembered."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, limit: int) -> list[IntakeRow]:
        """The oldest rows; they come back after STALE_S unless they are done."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_TAKE, limit, STALE_S)
        taken = [IntakeRow(row["seq"], row["kind"], row["ref"], loads(row["payload"])) for row in rows]
        return sorted(taken, key=lambda row: row.seq)

    async def done(self, rows: Sequence[IntakeRow]) -> None:
        """These are remembered, or gone."""
        async with self._database.connection() as connection:
            await connection.execute(_DONE, [row.seq for row in rows])

    async def state(self) -> IntakeState:
        """For health."""
        async with self._database.connection(wait_s=2.0) as connection:
            row = await connection.fetchrow(_STATE)
        return IntakeState(row["waiting"], row["lag_s"], row["span"] > FULL)
