"""Client of the ML service. Concurrent single predictions for a model share one request."""

import asyncio
import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import BaseModel

from seedcore import errors
from seedcore.schemas.ml.anomaly import DetectBatchResponse
from seedcore.schemas.ml.model_registry import DeleteResponse, ListModelsResponse, ModelInfo
from seedcore.schemas.ml.models import (
    BatchPredictResponse,
    Features,
    PredictRequest,
    PredictResponse,
    RowPrediction,
    TrainRequest,
    TrainResponse,
)
from seedcore.schemas.ml.salience import SalienceResponse
from seedcore.schemas.ml.scaling import ScalingResponse
from seedcore.service_clients.service_client import ServiceClient
from seedcore.settings import Settings

__all__ = ["MAX_BATCH", "MLClient", "PredictRequest", "PredictResponse"]

WINDOW_S = 0.002
"""Single predictions that arrive within this time share a request."""

MAX_BATCH = 256
ModelKey = tuple[str, int | None, str | None, bool]
"""Name, version and alias of a model, and whether contributions are asked for."""

Row = Mapping[str, object] | Sequence[object]
"""Features by column, or in the order of the model's columns."""


@dataclass(slots=True)
class _PredictionBatch:
    key: ModelKey
    rows: list[Features] = field(default_factory=list)
    answers: list[asyncio.Future[PredictResponse]] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None


class MLClient(ServiceClient):
    """Train, predict and manage models."""

    app: ClassVar[str] = "ml_service"
    prefix: ClassVar[str] = "/ml"

    def __init__(self, settings: Settings | None = None, *, timeout_s: float = 60.0) -> None:
        super().__init__(settings, timeout_s=timeout_s)
        self._filling: dict[ModelKey, _PredictionBatch] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def train(self, request: TrainRequest | Mapping[str, object]) -> TrainResponse:
        """Train a model; see `TrainRequest`."""
        # Exactly one source of rows may be given, so fields that the caller left out must stay out.
        body = request.model_dump(mode="json", exclude_unset=True) if isinstance(request, BaseModel) else request
        return await self.call_model(TrainResponse, "POST", "/xgboost/train", body)

    async def predict(
        self,
        name: str,
        features: Row,
        version: int | None = None,
        alias: str | None = None,
        *,
        contributions: bool = False,
    ) -> PredictResponse:
        """Predict one row. Calls for the same model within 2 ms share one request.

        Raises:
            InvalidInputError: this row does not fit the model; other rows of the request are not affected.
        """
        row = _as_json(features)
        key = (name, version, alias, contributions)
        loop = asyncio.get_running_loop()
        batch = self._filling.get(key)
        if batch is None:
            batch = self._filling[key] = _PredictionBatch(key)
            batch.timer = loop.call_later(WINDOW_S, self._flush, batch)
        answer: asyncio.Future[PredictResponse] = loop.create_future()
        batch.rows.append(row)
        batch.answers.append(answer)
        if len(batch.rows) >= MAX_BATCH:
            self._flush(batch)
        return await answer

    async def batch_predict(
        self,
        name: str,
        rows: Sequence[Row],
        version: int | None = None,
        alias: str | None = None,
        *,
        contributions: bool = False,
    ) -> BatchPredictResponse:
        """Predict many rows; a row that does not fit has an `error` instead of a prediction."""
        body: dict[str, object] = {"name": name, "version": version, "alias": alias, "rows": list(rows)}
        if contributions:
            body["contributions"] = True
        return await self.call_model(BatchPredictResponse, "POST", "/xgboost/batch_predict", body)

    async def detect_anomalies(
        self, series: Sequence[Sequence[float]], false_alarm: float | None = None
    ) -> DetectBatchResponse:
        """The anomalies of each series; one that cannot be judged has an `error` instead."""
        body: dict[str, object] = {"series": [list(values) for values in series]}
        if false_alarm is not None:
            body["false_alarm"] = false_alarm
        return await self.call_model(DetectBatchResponse, "POST", "/detect/anomaly/batch", body)

    async def score_salience(self, items: Sequence[Mapping[str, float | None]]) -> SalienceResponse:
        """One score for each item, in order; see `schemas.salience`."""
        body = {"items": [dict(item) for item in items]}
        answer = await self.call_model(SalienceResponse, "POST", "/score/salience", body)
        if len(answer.scores) != len(items):
            raise errors.UnavailableError(f"The ML service scored {len(answer.scores)} of {len(items)} items.")
        return answer

    async def predict_scaling(self, request: Mapping[str, object]) -> ScalingResponse:
        """Forecast arriving tasks; see `schemas.scaling.ScalingRequest`."""
        return await self.call_model(ScalingResponse, "POST", "/predict/scaling", request)

    async def list_models(self) -> ListModelsResponse:
        """All models with their versions."""
        return await self.call_model(ListModelsResponse, "GET", "/xgboost/list_models")

    async def model_info(self, name: str, version: int | None = None) -> ModelInfo:
        """All that is known about one version; the newest unless one is named."""
        query: dict[str, object] = {"name": name}
        if version is not None:
            query["version"] = version
        return await self.call_model(ModelInfo, "GET", "/xgboost/model_info", query)

    async def delete_model(self, name: str, version: int | None = None) -> DeleteResponse:
        """Delete one version, or all of the name."""
        body = {"name": name, "version": version}
        return await self.call_model(DeleteResponse, "DELETE", "/xgboost/delete_model", body)

    def _flush(self, batch: _PredictionBatch) -> None:
        if self._filling.get(batch.key) is batch:
            del self._filling[batch.key]
        if batch.timer is not None:
            batch.timer.cancel()
        sending = asyncio.get_running_loop().create_task(self._send(batch))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _send(self, batch: _PredictionBatch) -> None:
        # Callers that were cancelled while the batch was filling need no answer.
        waiting = [(row, answer) for row, answer in zip(batch.rows, batch.answers, strict=True) if not answer.done()]
        if not waiting:
            return
        name, version, alias, contributions = batch.key
        try:
            rows = [row for row, _ in waiting]
            reply = await self.batch_predict(name, rows, version, alias, contributions=contributions)
            if len(reply.predictions) != len(waiting):
                raise errors.UnavailableError(
                    f"The ML service answered {len(reply.predictions)} of {len(waiting)} rows."
                )
        except BaseException as error:
            for _, answer in waiting:
                if not answer.done():
                    _fail(answer, error)
            if not isinstance(error, Exception):
                raise
            return
        for (_, answer), row in zip(waiting, reply.predictions, strict=True):
            if not answer.done():
                _resolve(answer, row, reply)

    async def aclose(self) -> None:
        """Send the batches that are filling, wait for their answers, and close the connections."""
        for batch in list(self._filling.values()):
            self._flush(batch)
        if self._sending:
            await asyncio.wait(self._sending)
        await super().aclose()


def _as_json(features: Row) -> Features:
    """The row as plain JSON, because one bad value would fail the whole batch. NaN becomes null: both mean missing."""
    if isinstance(features, Mapping):
        return {str(name): _json_value(f"features.{name}", value) for name, value in features.items()}
    if isinstance(features, Sequence) and not isinstance(features, str | bytes):
        return [_json_value(f"features.{i}", value) for i, value in enumerate(features)]
    raise errors.InvalidInputError.for_field("features", "must be an object or a list")


def _json_value(field: str, value: object) -> int | float | str | None:
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return None
        raise errors.InvalidInputError.for_field(field, "must be finite")
    if value is None or isinstance(value, (int, float, str)):
        return value
    message = f"must be a number, a boolean or null, not {type(value).__name__}"
    raise errors.InvalidInputError.for_field(field, message)


def _fail(answer: asyncio.Future[PredictResponse], error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError):
        answer.cancel()
    else:
        # Each caller gets its own copy: they add tracebacks of their own.
        answer.set_exception(copy.copy(error))


def _resolve(answer: asyncio.Future[PredictResponse], row: RowPrediction, reply: BatchPredictResponse) -> None:
    if row.error is not None:
        answer.set_exception(errors.from_problem(row.error))
    elif row.prediction is None:
        answer.set_exception(errors.UnavailableError("The ML service gave a row neither prediction nor error."))
    else:
        answer.set_result(
            PredictResponse(
                prediction=row.prediction,
                probabilities=row.probabilities,
                contributions=row.contributions,
                warnings=row.warnings,
                model=reply.model,
            )
        )
