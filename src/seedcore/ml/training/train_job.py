"""A training as a job: in a process of its own, with progress, checkpoints, and one version however often it runs."""

import asyncio
import threading
from collections.abc import Callable

from seedcore.ml.data.training_data import TrainingData, read_data
from seedcore.ml.registry.model_catalog import schema_of
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.registry.model_store import ModelStore
from seedcore.ml.training.checkpoints import job_folder
from seedcore.ml.training.model_draft import reference_file, train_request
from seedcore.ml.training.train import TrainingOptions
from seedcore.schemas.ml.models import TrainRequest, TrainResponse
from seedcore.settings import Settings
from seedcore.stores.postgres import Database


def run_train_job(
    request: TrainRequest,
    settings: Settings,
    job_id: str,
    tenant: str,
    progress: Callable[[float, float | None, str | None], None],
) -> ModelManifest:
    """Train and store one version for a job; the version that an earlier attempt stored, if one did.

    Args:
        tenant: whose history and predictions may be read.
        progress: is called after each round with (rounds done, rounds in all, their name).

    Raises:
        InvalidInputError: the request, its data or its parameters do not fit.
        NotFoundError: there is no such file.
        TooLargeError: there are too many rows, or training would take too much memory.
        NotConfiguredError: a library or the device is missing.
        UnavailableError: the database, the disk or another attempt is in the way; a later attempt may succeed.
    """
    store = ModelStore(settings.models_dir)
    store.prepare()
    with job_folder(settings.models_dir, job_id) as checkpoint:
        stored = version_of_job(store, request.name, job_id)
        if stored is not None:
            return stored
        data = read_blocking(request, settings, tenant)
        options = TrainingOptions(report=lambda done, total: progress(done, total, "rounds"), checkpoint=checkpoint)
        return train_and_store(request, data, store, threading.Event(), options, job_id)


def read_blocking(request: TrainRequest, settings: Settings, tenant: str) -> TrainingData:
    """The training set of any request, read in a process without a running event loop."""

    async def read() -> TrainingData:
        database = Database(settings, size=1, name="seedcore-train")
        try:
            return await read_data(request, settings, database, ModelStore(settings.models_dir).manifest, tenant)
        finally:
            await database.aclose()

    return asyncio.run(read())


def train_and_store(
    request: TrainRequest,
    data: TrainingData,
    store: ModelStore,
    stop: threading.Event,
    options: TrainingOptions = TrainingOptions(),  # noqa: B008 - frozen
    job_id: str | None = None,
) -> ModelManifest:
    """Train on `data`, and store the model with its reference rows under the next version."""
    manifest, trained = train_request(request, data, stop, options, job_id)
    return store.save(trained.ubj, manifest, reference_file(trained))


def version_of_job(store: ModelStore, name: str, job_id: str) -> ModelManifest | None:
    """The version of `name` that a job has stored; None when it has none."""
    for version in reversed(store.versions(name)):
        manifest = store.manifest(name, version)
        if manifest.lineage.job_id == job_id:
            return manifest
    return None


def train_response(manifest: ModelManifest) -> TrainResponse:
    """What a training answers."""
    return TrainResponse(
        name=manifest.name,
        version=manifest.version,
        metrics=manifest.metrics,
        intervals=manifest.intervals,
        importance=manifest.importance,
        training_time_s=round(manifest.training_time_s, 6),
        model_schema=schema_of(manifest),
    )
