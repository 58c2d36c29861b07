"""Operations that train models, at once or as jobs, and the files that they are trained on."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

from fastapi import FastAPI, Path, Request, Response

from seedcore.errors import OverloadedError
from seedcore.ml.data.dataset_uploads import DatasetUploads
from seedcore.ml.data.training_data import check_source, read_data
from seedcore.ml.operations.job_tasks import check_job, jobs_limit
from seedcore.ml.parts import MLParts
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.training.fitting import check_device
from seedcore.ml.training.train_job import train_and_store, train_response
from seedcore.ml.training.xgboost_params import resolve_params
from seedcore.schemas.ml import models as schemas
from seedcore.tasks.submission.tenancy import HERE, Origin
from seedcore.telemetry.logs import get_logger
from seedcore.web.access.caller import ANONYMOUS, Caller
from seedcore.web.service_base import Operation

MAX_TRAININGS = 2
"""Training fills a core; a third run at once would only slow all three down."""

_File = Annotated[str, Path(description="letters, digits, dots, dashes and underscores; ends in .csv or .parquet")]


class TrainingOperations:
    """Trains models that fit a request, submits those that are work, and keeps files of training sets."""

    def __init__(self, parts: MLParts) -> None:
        self._parts, self._settings, self._store = parts, parts.settings, parts.store
        self._trainers = ThreadPoolExecutor(MAX_TRAININGS, thread_name_prefix="train")
        self._uploads = DatasetUploads(
            parts.settings.datasets_dir, parts.settings.max_dataset_bytes, parts.settings.max_datasets_bytes
        )
        self._log = get_logger("seedcore.MLService")
        self.running = 0

    def operations(self) -> Sequence[Operation]:
        """What this part serves."""
        request = schemas.TrainRequest
        return (
            Operation("POST", "/xgboost/train", self.train, request, summary="Train a model", submits=True),
            Operation(
                "POST",
                "/xgboost/train/submit",
                self.submit,
                request,
                status=202,
                summary="Train a model as a task",
                submits=True,
            ),
            Operation("GET", "/datasets", self.list_datasets, summary="List the files of training sets"),
        )

    def extend(self, app: FastAPI) -> None:
        """The routes that name a file."""

        @app.put("/datasets/{file}", status_code=201, summary="Upload a CSV or Parquet file")
        async def upload(file: _File, request: Request, response: Response) -> schemas.DatasetFile:
            """Store the body as a file that trainings name as `data_source`: 201, or 200 where it replaces one."""
            stored, new = await self._uploads.store(file, request.stream())
            self._log.info("training set stored", file=stored.file, bytes=stored.bytes)
            response.status_code = 201 if new else 200
            return stored

        @app.delete("/datasets/{file}", status_code=204, summary="Delete a file of a training set")
        async def delete(file: _File) -> None:
            """Delete an uploaded file."""
            await asyncio.to_thread(self._uploads.delete, file)

    async def list_datasets(self) -> schemas.DatasetList:
        """All files that trainings can name as `data_source`."""
        return schemas.DatasetList(files=await asyncio.to_thread(self._uploads.list_files))

    async def submit(
        self, request: schemas.TrainRequest, *, origin: Origin = HERE, caller: Caller = ANONYMOUS
    ) -> schemas.JobAccepted:
        """Train as a task of the caller's tenant: off the serving path, with progress, and again after a kill."""
        resolve_params(request.params)
        await asyncio.to_thread(check_device, request.device)
        await asyncio.to_thread(check_source, request, self._settings)
        limit = jobs_limit(self._settings)
        fields = {"type": "ml.train", "params": request.model_dump(mode="json", exclude_unset=True), "limit": limit}
        check_job(self._parts.submission, fields, origin, request)
        async with self._parts.database.connection() as connection:
            _, submitted = await self._parts.submission.one(connection, fields, origin)
        return schemas.JobAccepted(job_id=str(submitted.id))

    async def train(
        self, request: schemas.TrainRequest, *, origin: Origin = HERE, caller: Caller = ANONYMOUS
    ) -> schemas.TrainResponse:
        """Train on the given table; the metrics are measured on a fifth of the rows that training did not see."""
        if self.running >= MAX_TRAININGS:
            raise OverloadedError(f"{MAX_TRAININGS} models are being trained already.", retry_after_s=2)
        stop = threading.Event()
        self.running += 1
        work = asyncio.ensure_future(self._train_and_save(request, origin.tenant, stop))
        try:
            # Shielded: a cancelled request must keep its slot while its thread still works.
            manifest = await asyncio.shield(work)
        except asyncio.CancelledError:
            stop.set()
            raise
        self._log.info(
            "model trained", model=manifest.name, version=manifest.version, seconds=round(manifest.training_time_s, 3)
        )
        return train_response(manifest)

    async def _train_and_save(self, request: schemas.TrainRequest, tenant: str, stop: threading.Event) -> ModelManifest:
        try:
            resolve_params(request.params)
            data = await read_data(request, self._settings, self._parts.database, self._store.manifest, tenant)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._trainers, train_and_store, request, data, self._store, stop)
        finally:
            self.running -= 1
