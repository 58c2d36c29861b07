"""The Serve deployment of the ML service."""

import asyncio
import tempfile
import threading
from collections.abc import Mapping, Sequence

import numpy as np
from fastapi import FastAPI
from ray import serve

from seedcore.errors import UnavailableError
from seedcore.memory.working.working_memory import WorkingMemory
from seedcore.ml.data.training_data import read_local
from seedcore.ml.operations import anomaly_api
from seedcore.ml.operations.drift_api import score_drift
from seedcore.ml.operations.llm_operations import LlmOperations
from seedcore.ml.operations.model_operations import ModelOperations
from seedcore.ml.operations.monitor_operations import MonitorOperations
from seedcore.ml.operations.promotion_operations import PromotionOperations
from seedcore.ml.operations.salience_operations import SalienceOperations
from seedcore.ml.operations.scaling_operations import ScalingOperations
from seedcore.ml.operations.training_operations import TrainingOperations
from seedcore.ml.operations.tuning_operations import TuningOperations
from seedcore.ml.parts import MLParts
from seedcore.ml.predicting.loaded_model import LoadedModel
from seedcore.ml.predicting.predictor import Predictor
from seedcore.ml.registry.aliases import AliasCache
from seedcore.ml.registry.model_store import ModelStore
from seedcore.ml.training.model_draft import train_request
from seedcore.schemas.ml import models as schemas
from seedcore.schemas.ml.anomaly import DetectAnswer, DetectBatchRequest, DetectBatchResponse, DetectRequest
from seedcore.schemas.ml.drift import DriftRequest, DriftResponse
from seedcore.settings import Settings, get_settings
from seedcore.skills.registry import SkillRegistry
from seedcore.stores.leading.leader_loop import LeaderJob, LeaderLoop
from seedcore.stores.postgres import Database
from seedcore.tasks.submission.validate import Submission
from seedcore.telemetry.lean_imports import without
from seedcore.telemetry.logs import configure_logs
from seedcore.utils.warming import Warming
from seedcore.web.service_base import Operation, ServiceBase


class MLService(ServiceBase):
    """Trains models, stores them and predicts with them; detects anomalies and drift.

    Args:
        args: the `args` of the application in the Serve config.
        settings: the settings; None: those of the process.
        background: whether to lead, where no other replica does, and do the leader's jobs (these need PostgreSQL).
    """

    name = "MLService"

    def __init__(
        self, args: Mapping[str, object] | None = None, settings: Settings | None = None, *, background: bool = True
    ) -> None:
        given = settings or get_settings()
        configure_logs(given)
        store = ModelStore(given.models_dir)
        database = Database(given, name="seedcore-ml")
        aliases = AliasCache(database)
        predictor = Predictor(store, aliases, given.model_cache_bytes)
        submission = Submission(given, SkillRegistry.load(given))
        self.parts = MLParts(given, store, predictor, aliases, database, submission, WorkingMemory(given))
        self.training = TrainingOperations(self.parts)
        self.promotions = PromotionOperations(self.parts)
        self.salience = SalienceOperations(self.parts)
        self.scaling = ScalingOperations(self.parts)
        self.tuning = TuningOperations(self.parts)
        self.monitors = MonitorOperations(self.parts)
        self.llm = LlmOperations(self.parts)
        self._models = ModelOperations(self.parts)
        self._rooms = (
            *(self._models, self.training, self.promotions, self.salience, self.scaling),
            *(self.tuning, self.monitors, self.llm),
        )
        jobs: list[LeaderJob] = [*self.promotions.jobs(), *self.scaling.jobs(), *self.monitors.jobs()]
        self.leader = LeaderLoop(database, "models", jobs)
        self._background = background
        self._warming = Warming({"xgboost": lambda: asyncio.to_thread(self._warm_up)})
        super().__init__(args, given)

    def own_database(self) -> Database:
        """The pool that keys are looked up and metrics are written through."""
        return self.parts.database

    async def stop(self) -> None:
        """Cancel the warm-up if it is still running, end the leader's jobs, and close connections."""
        self._warm_up_task.cancel()
        await self.leader.stop()
        await self.scaling.stop()
        await self.monitors.aclose()
        await self.promotions.stop()
        await self.tuning.stop()
        await self.parts.working.close()
        await self.llm.stop()
        await self.parts.aliases.aclose()
        await self.parts.database.aclose()

    def operations(self) -> Sequence[Operation]:
        """The operations of all parts."""
        return (
            *(operation for room in self._rooms for operation in room.operations()),
            Operation("POST", "/drift/score", self.drift_score, DriftRequest, summary="Watch a batch for drift"),
            Operation("POST", "/detect/anomaly", self.detect, DetectRequest, summary="Find a series' anomalies"),
            Operation("POST", "/detect/anomaly/batch", self.detect_batch, DetectBatchRequest),
        )

    def extend(self, app: FastAPI) -> None:
        """The routes that name something in their path."""
        self.training.extend(app)
        self.promotions.extend(app)
        self.tuning.extend(app)
        self.llm.extend(app)

    async def start(self) -> None:
        """Create the model folder; if that fails, health reports it and requests get the same error."""
        self._warm_up_task = asyncio.create_task(self._warming.run(), name="warm up")
        if self._background:
            self.leader.start()
        try:
            await asyncio.to_thread(self.parts.store.prepare)
        except UnavailableError as error:
            self.log.error("model folder unusable", detail=error.detail)
        await self._models.start()

    async def health(self) -> Mapping[str, object]:
        """Ready when the model folder is writable and the warm-up has trained a model; `cold` says why not."""
        status = await asyncio.to_thread(self._storage_health)
        status |= {"leader": self.leader.health(), "salience": self.salience.scorer.health()}
        status |= {"gate": self.promotions.health(), "monitors": self.monitors.health()}
        status |= {"working_memory": self.parts.working.health()}
        status |= {"llm": self.llm.health()}
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
        manifest, trained = train_request(request, read_local(request, self.settings), threading.Event())
        LoadedModel(manifest, trained.ubj).predict(np.zeros((1, 1), dtype=np.float32))

    def _storage_health(self) -> dict[str, object]:
        storage: dict[str, object] = {"path": str(self.parts.store.root), "usable": True}
        try:
            with tempfile.TemporaryFile(dir=self.parts.store.root):
                models = sum(1 for _ in self.parts.store.names())
        except OSError as error:
            return {"ready": False, "storage": storage | {"usable": False, "error": error.strerror}}
        return {"ready": True, "models": models, **self._models.health(), "storage": storage}

    async def drift_score(self, request: DriftRequest) -> DriftResponse:
        """Whether observations stopped looking like their reference; the Coordinator's valve, on the caller's data."""
        return await asyncio.to_thread(score_drift, request)

    async def detect(self, request: DetectRequest) -> DetectAnswer:
        """The points that the season, level and tail of the series do not explain; needs no trained model."""
        return await asyncio.to_thread(anomaly_api.detect_one, request)

    async def detect_batch(self, request: DetectBatchRequest) -> DetectBatchResponse:
        """One answer a series, in order; one that cannot be judged has an `error` and does not affect the others."""
        return await asyncio.to_thread(anomaly_api.detect_batch, request)


MLDeployment = serve.deployment(name="MLService")(serve.ingress()(MLService))
