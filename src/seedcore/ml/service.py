"""The Serve deployment of the ML service."""

import asyncio
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from ray import serve

from seedcore.errors import OverloadedError, UnavailableError
from seedcore.ml import anomaly_api, dataset, dataset_files, drift, xgboost_params
from seedcore.ml.model_store import Manifest, ModelRegistry, now
from seedcore.ml.predictor import Model, Predictor
from seedcore.ml.training import Trained, train
from seedcore.schemas import ml as schemas
from seedcore.utils.warming import Warming
from seedcore.web.service_base import Operation, ServiceBase

Answer = TypeVar("Answer")
# Training fills a core; a third one at once would only make all three slower.
MAX_TRAININGS = 2


class MLService(ServiceBase):
    """Trains models from tables, keeps them, and predicts."""

    name = "MLService"

    def __init__(self, args: Mapping[str, Any] | None = None, settings: Any = None) -> None:
        super().__init__(args, settings)
        self.registry = ModelRegistry(self.settings.models_dir)
        self.predictor = Predictor(self.registry)
        self._trainers = ThreadPoolExecutor(MAX_TRAININGS, thread_name_prefix="train")
        self._trainings = 0
        self._warming = Warming({"xgboost": lambda: asyncio.to_thread(self._rehearse)})

    async def stop(self) -> None:
        """Give the warm-up up, where it still goes on."""
        self._warming_run.cancel()

    def operations(self) -> Sequence[Operation]:
        """The model operations."""
        s = schemas
        return (
            Operation("POST", "/xgboost/train", self.train, s.TrainRequest, summary="Train a model"),
            Operation("POST", "/xgboost/predict", self.predict, s.PredictRequest, summary="Predict one row"),
            Operation("POST", "/xgboost/batch_predict", self.batch_predict, s.BatchPredictRequest),
            Operation("GET", "/xgboost/list_models", self.list_models, summary="List the models"),
            Operation("GET", "/xgboost/model_info", self.model_info, s.ModelQuery, summary="Describe a model"),
            Operation("DELETE", "/xgboost/delete_model", self.delete_model, s.DeleteRequest),
            Operation("POST", "/drift/score", self.drift_score, s.DriftRequest, summary="Watch a batch for drift"),
            Operation("POST", "/detect/anomaly", self.detect, s.DetectRequest, summary="Find a series' anomalies"),
            Operation("POST", "/detect/anomaly/batch", self.detect_batch, s.DetectBatchRequest),
        )

    async def start(self) -> None:
        """Make the folder of the models; when that fails, health says so and requests get the same error."""
        self._warming_run = asyncio.create_task(self._warming.run(), name="warm up")
        try:
            await asyncio.to_thread(self.registry.prepare)
        except UnavailableError as error:
            self.log.error("the model folder cannot be used", detail=error.detail)

    async def health(self) -> Mapping[str, Any]:
        """Ready when the folder of the models can be written and a model has been trained once; `cold` says why not."""
        status = await asyncio.to_thread(self._health)
        if self._warming.cold:
            status |= {"ready": False, "cold": dict(self._warming.cold)}
        return status

    def _rehearse(self) -> None:
        """Train a model of a few rows and ask it, in memory: the first request does not wait for XGBoost's import."""
        rows: list[list[Any]] = [[float(i), "high" if i > 9 else "low"] for i in range(20)]
        request = schemas.TrainRequest(name="warm-up", columns=["x", "label"], rows=rows, label_column="label")
        draft, trained = self._fit(request, threading.Event())
        Model(draft, trained.ubj).predict(np.zeros((1, 1), dtype=np.float32))

    def _health(self) -> dict[str, Any]:
        storage: dict[str, Any] = {"path": str(self.registry.root), "usable": True}
        try:
            with tempfile.TemporaryFile(dir=self.registry.root):
                models = sum(1 for _ in self.registry.names())
        except OSError as error:
            return {"ready": False, "storage": storage | {"usable": False, "error": error.strerror}}
        return {"ready": True, "models": models, "loaded": self.predictor.loaded, "storage": storage}

    async def drift_score(self, request: schemas.DriftRequest) -> schemas.DriftResponse:
        """Whether observations stopped looking like their reference; the Coordinator's valve, on the caller's data."""
        return await asyncio.to_thread(drift.score, request)

    async def detect(self, request: schemas.DetectRequest) -> schemas.DetectResponse:
        """The points that a series' season, level and tail do not explain; without a model, from the series alone."""
        return await asyncio.to_thread(anomaly_api.one, request)

    async def detect_batch(self, request: schemas.DetectBatchRequest) -> schemas.DetectBatchResponse:
        """One answer a series, in order; one that cannot be judged has an `error` and spoils no other."""
        return await asyncio.to_thread(anomaly_api.many, request)

    async def train(self, request: schemas.TrainRequest) -> schemas.TrainResponse:
        """Train on the given table; the metrics are measured on a fifth of the rows that training did not see."""
        if self._trainings >= MAX_TRAININGS:
            raise OverloadedError(f"{MAX_TRAININGS} models are being trained already.", retry_after_s=2)
        stop = threading.Event()
        work = asyncio.get_running_loop().run_in_executor(self._trainers, self._train, request, stop)
        self._trainings += 1
        try:
            # Shielded: a cancelled request must not give its place away while its thread still works.
            manifest, trained = await asyncio.shield(self._counted(work))
        except asyncio.CancelledError:
            stop.set()
            raise
        self.log.info("trained", model=manifest.name, version=manifest.version, seconds=trained.seconds)
        return schemas.TrainResponse(
            name=manifest.name,
            version=manifest.version,
            metrics=manifest.metrics,
            training_time_s=round(trained.seconds, 6),
            model_schema=schema_of(manifest),
        )

    async def _counted(self, work: asyncio.Future[Answer]) -> Answer:
        try:
            return await work
        finally:
            self._trainings -= 1

    def _train(self, request: schemas.TrainRequest, stop: threading.Event) -> tuple[Manifest, Trained]:
        draft, trained = self._fit(request, stop)
        return self.registry.save(trained.ubj, draft), trained

    def _fit(self, request: schemas.TrainRequest, stop: threading.Event) -> tuple[Manifest, Trained]:
        import xgboost

        resolved = xgboost_params.resolve(request.params)
        table = self._table(request)
        trained = train(table, resolved, stop)
        draft = Manifest(
            name=request.name,
            version=0,
            created_at=now(),
            task=trained.task,
            features=list(table.columns),
            label_column=table.label_column,
            label_kind=table.label_kind,
            labels=list(table.labels),
            params=resolved,
            metrics=trained.metrics,
            n_rows=len(table.targets),
            sha256="",
            size_bytes=0,
            xgboost_version=xgboost.__version__,
        )
        return draft, trained

    def _table(self, request: schemas.TrainRequest) -> dataset.Table:
        label, limit = request.label_column, self.settings.max_train_rows
        if request.dataset is not None:
            return dataset.from_records(request.dataset, label, limit)
        if request.rows is not None and request.columns is not None:
            return dataset.from_rows(request.columns, request.rows, label, limit)
        assert request.data_source is not None
        return dataset_files.load(self.settings.data_dir / "datasets", request.data_source, label, limit)

    async def predict(self, request: schemas.PredictRequest) -> schemas.PredictResponse:
        """The prediction for one row; the newest version answers unless one is named."""
        row, manifest = await asyncio.to_thread(self.predictor.one, request.name, request.version, request.features)
        assert row.prediction is not None
        return schemas.PredictResponse(
            prediction=row.prediction, probabilities=row.probabilities, model=reference(manifest)
        )

    async def batch_predict(self, request: schemas.BatchPredictRequest) -> schemas.BatchPredictResponse:
        """One answer a row, in order; a row that does not fit has an `error` and spoils no other."""
        rows, manifest = await asyncio.to_thread(self.predictor.many, request.name, request.version, request.rows)
        return schemas.BatchPredictResponse(predictions=rows, model=reference(manifest))

    async def list_models(self) -> schemas.ListModelsResponse:
        """All names with their versions."""
        return await asyncio.to_thread(self._list)

    def _list(self) -> schemas.ListModelsResponse:
        good, broken = self.registry.newest()
        models = [
            schemas.ModelSummary(
                name=m.name,
                latest=m.version,
                versions=self.registry.versions(m.name),
                task=m.task,
                label_column=m.label_column,
                metrics=m.metrics,
                created_at=m.created_at,
            )
            for m in good
        ]
        return schemas.ListModelsResponse(models=models, total_count=len(models), broken=broken)

    async def model_info(self, request: schemas.ModelQuery) -> schemas.ModelInfo:
        """All that is known about one version; the newest unless one is named."""
        return await asyncio.to_thread(self._info, request)

    def _info(self, request: schemas.ModelQuery) -> schemas.ModelInfo:
        manifest = self.registry.manifest(request.name, request.version or self.registry.latest(request.name))
        kept = manifest.model_dump(include=set(schemas.ModelInfo.model_fields) & set(Manifest.model_fields))
        versions = self.registry.versions(request.name)
        return schemas.ModelInfo(**kept, versions=versions, model_schema=schema_of(manifest))

    async def delete_model(self, request: schemas.DeleteRequest) -> schemas.DeleteResponse:
        """Delete one version, or all of a name."""
        deleted = await asyncio.to_thread(self.registry.delete, request.name, request.version)
        self.log.info("deleted", model=request.name, versions=deleted)
        return schemas.DeleteResponse(name=request.name, deleted=deleted)


def schema_of(manifest: Manifest) -> schemas.ModelSchema:
    """What the model takes and answers."""
    return schemas.ModelSchema(
        features=[schemas.Column(name=name) for name in manifest.features],
        label_column=manifest.label_column,
        label_type=manifest.label_kind,
        labels=manifest.labels or None,
        task=manifest.task,
    )


def reference(manifest: Manifest) -> schemas.ModelRef:
    """Which version it is."""
    return schemas.ModelRef(name=manifest.name, version=manifest.version)


MLDeployment = serve.deployment(name="MLService")(serve.ingress()(MLService))
