"""Rows of `seedcore.outcomes`, and their predictions."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

LATE_S = 120.0
"""How long an outcome waits for the row of its prediction."""

SETTLED_S = 60.0
"""Seconds after which no row of a lower number can appear beside one: writing takes at most ten."""

_INSERT = """
insert into seedcore.outcomes (task_id, tenant, name, label)
select o.task_id, o.tenant, o.name, o.label
from jsonb_to_recordset($1::jsonb) as o (task_id uuid, tenant text, name text, label jsonb)
on conflict (task_id) do nothing
"""

# Indexes outcomes_open and predictions_task.
_PAIRS = """
select o.task_id, o.label::text as label, o.known_at, p.version, p.answer::text as answer, p.features, p.seconds,
       p.promotion, p.candidate, p.candidate_answer::text as candidate_answer, p.candidate_seconds, p.made_at
from seedcore.outcomes o join seedcore.predictions p on p.task_id = o.task_id
where o.name = $1 and o.judged_at is null order by o.seq limit $2
"""
_JUDGED = "update seedcore.outcomes set judged_at = now() where task_id = any($1::uuid[])"
_NAMES = "select distinct name from seedcore.outcomes where judged_at is null limit 1000"
_GIVE_UP = """
update seedcore.outcomes set judged_at = now() where task_id in (
  select o.task_id from seedcore.outcomes o where o.judged_at is null
    and o.known_at < now() - make_interval(secs => $1)
    and not exists (select from seedcore.predictions p where p.task_id = o.task_id) limit 10000)
"""
# Index predictions_name, outcomes_pkey.
_UNLABELLED = """
select p.seq, p.task_id, p.made_at < now() - make_interval(secs => $5) as settled from seedcore.predictions p
where p.name = $1 and p.seq > $2 and p.made_at > now() - make_interval(secs => $3)
  and not exists (select from seedcore.outcomes o where o.task_id = p.task_id)
order by p.seq limit $4
"""
# Index predictions_name, from its end.
_SETTLED = """
select seq from seedcore.predictions where name = $1 and made_at < now() - make_interval(secs => $2)
order by seq desc limit 1
"""
# Index predictions_name, outcomes_pkey.
_RECENT = """
select p.answer::text as answer, o.label::text as label from seedcore.predictions p
join seedcore.outcomes o on o.task_id = p.task_id
where p.name = $1 and p.version = $2 order by p.seq desc limit $3
"""

# The oldest page alone is looked at: rows are in the order of time. Primary key, predictions_name, outcomes_seq.
_TRIM_PREDICTIONS = """
delete from seedcore.predictions where seq in (
  select p.seq from seedcore.predictions p where p.name = $1
    and p.seq <= coalesce((select k.seq from seedcore.predictions k where k.name = $1 order by k.seq desc
                           offset $2 limit 1), 0)
  order by p.seq limit $3)
"""
_OLD_PREDICTIONS = """
delete from seedcore.predictions where seq in (
  select p.seq from (select seq, made_at from seedcore.predictions order by seq limit $2) p
  where p.made_at < now() - make_interval(secs => $1))
"""
_OLD_OUTCOMES = """
delete from seedcore.outcomes where task_id in (
  select o.task_id from (select task_id, known_at from seedcore.outcomes where name = $2 order by seq limit $3) o
  where o.known_at < now() - make_interval(secs => $1))
"""
_TRIM_OUTCOMES = """
delete from seedcore.outcomes where task_id in (
  select o.task_id from seedcore.outcomes o where o.name = $1
    and o.seq <= coalesce((select k.seq from seedcore.outcomes k where k.name = $1 order by k.seq desc
                           offset $2 limit 1), 0)
  order by o.seq limit $3)
"""
# A walk along the index from name to name.
_ALL_NAMES = """
with recursive names as (
  (select name from seedcore.{table} order by name limit 1)
  union all
  select (select t.name from seedcore.{table} t where t.name > n.name order by t.name limit 1) from names n
  where n.name is not null)
select name from names where name is not null limit 10000
"""
_PREDICTED_NAMES = _ALL_NAMES.format(table="predictions")
_OUTCOME_NAMES = _ALL_NAMES.format(table="outcomes")


@dataclass(frozen=True, slots=True)
class PredictionOutcome:
    """What was true of a task's prediction."""

    task_id: UUID
    tenant: str
    name: str
    label: object


@dataclass(frozen=True, slots=True)
class JudgedPrediction:
    """A prediction whose truth is known."""

    task_id: UUID
    label: Any
    known_at: datetime
    version: int
    answer: dict[str, Any]
    features: list[float | None]
    seconds: float
    promotion: UUID | None
    candidate: int | None
    candidate_answer: dict[str, Any] | None
    candidate_seconds: float | None
    made_at: datetime


class UnlabelledPrediction(NamedTuple):
    """A prediction without an outcome; `settled`: no row of a lower number can appear any more."""

    seq: int
    task_id: UUID
    settled: bool


async def store_outcomes(connection: asyncpg.Connection, outcomes: Sequence[PredictionOutcome]) -> int:
    """Insert outcomes; the first label of a task stays. How many were new."""
    rows = [
        {"task_id": str(one.task_id), "tenant": one.tenant, "name": one.name, "label": one.label} for one in outcomes
    ]
    status: str = await connection.execute(_INSERT, json.dumps(rows, allow_nan=False))
    return int(status.split()[-1])


async def names_with_outcomes(connection: asyncpg.Connection) -> list[str]:
    """Names with outcomes that are not judged."""
    return [row["name"] for row in await connection.fetch(_NAMES)]


async def pairs_to_judge(connection: asyncpg.Connection, name: str, limit: int) -> list[JudgedPrediction]:
    """Outcomes of `name` that were not judged and whose predictions are known, in their order."""
    pairs = []
    for row in await connection.fetch(_PAIRS, name, limit):
        values = dict(row)
        for column in ("label", "answer", "candidate_answer"):
            values[column] = None if values[column] is None else json.loads(values[column])
        pairs.append(JudgedPrediction(**values))
    return pairs


async def mark_judged(connection: asyncpg.Connection, tasks: Sequence[UUID]) -> None:
    """Note that these outcomes were counted."""
    await connection.execute(_JUDGED, tasks)


async def give_up_waiting(connection: asyncpg.Connection) -> int:
    """Stop waiting for predictions that were never recorded; of how many outcomes."""
    status: str = await connection.execute(_GIVE_UP, LATE_S)
    return int(status.split()[-1])


async def unlabelled(
    connection: asyncpg.Connection, name: str, after: int, within_s: float, limit: int
) -> list[UnlabelledPrediction]:
    """Predictions without an outcome, behind the position `after`, in order."""
    rows = await connection.fetch(_UNLABELLED, name, after, within_s, limit, SETTLED_S)
    return [UnlabelledPrediction(*row) for row in rows]


async def settled_until(connection: asyncpg.Connection, name: str) -> int:
    """The number of the newest settled prediction of a name; 0: there is none."""
    return int(await connection.fetchval(_SETTLED, name, SETTLED_S) or 0)


async def recent_answers(
    connection: asyncpg.Connection, name: str, version: int, limit: int
) -> list[tuple[dict[str, Any], Any]]:
    """The newest answers of a version whose truth is known, with their labels."""
    rows = await connection.fetch(_RECENT, name, version, limit)
    return [(json.loads(row["answer"]), json.loads(row["label"])) for row in rows]


async def delete_expired(connection: asyncpg.Connection, retention_s: float, kept: int, page: int) -> int:
    """Delete what is older, and what is more than `kept` rows of a name, `page` rows at once; how many went."""
    predicted = [row["name"] for row in await connection.fetch(_PREDICTED_NAMES)]
    labelled = [row["name"] for row in await connection.fetch(_OUTCOME_NAMES)]
    statements: list[tuple[str, tuple[object, ...]]] = [
        (_OLD_PREDICTIONS, (retention_s, page)),
        *((_TRIM_PREDICTIONS, (name, kept, page)) for name in predicted),
        *((_OLD_OUTCOMES, (retention_s, name, page)) for name in labelled),
        *((_TRIM_OUTCOMES, (name, kept, page)) for name in labelled),
    ]
    return sum([int((await connection.execute(text, *given)).split()[-1]) for text, given in statements])
