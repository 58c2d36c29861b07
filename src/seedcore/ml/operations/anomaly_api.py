"""Detects anomalies in a caller's series and answers in the wire format."""

from seedcore.errors import InvalidInputError, problem
from seedcore.ml.anomaly import Detection, detect
from seedcore.schemas.anomaly import (
    AnomalyPoint,
    DetectBatchRequest,
    DetectBatchResponse,
    DetectItem,
    DetectRequest,
    DetectResponse,
    Thresholds,
)


def detect_one(request: DetectRequest) -> DetectResponse:
    """The anomalies of one series.

    Raises:
        InvalidInputError: values are too large to compute with.
    """
    return _answer(detect(request.data, request.false_alarm), request.false_alarm, len(request.data))


def detect_batch(request: DetectBatchRequest) -> DetectBatchResponse:
    """The anomalies of each series; a series that cannot be judged gets an error of its own."""
    items = []
    for data in request.series:
        try:
            found = _answer(detect(data, request.false_alarm), request.false_alarm, len(data))
            items.append(DetectItem(found=found))
        except InvalidInputError as error:
            items.append(DetectItem(error=problem(error)))
    return DetectBatchResponse(items=items)


def _answer(found: Detection, false_alarm: float, points: int) -> DetectResponse:
    return DetectResponse(
        anomalies=[
            AnomalyPoint(
                index=a.index,
                value=a.value,
                score=a.score,
                expected=a.expected,
                direction=a.direction,
                chance=a.chance,
            )
            for a in found.anomalies
        ],
        method=found.method,
        threshold=Thresholds(above=found.above, below=found.below),
        false_alarm=false_alarm,
        unit="robust standard deviations" if found.method in ("tail", "few") else "median departures",
        scale=found.scale,
        season=found.season,
        window=found.half,
        points=points,
        notes=list(found.notes),
    )
