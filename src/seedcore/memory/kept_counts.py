"""How much is remembered, for State."""

from dataclasses import dataclass

import asyncpg

COUNTED = 100_000
"""Counted up to this number: State asks again and again."""

_KEPT = f"""
select (select count(*) from (select 1 from seedcore.memories limit {COUNTED}) m) as memories,
       (select count(*) from (select 1 from seedcore.facts limit {COUNTED}) f) as facts
"""  # noqa: S608 - of a constant


@dataclass(frozen=True, slots=True)
class KeptCounts:
    """Items of long-term memory, and facts; each up to `COUNTED`."""

    memories: int
    facts: int


async def count_kept(connection: asyncpg.Connection) -> KeptCounts:
    """Count what is kept."""
    row = await connection.fetchrow(_KEPT)
    return KeptCounts(row["memories"], row["facts"])
