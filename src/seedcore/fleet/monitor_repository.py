"""What the Coordinator keeps of its valves in PostgreSQL. Both statements go by the primary key of `valves`."""

import json
from collections.abc import Sequence

from seedcore.changepoint.features import OUTCOME_COLUMNS, TASK_COLUMNS
from seedcore.coordinator.monitors.stream_monitor import Watch
from seedcore.coordinator.monitors.stream_monitors import MAX_STREAMS, Stream
from seedcore.errors import InvalidInputError
from seedcore.stores.postgres import Database, loads
from seedcore.telemetry.logs import get_logger

_LOAD = "select stream, watch, state, recent, facts from seedcore.valves order by stream limit $1"
_SAVE = """
insert into seedcore.valves (stream, watch, state, recent, facts)
select * from unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::jsonb[])
on conflict (stream, watch) do update set state = excluded.state, recent = excluded.recent, facts = excluded.facts,
  updated = now()
"""
_COLUMNS = {"work": TASK_COLUMNS, "outcome": OUTCOME_COLUMNS}
MAX_SAVED = 16
"""Streams that one statement writes, at some 500 KB each."""


async def load(database: Database) -> list[Stream]:
    """All stored streams; one that cannot be read starts anew, which the log says."""
    async with database.connection() as connection:
        rows = await connection.fetch(_LOAD, 2 * MAX_STREAMS)
    streams: dict[str, Stream] = {}
    for row in rows:
        stream = streams.setdefault(row["stream"], Stream(row["stream"]))
        facts = loads(row["facts"])
        stream.seen = facts.pop("seen")
        try:
            watch = Watch.from_row(_COLUMNS[row["watch"]], row["state"], row["recent"], facts)
        except (InvalidInputError, ValueError) as error:
            get_logger("seedcore.coordinator").warning("a valve starts anew", stream=stream.name, reason=str(error))
        else:
            setattr(stream, row["watch"], watch)
    return list(streams.values())


async def save(database: Database, streams: Sequence[Stream]) -> None:
    """Write at most MAX_SAVED streams."""
    rows = []
    for stream in streams[:MAX_SAVED]:
        for name, watch in stream.watches.items():
            state, recent, facts = watch.to_row()
            rows.append((stream.name, name, state, recent, json.dumps(facts | {"seen": stream.seen})))
            watch.changed = False
    try:
        async with database.connection() as connection:
            await connection.execute(_SAVE, *(list(column) for column in zip(*rows, strict=True)))
    except BaseException:
        for stream in streams[:MAX_SAVED]:
            stream.work.changed = True
        raise
