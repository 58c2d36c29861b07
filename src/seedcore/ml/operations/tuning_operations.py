"""Operations of tuning: they submit the task `ml.tune`, wait for it, and show its trials."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

import asyncpg
from fastapi import FastAPI, Query, Response

from seedcore.errors import (
    ConflictError,
    DeadlineError,
    NotFoundError,
    from_problem,
    known_errors,
)
from seedcore.ml.data.training_data import check_source, read_local
from seedcore.ml.operations.job_tasks import check_job, jobs_limit
from seedcore.ml.parts import MLParts
from seedcore.ml.training.fitting import check_device
from seedcore.ml.training.model_draft import check_slices
from seedcore.ml.training.train import task_of
from seedcore.ml.tuning.trial_log import ended_counts, trials_of
from seedcore.ml.tuning.trial_plot import draw_trials
from seedcore.ml.tuning.trial_record import TrialRecord, metric_for
from seedcore.ml.tuning.tune_extra import require_plots, require_search
from seedcore.ml.tuning.tune_terms import read_terms
from seedcore.ml.tuning.tuning_status import (
    best_so_far,
    metric_of_job,
    newest_note,
    params_of,
    settled,
    status_of_job,
    total_trials,
)
from seedcore.schemas.ml import tuning as schemas
from seedcore.schemas.ml.models import JobAccepted
from seedcore.tasks import queries
from seedcore.tasks.events.task_feed import EventFeed
from seedcore.tasks.model import Status
from seedcore.tasks.queries import TaskRecord
from seedcore.tasks.submission.tenancy import HERE, Origin
from seedcore.web.access.caller import ANONYMOUS, Caller, CallerDep
from seedcore.web.service_base import Operation

TASK = "ml.tune"
_TRAINING_S = 1800.0
"""Of a job's time, for reading the data and training the model."""
_MAX_TIMEOUT_S = 86_400.0


class TuningOperations:
    """Searches for parameters, as tasks."""

    def __init__(self, parts: MLParts) -> None:
        self._parts = parts
        self._database = parts.database
        self._feed = EventFeed(parts.database)

    def operations(self) -> Sequence[Operation]:
        """What this part serves."""
        s = schemas
        return (
            Operation("POST", "/xgboost/tune", self.tune, s.TuneRequest, summary="Tune and wait", submits=True),
            Operation(
                "POST",
                "/xgboost/tune/submit",
                self.submit,
                s.TuneRequest,
                status=202,
                summary="Tune as a task",
                submits=True,
            ),
            Operation(
                "GET", "/xgboost/tune/jobs", self.jobs, s.TuneJobsQuery, summary="List tuning jobs", submits=True
            ),
        )

    def extend(self, app: FastAPI) -> None:
        """Add the route of a single job."""

        @app.get(
            "/xgboost/tune/status/{job_id}",
            response_model=schemas.TuneStatus,
            responses={200: {"content": {"image/svg+xml": {}}}},
            summary="Follow a tuning job",
        )
        async def status(
            job_id: UUID, caller: CallerDep, shape: Annotated[Literal["json", "svg"], Query(alias="format")] = "json"
        ) -> object:
            """The job, its progress and its trials; `format=svg` draws their scores."""
            if shape == "svg":
                return Response(await self.plot(job_id, caller), media_type="image/svg+xml")
            return await self.status(job_id, caller)

    async def stop(self) -> None:
        """Stop following tasks."""
        await self._feed.aclose()

    async def submit(
        self, request: schemas.TuneRequest, *, origin: Origin = HERE, caller: Caller = ANONYMOUS
    ) -> JobAccepted:
        """Submit a search as a task of the caller's tenant; it answers before the search begins."""
        return JobAccepted(job_id=str(await self._submit(request, origin)))

    async def tune(
        self, request: schemas.TuneRequest, *, origin: Origin = HERE, caller: Caller = ANONYMOUS
    ) -> schemas.TuneStatus:
        """Submit a search and wait for its end.

        Raises:
            DeadlineError: it did not end in time; it goes on, and the problem document holds its `job_id`.
        """
        job_id = await self._submit(request, origin)
        wait_s = max(1.0, self._parts.settings.request_timeout_s - 1)
        if not await self._feed.wait_ended(job_id, wait_s):
            raise DeadlineError(
                f"The search has not ended within {wait_s:g} s; follow GET /ml/xgboost/tune/status/{job_id}.",
                job_id=str(job_id),
            )
        status = await self.status(job_id, caller)
        if status.status == Status.COMPLETED:
            return status
        if status.error is None:
            raise ConflictError(f"The search was cancelled: task {job_id}.", job_id=str(job_id))
        code, message = status.error["code"], status.error["message"]
        known = {"code": code, "detail": message, "job_id": str(job_id)}
        raise from_problem(known if code in known_errors() else known | {"code": "skill_failed", "cause": code})

    async def _submit(self, request: schemas.TuneRequest, origin: Origin) -> UUID:
        """Check all that can be checked without reading files, then store the task."""
        require_search()
        read_terms(request)
        settings = self._parts.settings
        fields = {
            "type": TASK,
            "params": request.model_dump(mode="json", exclude_unset=True),
            "timeout_s": min(_MAX_TIMEOUT_S, request.time_limit_s + settings.tune_wait_s + _TRAINING_S),
            "limit": jobs_limit(settings),
        }
        check_job(self._parts.submission, fields, origin, request)
        await asyncio.to_thread(self._check_data, request)
        async with self._database.connection() as connection:
            _, submitted = await self._parts.submission.one(connection, fields, origin)
        return submitted.id

    def _check_data(self, request: schemas.TuneRequest) -> None:
        check_device(request.device)
        check_source(request, self._parts.settings)
        if request.data_source is None:
            table = read_local(request, self._parts.settings).table
            check_slices(request, table)
            metric_for(task_of(table), request.metric)

    async def status(self, job_id: UUID, caller: Caller = ANONYMOUS) -> schemas.TuneStatus:
        """A job of the caller's tenant."""
        async with self._database.connection() as connection:
            task, trials = await self._job(connection, job_id, caller)
            note = await newest_note(connection, task)
        return status_of_job(task, trials, note, payloads=caller.payloads)

    async def plot(self, job_id: UUID, caller: Caller = ANONYMOUS) -> str:
        """The trials of a job of the caller's tenant as SVG."""
        require_plots()
        async with self._database.connection() as connection:
            task, trials = await self._job(connection, job_id, caller)
        metric = metric_of_job(task)
        title = f"{params_of(task).get('name')}: {len(trials)} trials, {task.status}"
        return await asyncio.to_thread(draw_trials, trials, metric or "score", best_so_far(trials, metric), title)

    async def jobs(
        self, request: schemas.TuneJobsQuery, *, origin: Origin = HERE, caller: Caller = ANONYMOUS
    ) -> schemas.TuneJobs:
        """Tuning jobs of the caller's tenant, the newest first."""
        async with self._database.connection() as connection:
            tasks = await queries.find(connection, task_type=TASK, tenant=caller.tenant, limit=request.limit)
            ended = await ended_counts(connection, [task.id for task in tasks])
        shown = [task for task in tasks if request.name in (None, params_of(task).get("name"))]
        return schemas.TuneJobs(
            jobs=[
                schemas.TuneJob(
                    job_id=str(task.id),
                    name=str(params_of(task).get("name", "")),
                    status=task.status,
                    progress=schemas.TuneProgress(done=ended.get(task.id, 0), total=total_trials(task)),
                    created_at=task.created_at,
                    finished_at=task.finished_at,
                )
                for task in shown
            ]
        )

    async def _job(
        self, connection: asyncpg.Connection, job_id: UUID, caller: Caller
    ) -> tuple[TaskRecord, list[TrialRecord]]:
        task = await queries.get(connection, job_id, caller.tenant)
        if task.type != TASK:
            raise NotFoundError(f"Task {job_id} is no tuning job: it is of the type {task.type!r}.")
        return task, settled(task, await trials_of(connection, job_id))
