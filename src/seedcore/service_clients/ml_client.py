"""Client of the ML service. Single predictions that come together go out together."""

import asyncio
import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel

from seedcore import errors
from seedcore.schemas.ml import (
    BatchPredictResponse,
    DeleteResponse,
    DetectBatchResponse,
    Features,
    ListModelsResponse,
    ModelInfo,
    PredictRequest,
    PredictResponse,
    RowPrediction,
    TrainRequest,
    TrainResponse,
)
from seedcore.service_clients.service_client import ServiceClient

__all__ = ["MAX_BATCH", "MLClient", "PredictRequest", "PredictResponse"]

WINDOW_S = 0.002
MAX_BATCH = 256
Key = tuple[str, int | None, str | None]


@dataclass(slots=True)
class _Batch:
    key: Key
    rows: list[Features] = field(default_factory=list)
    answers: list[asyncio.Future[PredictResponse]] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None


class MLClient(ServiceClient):
    """Train, predict and manage models."""

    app: ClassVar[str] = "ml_service"
    prefix: ClassVar[str] = "/ml"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._open: dict[Key, _Batch] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def train(self, request: TrainRequest | Mapping[str, Any]) -> TrainResponse:
        """Train a model; see `TrainRequest`."""
        return TrainResponse.model_validate(await self.call("POST", "/xgboost/train", _given(request)))

    async def predict(
        self, name: str, features: Features, version: int | None = None, alias: str | None = None
    ) -> PredictResponse:
        """Predict one row. Calls for the same model within 2 ms share one request.

        Raises:
            InvalidInputError: this row does not fit the model; its neighbours are not touched.
        """
        row = _checked(features)
        key = (name, version, alias)
        loop = asyncio.get_running_loop()
        batch = self._open.get(key)
        if batch is None:
            batch = self._open[key] = _Batch(key)
            batch.timer = loop.call_later(WINDOW_S, self._flush, batch)
        answer: asyncio.Future[PredictResponse] = loop.create_future()
        batch.rows.append(row)
        batch.answers.append(answer)
        if len(batch.rows) >= MAX_BATCH:
            self._flush(batch)
        return await answer

    async def batch_predict(
        self, name: str, rows: list[Features], version: int | None = None, alias: str | None = None
    ) -> BatchPredictResponse:
        """Predict many rows; a row that does not fit has an `error` instead of a prediction."""
        body = {"name": name, "version": version, "alias": alias, "rows": rows}
        return BatchPredictResponse.model_validate(await self.call("POST", "/xgboost/batch_predict", body))

    async def detect_anomalies(
        self, series: Sequence[Sequence[float]], false_alarm: float | None = None
    ) -> DetectBatchResponse:
        """The anomalies of each series; one that cannot be judged has an `error` instead."""
        body: dict[str, Any] = {"series": [list(one) for one in series]}
        if false_alarm is not None:
            body["false_alarm"] = false_alarm
        return DetectBatchResponse.model_validate(await self.call("POST", "/detect/anomaly/batch", body))

    async def list_models(self) -> ListModelsResponse:
        """All models with their versions."""
        return ListModelsResponse.model_validate(await self.call("GET", "/xgboost/list_models"))

    async def model_info(self, name: str, version: int | None = None) -> ModelInfo:
        """All that is known about one version; the newest unless one is named."""
        query = {"name": name} | ({"version": version} if version is not None else {})
        return ModelInfo.model_validate(await self.call("GET", "/xgboost/model_info", query))

    async def delete_model(self, name: str, version: int | None = None) -> DeleteResponse:
        """Delete one version, or all of the name."""
        body = {"name": name, "version": version}
        return DeleteResponse.model_validate(await self.call("DELETE", "/xgboost/delete_model", body))

    def _flush(self, batch: _Batch) -> None:
        if self._open.get(batch.key) is batch:
            del self._open[batch.key]
        if batch.timer is not None:
            batch.timer.cancel()
        sending = asyncio.get_running_loop().create_task(self._send(batch))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _send(self, batch: _Batch) -> None:
        # Callers that were cancelled while the batch filled need no answer.
        waiting = [(row, answer) for row, answer in zip(batch.rows, batch.answers, strict=True) if not answer.done()]
        if not waiting:
            return
        name, version, alias = batch.key
        try:
            reply = await self.batch_predict(name, [row for row, _ in waiting], version, alias)
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
                _settle(answer, row, reply)

    async def aclose(self) -> None:
        """Send what is waiting, wait for the answers, and close the connections."""
        for batch in list(self._open.values()):
            self._flush(batch)
        if self._sending:
            await asyncio.wait(self._sending)
        await super().aclose()


def _given(request: BaseModel | Mapping[str, Any]) -> BaseModel | Mapping[str, Any]:
    """A request without the fields that the caller left out."""
    return request.model_dump(mode="json", exclude_unset=True) if isinstance(request, BaseModel) else request


def _checked(features: Features) -> Features:
    """The row as JSON can carry it: what it cannot would spoil the whole batch. NaN becomes null, as it means that."""
    if isinstance(features, dict):
        return {str(name): _json_value(f"features.{name}", value) for name, value in features.items()}
    if isinstance(features, list):
        return [_json_value(f"features.{i}", value) for i, value in enumerate(features)]
    raise _unfit("features", "must be an object or a list")


def _json_value(field: str, value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return None
        raise _unfit(field, "must be finite")
    if value is not None and not isinstance(value, (int, float, str)):
        raise _unfit(field, f"must be a number, a boolean or null, not {type(value).__name__}")
    return value


def _unfit(field: str, message: str) -> errors.InvalidInputError:
    return errors.InvalidInputError.for_field(field, message)


def _fail(answer: asyncio.Future[PredictResponse], error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError):
        answer.cancel()
    else:
        # Each caller gets its own copy: they add tracebacks of their own.
        answer.set_exception(copy.copy(error))


def _settle(answer: asyncio.Future[PredictResponse], row: RowPrediction, reply: BatchPredictResponse) -> None:
    if row.error is not None:
        answer.set_exception(errors.from_problem(row.error))
    elif row.prediction is None:
        answer.set_exception(errors.UnavailableError("The ML service gave a row neither prediction nor error."))
    else:
        answer.set_result(
            PredictResponse(prediction=row.prediction, probabilities=row.probabilities, model=reply.model)
        )
