"""Reads and writes the stored monitors of streams: PostgreSQL's table `valves`, two rows a stream."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import asyncpg

from seedcore.stores.postgres import Database, loads

# Primary key of `valves`, here and in the next statement.
_LOAD = "select stream, watch, state, recent, facts from seedcore.valves order by stream limit $1"
_SAVE = """
insert into seedcore.valves (stream, watch, state, recent, facts)
select * from unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::jsonb[])
on conflict (stream, watch) do update set state = excluded.state, recent = excluded.recent, facts = excluded.facts,
  updated = now()
"""
# All of `valves`.
_EVIDENCE = """
select stream, max((facts->>'evidence')::float8) as evidence, coalesce(max((facts->>'seen')::bigint), 0) as seen
from seedcore.valves group by stream order by stream limit $1
"""

MAX_SAVED_STREAMS = 16
"""Streams that one statement writes, at some 500 KB each."""


class MonitorRow(NamedTuple):
    """One stored monitor of a stream.

    Attributes:
        stream: the stream's name.
        watch: what is monitored: `work` or `outcome`.
        state: the valve's state; None while it is learning.
        recent: the newest observations, as a NumPy file.
        facts: counts, as JSON.
    """

    stream: str
    watch: str
    state: bytes | None
    recent: bytes
    facts: Mapping[str, float | None]


class StreamEvidence(NamedTuple):
    """A stream's highest evidence (None: it has no valve yet), and the tasks that it has seen."""

    stream: str
    evidence: float | None
    seen: int


async def load(database: Database, limit: int) -> list[MonitorRow]:
    """At most `limit` stored monitors, by stream."""
    async with database.connection() as connection:
        rows = await connection.fetch(_LOAD, limit)
    return [MonitorRow(row["stream"], row["watch"], row["state"], row["recent"], loads(row["facts"])) for row in rows]


async def save(database: Database, rows: Sequence[MonitorRow]) -> None:
    """Write monitors in one statement."""
    values = [(row.stream, row.watch, row.state, row.recent, json.dumps(row.facts)) for row in rows]
    async with database.connection() as connection:
        await connection.execute(_SAVE, *(list(column) for column in zip(*values, strict=True)))


async def stream_evidence(connection: asyncpg.Connection, limit: int) -> list[StreamEvidence]:
    """Evidence of at most `limit` streams, by name."""
    return [StreamEvidence(**row) for row in await connection.fetch(_EVIDENCE, limit)]
