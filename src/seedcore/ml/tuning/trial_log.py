"""The trials of tuning jobs in PostgreSQL: any replica sees them, and an attempt that follows a killed one resumes."""

import json
from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg

from seedcore.ml.tuning.trial_record import TrialRecord

_WRITE = """
insert into seedcore.tuning_trials as t (job_id, trial, params, status, scores)
select $1, n.trial, n.params::jsonb, n.status, n.scores::jsonb
from unnest($2::text[], $3::text[], $4::text[], $5::text[]) as n (trial, params, status, scores)
on conflict (job_id, trial) do update
set params = excluded.params, status = excluded.status, scores = excluded.scores, updated_at = now()
"""
_OF_JOB = """
select trial, params::text, status, scores::text from seedcore.tuning_trials where job_id = $1 order by trial
"""
_ENDED = """
select job_id, count(*) filter (where status <> 'running') as ended
from seedcore.tuning_trials where job_id = any($1) group by job_id
"""
_FORGET = "delete from seedcore.tuning_trials where updated_at < now() - make_interval(days => $1)"


async def write_trials(connection: asyncpg.Connection, job_id: UUID, trials: Sequence[TrialRecord]) -> None:
    """Store what is known of trials of a job; it replaces what was."""
    columns = [
        [trial.trial for trial in trials],
        [json.dumps(trial.params) for trial in trials],
        [trial.status for trial in trials],
        [json.dumps(trial.scores) for trial in trials],
    ]
    await connection.execute(_WRITE, job_id, *columns)


async def trials_of(connection: asyncpg.Connection, job_id: UUID) -> list[TrialRecord]:
    """The trials of a job, in the order of their beginning."""
    return [
        TrialRecord(row["trial"], json.loads(row["params"]), row["status"], _scores(row["scores"]))
        for row in await connection.fetch(_OF_JOB, job_id)
    ]


def _scores(text: str) -> tuple[tuple[int, float], ...]:
    return tuple((int(rounds), float(score)) for rounds, score in json.loads(text))


async def ended_counts(connection: asyncpg.Connection, job_ids: Sequence[UUID]) -> Mapping[UUID, int]:
    """How many trials of each job have ended; jobs without a trial are left out."""
    return {row["job_id"]: row["ended"] for row in await connection.fetch(_ENDED, list(job_ids))}


async def forget_old_trials(connection: asyncpg.Connection, days: int) -> None:
    """Delete the trials that have not changed for `days`."""
    await connection.execute(_FORGET, days)
