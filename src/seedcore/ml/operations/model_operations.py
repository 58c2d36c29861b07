"""Operations on stored models: predict with them, list, describe and delete them."""

import asyncio
from collections.abc import Sequence

from seedcore.ml.parts import MLParts
from seedcore.ml.registry import model_catalog
from seedcore.schemas import ml as schemas
from seedcore.telemetry.logs import get_logger
from seedcore.web.service_base import Operation

_log = get_logger("seedcore.MLService")


class ModelOperations:
    """Predicts with stored models, and manages them."""

    def __init__(self, parts: MLParts) -> None:
        self._store, self._predictor = parts.store, parts.predictor

    def operations(self) -> Sequence[Operation]:
        """What this part serves."""
        s = schemas
        return (
            Operation("POST", "/xgboost/predict", self.predict, s.PredictRequest, summary="Predict one row"),
            Operation("POST", "/xgboost/batch_predict", self.batch_predict, s.BatchPredictRequest),
            Operation("GET", "/xgboost/list_models", self.list_models, summary="List the models"),
            Operation("GET", "/xgboost/model_info", self.model_info, s.ModelQuery, summary="Describe a model"),
            Operation("DELETE", "/xgboost/delete_model", self.delete_model, s.DeleteRequest),
        )

    async def predict(self, request: schemas.PredictRequest) -> schemas.PredictResponse:
        """The prediction for one row; the newest version answers unless one is named."""
        row, manifest = await asyncio.to_thread(
            self._predictor.predict_one, request.name, request.version, request.features
        )
        assert row.prediction is not None
        return schemas.PredictResponse(
            prediction=row.prediction, probabilities=row.probabilities, model=model_catalog.reference_to(manifest)
        )

    async def batch_predict(self, request: schemas.BatchPredictRequest) -> schemas.BatchPredictResponse:
        """One answer a row, in order; a row that does not fit has an `error` and does not affect the others."""
        rows, manifest = await asyncio.to_thread(
            self._predictor.predict_many, request.name, request.version, request.rows
        )
        return schemas.BatchPredictResponse(predictions=rows, model=model_catalog.reference_to(manifest))

    async def list_models(self) -> schemas.ListModelsResponse:
        """All names with their versions."""
        return await asyncio.to_thread(model_catalog.list_models, self._store)

    async def model_info(self, request: schemas.ModelQuery) -> schemas.ModelInfo:
        """All that is known about one version; the newest unless one is named."""
        return await asyncio.to_thread(model_catalog.model_info, self._store, request)

    async def delete_model(self, request: schemas.DeleteRequest) -> schemas.DeleteResponse:
        """Delete one version, or all of a name."""
        deleted = await asyncio.to_thread(self._store.delete, request.name, request.version)
        _log.info("models deleted", model=request.name, versions=deleted)
        return schemas.DeleteResponse(name=request.name, deleted=deleted)
