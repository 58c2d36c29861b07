"""Operations that train models."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from seedcore.errors import OverloadedError
from seedcore.ml.parts import MLParts
from seedcore.ml.registry import model_catalog
from seedcore.ml.registry.model_manifest import ModelManifest
from seedcore.ml.training.train import TrainedModel, train_request
from seedcore.schemas import ml as schemas
from seedcore.telemetry.logs import get_logger
from seedcore.web.service_base import Operation

Answer = TypeVar("Answer")

MAX_TRAININGS = 2
"""Training fills a core; a third run at once would only slow all three down."""

_log = get_logger("seedcore.MLService")


class TrainingOperations:
    """Trains models that fit a request."""

    def __init__(self, parts: MLParts) -> None:
        self._settings, self._store = parts.settings, parts.store
        self._trainers = ThreadPoolExecutor(MAX_TRAININGS, thread_name_prefix="train")
        self.running = 0

    def operations(self) -> Sequence[Operation]:
        """What this part serves."""
        return (Operation("POST", "/xgboost/train", self.train, schemas.TrainRequest, summary="Train a model"),)

    async def train(self, request: schemas.TrainRequest) -> schemas.TrainResponse:
        """Train on the given table; the metrics are measured on a fifth of the rows that training did not see."""
        if self.running >= MAX_TRAININGS:
            raise OverloadedError(f"{MAX_TRAININGS} models are being trained already.", retry_after_s=2)
        stop = threading.Event()
        work = asyncio.get_running_loop().run_in_executor(self._trainers, self._train_and_save, request, stop)
        self.running += 1
        try:
            # Shielded: a cancelled request must keep its slot while its thread still works.
            manifest, trained = await asyncio.shield(self._release_slot_after(work))
        except asyncio.CancelledError:
            stop.set()
            raise
        _log.info("model trained", model=manifest.name, version=manifest.version, seconds=trained.seconds)
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
            self.running -= 1

    def _train_and_save(
        self, request: schemas.TrainRequest, stop: threading.Event
    ) -> tuple[ModelManifest, TrainedModel]:
        manifest, trained = train_request(request, self._settings, stop)
        return self._store.save(trained.ubj, manifest), trained
