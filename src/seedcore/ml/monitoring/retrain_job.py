"""The work of a retraining: rows, training, a stored version, the gate; a later attempt uses what one has stored."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from seedcore.errors import ConflictError, InvalidInputError
from seedcore.ml.data.dataset import Table, TrainLimits
from seedcore.ml.data.recorded_table import recorded_table
from seedcore.ml.data.training_data import TrainingData
from seedcore.ml.gate.promotions import Promotions
from seedcore.ml.monitoring.monitor_store import first_since
from seedcore.ml.monitoring.retraining import RetrainedModel, retrain_on, with_labels
from seedcore.ml.registry.aliases import read_aliases
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.registry.model_store import ModelStore
from seedcore.ml.registry.model_uses import end_uses, note_use
from seedcore.ml.training.checkpoints import job_folder
from seedcore.ml.training.model_draft import draft, reference_file
from seedcore.ml.training.train import TrainingOptions
from seedcore.ml.training.train_job import version_of_job
from seedcore.ml.training.xgboost_params import resolve_params
from seedcore.schemas.ml.models import RecordedSource, TrainRequest
from seedcore.schemas.ml.retraining import RetrainRequest, RetrainResult
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

SHARED_TENANT = "default"
"""Models are shared by all tenants, so only tasks of SeedCore's own tenant retrain them, on the rows of all."""


def run_retrain_job(
    request: RetrainRequest, settings: Settings, job_id: str, tenant: str, report: Callable[[int, int], None]
) -> RetrainResult:
    """Train a candidate for the gate, in a process without a running event loop.

    Raises:
        InvalidInputError: the parameters are wrong, or the recorded rows do not allow a training.
        ConflictError: the model has no champion, or the task is of a tenant that may not retrain.
        TooLargeError: training would take too much memory.
        UnavailableError: the database, the disk or another attempt is in the way; a later attempt may succeed.
    """
    if tenant != SHARED_TENANT:
        raise ConflictError(f"Models are shared: a task of the tenant {tenant!r} cannot retrain one.")
    store = ModelStore(settings.models_dir)
    store.prepare()

    async def work() -> RetrainResult:
        database = Database(settings, size=1, name="seedcore-retrain")
        try:
            return await RetrainJob(settings, database, store, UUID(job_id), report).run(request)
        finally:
            await database.aclose()

    with job_folder(settings.models_dir, job_id):
        return asyncio.run(work())


@dataclass(frozen=True, slots=True)
class RetrainJob:
    """One attempt of the task `task_id`; `report` is called with (rounds done, rounds in all) of each training."""

    settings: Settings
    database: Database
    store: ModelStore
    task_id: UUID
    report: Callable[[int, int], None] = lambda _done, _total: None

    async def run(self, request: RetrainRequest) -> RetrainResult:
        """Train, store, and hand to the gate; a version that an earlier attempt stored is handed over as it is."""
        async with self.database.connection() as connection:
            champion = (await read_aliases(connection)).of(request.name).get("champion")
            if champion is None:
                raise ConflictError(f"Model {request.name!r} has no champion that a candidate could follow.")
            await note_use(connection, self.task_id, request.name, champion)
        manifest = await asyncio.to_thread(version_of_job, self.store, request.name, str(self.task_id))
        made = None
        if manifest is None:
            parent = await asyncio.to_thread(self.store.manifest, request.name, champion)
            table, since = await self._rows(request, parent)
            made = await asyncio.to_thread(self._train, request, parent, table, since)
            manifest = await asyncio.to_thread(self._save, request, parent, made)
        gate = Promotions(self.settings, self.store, self.database)
        reason = f"retrained because of {request.cause}"
        reason += "" if request.triage_id is None else f" (triage {request.triage_id})"
        answer = await gate.promote(request.name, manifest.version, reason=reason, by=f"task {self.task_id}")
        async with self.database.connection() as connection:
            await end_uses(connection, [self.task_id])
        return RetrainResult(
            name=manifest.name,
            version=manifest.version,
            parent=manifest.lineage.parent or champion,
            status=answer.status,
            evidence=dict(answer.evidence),
            metrics=manifest.metrics,
            rows=manifest.n_rows,
            fresh_rows=None if made is None else made.fresh,
            old_weight=None if made is None else made.old_weight,
        )

    async def _rows(self, request: RetrainRequest, parent: ModelManifest) -> tuple[Table, float | None]:
        async with self.database.connection() as connection:
            since = None if request.since is None else await first_since(connection, request.name, request.since)
            table = await recorded_table(
                connection,
                request.name,
                self.store.manifest,
                rows=request.rows,
                limits=TrainLimits.of(self.settings),
                label_column=parent.label_column,
            )
        if (table.columns, table.label_kind) != (tuple(parent.features), parent.label_kind):
            raise InvalidInputError("The newest recorded rows have other columns or labels than the champion.")
        return with_labels(table, parent.labels), None if since is None else float(since)

    def _train(
        self, request: RetrainRequest, parent: ModelManifest, table: Table, since: float | None
    ) -> RetrainedModel:
        params = resolve_params({**parent.params, **request.params})
        return retrain_on(table, since, params, threading.Event(), TrainingOptions(report=self.report))

    def _save(self, request: RetrainRequest, parent: ModelManifest, made: RetrainedModel) -> ModelManifest:
        described = TrainRequest(
            name=request.name,
            data_source=RecordedSource(recorded=request.name, rows=len(made.table.targets)),
            label_column=parent.label_column,
            slices=parent.slices,
            outcome=parent.outcome,
            parent=parent.version,
            params=dict(made.trained.params),
        )
        data = TrainingData(made.table, "predictions", request.name)
        manifest = draft(described, data, made.trained, str(self.task_id))
        return self.store.save(made.trained.ubj, manifest, reference_file(made.trained))
