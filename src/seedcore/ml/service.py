"""The Serve deployment of the ML service."""

import asyncio
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from ray import serve

from seedcore.errors import OverloadedError, UnavailableError
from seedcore.ml import anomaly_api, model_catalog
from seedcore.ml.drift_api import score_drift
from seedcore.ml.model_store import ModelManifest, ModelStore
from seedcore.ml.predictor import LoadedModel, Predictor
from seedcore.ml.training import TrainedModel, train_request
from seedcore.schemas import ml as schemas
from seedcore.schemas.anomaly import DetectBatchRequest, DetectBatchResponse, DetectRequest, DetectResponse
from seedcore.schemas.drift import DriftRequest, DriftResponse
from seedcore.settings import Settings
from seedcore.telemetry.lean_imports import without
from seedcore.utils.warming import Warming
from seedcore.web.service_base import Operation, ServiceBase

Answer = TypeVar("Answer")
# Training fills a core; a third run at once would only slow all three down.
MAX_TRAININGS = 2


class MLService(ServiceBase):
    """Trains models, stores them and predicts with them; detects anomalies and drift."""

    name = "MLService"

    def __init__(self, args: Mapping[str, object] | None = None, settings: Settings | None = None) -> None:
        super().__init__(args, settings)
        self.store = ModelStore(self.settings.models_dir)
        self.predictor = Predictor(self.store)
        self._trainers = ThreadPoolExecutor(MAX_TRAININGS, thread_name_prefix="train")
        self._running_trainings = 0
        self._warming = Warming({"xgboost": lambda: asyncio.to_thread(self._warm_up)})

    async def stop(self) -> None:
        """Cancel the warm-up if it is still running."""
        self._warm_up_task.cancel()

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
            Operation("POST", "/drift/score", self.drift_score, DriftRequest, summary="Watch a batch for drift"),
            Operation("POST", "/detect/anomaly", self.detect, DetectRequest, summary="Find a series' anomalies"),
            Operation("POST", "/detect/anomaly/batch", self.detect_batch, DetectBatchRequest),
        )

    async def start(self) -> None:
        """Create the model folder; if that fails, health reports it and requests get the same error."""
        self._warm_up_task = asyncio.create_task(self._warming.run(), name="warm up")
        try:
            await asyncio.to_thread(self.store.prepare)
        except UnavailableError as error:
            self.log.error("model folder unusable", detail=error.detail)

    async def health(self) -> Mapping[str, object]:
        """Ready when the model folder is writable and the warm-up has trained a model; `cold` says why not."""
        status = await asyncio.to_thread(self._storage_health)
        if self._warming.cold:
            status |= {"ready": False, "cold": dict(self._warming.cold)}
        return status

    def _warm_up(self) -> None:
        """Train and use a tiny model in memory, so that no request waits for XGBoost's import."""
        # Training and prediction here are XGBoost's own: without the classes for scikit-learn its import takes 0.2 s of
        # processor time instead of 1.0, and 17 MB instead of 75.
        with without("sklearn"):
            import xgboost  # noqa: F401
        rows: list[list[object]] = [[float(i), "high" if i > 9 else "low"] for i in range(20)]
        request = schemas.TrainRequest(name="warm-up", columns=["x", "label"], rows=rows, label_column="label")
        manifest, trained = train_request(request, self.settings, threading.Event())
        LoadedModel(manifest, trained.ubj).predict(np.zeros((1, 1), dtype=np.float32))

    def _storage_health(self) -> dict[str, object]:
        storage: dict[str, object] = {"path": str(self.store.root), "usable": True}
        try:
            with tempfile.TemporaryFile(dir=self.store.root):
                models = sum(1 for _ in self.store.names())
        except OSError as error:
            return {"ready": False, "storage": storage | {"usable": False, "error": error.strerror}}
        return {"ready": True, "models": models, "loaded": self.predictor.loaded, "storage": storage}

    async def drift_score(self, request: DriftRequest) -> DriftResponse:
        """Whether observations stopped looking like their reference; the Coordinator's valve, on the caller's data."""
        return await asyncio.to_thread(score_drift, request)

    async def detect(self, request: DetectRequest) -> DetectResponse:
        """The points that the season, level and tail of the series do not explain; needs no trained model."""
        return await asyncio.to_thread(anomaly_api.detect_one, request)

    async def detect_batch(self, request: DetectBatchRequest) -> DetectBatchResponse:
        """One answer a series, in order; one that cannot be judged has an `error` and does not affect the others."""
        return await asyncio.to_thread(anomaly_api.detect_batch, request)

    async def train(self, request: schemas.TrainRequest) -> schemas.TrainResponse:
        """Train on the given table; the metrics are measured on a fifth of the rows that training did not see."""
        if self._running_trainings >= MAX_TRAININGS:
            raise OverloadedError(f"{MAX_TRAININGS} models are being trained already.", retry_after_s=2)
        stop = threading.Event()
        work = asyncio.get_running_loop().run_in_executor(self._trainers, self._train_and_save, request, stop)
        self._running_trainings += 1
        try:
            # Shielded: a cancelled request must keep its slot while its thread still works.
            manifest, trained = await asyncio.shield(self._release_slot_after(work))
        except asyncio.CancelledError:
            stop.set()
            raise
        self.log.info("model trained", model=manifest.name, version=manifest.version, seconds=trained.seconds)
        return schemas.TrainResponse(
            name=manifest.name,
            version=manifest.version,
            metrics=manifest.metrics,
            training_time_s=round(trained.seconds, 6),
            model_schema=model_catalog.schema_of(manifest),
        )

    async def _release_slot_after(self, work: asyncio.Future[Answer]) -> Answer:
        try:
            return await work
        finally:
            self._running_trainings -= 1

    def _train_and_save(
        self, request: schemas.TrainRequest, stop: threading.Event
    ) -> tuple[ModelManifest, TrainedModel]:
        manifest, trained = train_request(request, self.settings, stop)
        return self.store.save(trained.ubj, manifest), trained

    async def predict(self, request: schemas.PredictRequest) -> schemas.PredictResponse:
        """The prediction for one row; the newest version answers unless one is named."""
        row, manifest = await asyncio.to_thread(
            self.predictor.predict_one, request.name, request.version, request.features
        )
        assert row.prediction is not None
        return schemas.PredictResponse(
            prediction=row.prediction, probabilities=row.probabilities, model=model_catalog.reference_to(manifest)
        )

    async def batch_predict(self, request: schemas.BatchPredictRequest) -> schemas.BatchPredictResponse:
        """One answer a row, in order; a row that does not fit has an `error` and does not affect the others."""
        rows, manifest = await asyncio.to_thread(
            self.predictor.predict_many, request.name, request.version, request.rows
        )
        return schemas.BatchPredictResponse(predictions=rows, model=model_catalog.reference_to(manifest))

    async def list_models(self) -> schemas.ListModelsResponse:
        """All names with their versions."""
        return await asyncio.to_thread(model_catalog.list_models, self.store)

    async def model_info(self, request: schemas.ModelQuery) -> schemas.ModelInfo:
        """All that is known about one version; the newest unless one is named."""
        return await asyncio.to_thread(model_catalog.model_info, self.store, request)

    async def delete_model(self, request: schemas.DeleteRequest) -> schemas.DeleteResponse:
        """Delete one version, or all of a name."""
        deleted = await asyncio.to_thread(self.store.delete, request.name, request.version)
        self.log.info("models deleted", model=request.name, versions=deleted)
        return schemas.DeleteResponse(name=request.name, deleted=deleted)


MLDeployment = serve.deployment(name="MLService")(serve.ingress()(MLService))
