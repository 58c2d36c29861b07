"""What a tuning job shows of itself, from its task and its trials."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import asyncpg

from seedcore.errors import SeedCoreError
from seedcore.ml.tuning.trial_record import BestTrial, TrialRecord, best_of
from seedcore.ml.tuning.tune_terms import read_terms
from seedcore.schemas.ml.tuning import BestScore, TuneProgress, TuneRequest, TuneResult, TuneStatus, TuneTrial
from seedcore.tasks import queries
from seedcore.tasks.model import Status
from seedcore.tasks.queries import TaskRecord


def params_of(task: TaskRecord) -> Mapping[str, object]:
    """A job's params; empty where they are no object, which SQL can store."""
    try:
        found = task.params
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def total_trials(task: TaskRecord) -> int:
    """How many trials the job is to have; 0 when its params do not say."""
    try:
        return read_terms(TuneRequest.model_validate(params_of(task))).trials
    except (ValueError, SeedCoreError):
        return 0


def metric_of_job(task: TaskRecord) -> str | None:
    """What the job optimizes; None while only its data says it."""
    if task.status == Status.COMPLETED:
        return str(task.result["metric"])
    named = params_of(task).get("metric")
    return named if isinstance(named, str) else None


def best_so_far(trials: Sequence[TrialRecord], metric: str | None) -> BestTrial | None:
    """The best trial; all metrics that data chooses are the better the lower."""
    return best_of(trials, metric or "logloss")


async def newest_note(connection: asyncpg.Connection, task: TaskRecord) -> str | None:
    """What a running job last said that it is at; None when it runs trials."""
    if task.status != Status.RUNNING:
        return None
    said = [event for event in await queries.events_of(connection, task.id) if event.event == "progress"]
    if not said:
        return None
    note = said[-1].data.get("note")
    return None if note is None else str(note)


def settled(task: TaskRecord, trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials of a job as they are now: where it has ended, those that ran then are `stopped`."""
    over = task.finished_at is not None
    return [replace(one, status="stopped") if over and one.status == "running" else one for one in trials]


def status_of_job(
    task: TaskRecord, trials: Sequence[TrialRecord], note: str | None, *, payloads: bool = True
) -> TuneStatus:
    """The job as clients see it; without `payloads`, without what it was given and what it found."""
    metric = metric_of_job(task)
    best = best_so_far(trials, metric)
    done = sum(trial.status not in ("running", "stopped") for trial in trials)
    shown = [
        TuneTrial(
            trial=trial.trial,
            params=trial.params,
            status=trial.status,
            scores=list(trial.scores),
            best=best is not None and trial.trial == best.trial,
        )
        for trial in trials
    ]
    found = (
        None if best is None else BestScore(trial=best.trial, score=best.score, rounds=best.rounds, params=best.params)
    )
    result = None if task.result_text is None else TuneResult.model_validate(json.loads(task.result_text))
    return TuneStatus(
        job_id=str(task.id),
        name=str(params_of(task).get("name", "")),
        status=task.status,
        progress=TuneProgress(done=done, total=total_trials(task), best=found if payloads else None, note=note),
        result=result if payloads else None,
        error=task.error,
        trials=shown if payloads else [],
        metric=metric,
    )
