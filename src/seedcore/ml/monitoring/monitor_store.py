"""What monitors read of recorded predictions and outcomes, and their own rows in `seedcore.model_monitors`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
import numpy as np
import numpy.typing as npt

from seedcore.ml.monitoring.change_time import PredictionMark
from seedcore.stores.postgres import loads

BATCH = 2_000
MAX_COUNTED = 100_000

_NEWEST = """
select coalesce((select max(seq) from seedcore.predictions where name = $1), 0),
       coalesce((select max(seq) from seedcore.outcomes where name = $1), 0)
"""
# A number is given before its row can be seen: younger rows may still be followed by ones of lower numbers. Index
# predictions_name; index outcomes_seq and predictions_task.
_PREDICTIONS = """
select seq, version, features, extract(epoch from made_at)::float8 as made_at from seedcore.predictions
where name = $1 and seq > $2 and made_at < now() - interval '0.5 s' order by seq limit $3
"""
_OUTCOMES = """
select o.seq, o.label::text as label, p.seq as prediction, p.version, p.answer::text as answer,
       extract(epoch from p.made_at)::float8 as made_at, o.known_at > now() - interval '5 s' as young
from seedcore.outcomes o left join seedcore.predictions p on p.task_id = o.task_id
where o.name = $1 and o.seq > $2 and o.known_at < now() - interval '0.5 s' order by o.seq limit $3
"""
_LABELLED = """
select count(*) from (
  select 1 from seedcore.predictions p join seedcore.outcomes o on o.task_id = p.task_id
  where p.name = $1 and p.seq >= $2 limit $3) counted
"""
_FIRST_SINCE = "select seq from seedcore.predictions where name = $1 and made_at >= $2 order by seq limit 1"
_LOAD = "select version, state, facts::text as facts from seedcore.model_monitors where name = $1"
_LIST = """
select name, version, facts::text as facts, updated_at from seedcore.model_monitors
where $1::text is null or name = $1 order by name limit 1000
"""
_SAVE = """
insert into seedcore.model_monitors (name, version, state, facts, updated_at) values ($1, $2, $3, $4::jsonb, now())
on conflict (name) do update
set version = excluded.version, state = excluded.state, facts = excluded.facts, updated_at = excluded.updated_at
"""
_KEEP_ONLY = "delete from seedcore.model_monitors where not name = any($1::text[])"


@dataclass(frozen=True, slots=True)
class NewPredictions:
    """Recorded predictions, in order.

    Attributes:
        last: number of the last row read, also when it was another version's.
        full: there may be more.
        features: (n, d) of the version; empty when there are none.
        marks: of the same rows.
    """

    last: int
    full: bool
    features: npt.NDArray[np.float64]
    marks: Sequence[PredictionMark]


class LabelledAnswer(NamedTuple):
    """A label, the version's answer, and the prediction it belongs to."""

    label: Any
    answer: Any
    mark: PredictionMark


@dataclass(frozen=True, slots=True)
class NewOutcomes:
    """Outcomes of the version's predictions, in order; `last` and `full` as of `NewPredictions`."""

    last: int
    full: bool
    rows: Sequence[LabelledAnswer]


class StoredMonitorRow(NamedTuple):
    """A stored monitor: its version, the state of its inputs as bytes, the rest as JSON."""

    version: int
    state: bytes | None
    facts: dict[str, Any]


class ListedMonitor(NamedTuple):
    """A stored monitor as it is shown."""

    name: str
    version: int
    facts: dict[str, Any]
    updated_at: datetime


async def newest_rows(connection: asyncpg.Connection, name: str) -> tuple[int, int]:
    """The numbers of the newest prediction and outcome of a name; 0 where there is none."""
    predictions, outcomes = await connection.fetchrow(_NEWEST, name)
    return predictions, outcomes


async def new_predictions(
    connection: asyncpg.Connection, name: str, version: int, features: int, after: int
) -> NewPredictions:
    """The version's predictions after the row `after`."""
    rows = await connection.fetch(_PREDICTIONS, name, after, BATCH)
    own = [row for row in rows if row["version"] == version and len(row["features"]) == features]
    matrix = np.array([row["features"] for row in own], dtype=np.float64).reshape(len(own), features)
    marks = [PredictionMark(row["seq"], row["made_at"]) for row in own]
    return NewPredictions(rows[-1]["seq"] if rows else after, len(rows) == BATCH, matrix, marks)


async def new_outcomes(connection: asyncpg.Connection, name: str, version: int, after: int, begun: int) -> NewOutcomes:
    """Outcomes after the row `after`, of the version's predictions with numbers over `begun`."""
    rows = await connection.fetch(_OUTCOMES, name, after, BATCH)
    own = list[LabelledAnswer]()
    for row in rows:
        seq = row["prediction"]
        if seq is None and row["young"]:
            # Workers write predictions a little later: its row may still come.
            return NewOutcomes(after, False, own)
        after = row["seq"]
        if seq is not None and row["version"] == version and seq > begun:
            own.append(LabelledAnswer(loads(row["label"]), loads(row["answer"]), PredictionMark(seq, row["made_at"])))
    return NewOutcomes(after, len(rows) == BATCH, own)


async def labelled_since(connection: asyncpg.Connection, name: str, since: int) -> int:
    """How many predictions of the name, from the row `since` on, have an outcome; counted up to MAX_COUNTED."""
    count: int = await connection.fetchval(_LABELLED, name, since, MAX_COUNTED)
    return count


async def load_monitor(connection: asyncpg.Connection, name: str) -> StoredMonitorRow | None:
    """The stored monitor of a name."""
    row = await connection.fetchrow(_LOAD, name)
    return None if row is None else StoredMonitorRow(row["version"], row["state"], loads(row["facts"]))


async def save_monitor(
    connection: asyncpg.Connection, name: str, version: int, state: bytes, facts: dict[str, object]
) -> None:
    """Store a monitor, in place of the one before."""
    await connection.execute(_SAVE, name, version, state, json.dumps(facts, allow_nan=False))


async def list_monitors(connection: asyncpg.Connection, name: str | None) -> list[ListedMonitor]:
    """Stored monitors by name: one, or all."""
    rows = await connection.fetch(_LIST, name)
    return [ListedMonitor(row["name"], row["version"], loads(row["facts"]), row["updated_at"]) for row in rows]


async def keep_only(connection: asyncpg.Connection, names: Sequence[str]) -> None:
    """Delete the monitors of all other names."""
    await connection.execute(_KEEP_ONLY, list(names))


async def first_since(connection: asyncpg.Connection, name: str, moment: datetime) -> int | None:
    """The number of the first prediction of a name from a moment on; None: there is none."""
    found: int | None = await connection.fetchval(_FIRST_SINCE, name, moment)
    return found
