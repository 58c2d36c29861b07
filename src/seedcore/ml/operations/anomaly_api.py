"""Detects anomalies in a caller's series or columns, and answers in the wire format."""

from seedcore.errors import InvalidInputError, problem
from seedcore.ml.anomaly import Detection, detect, detect_columns
from seedcore.ml.anomaly.detect import checked
from seedcore.schemas.ml.anomaly import (
    MAX_BATCH_POINTS,
    AnomalyPoint,
    DetectAnswer,
    DetectBatchRequest,
    DetectBatchResponse,
    DetectItem,
    DetectRequest,
    DetectResponse,
    JointAnomalyPoint,
    JointDetectResponse,
    Thresholds,
)


def detect_one(request: DetectRequest) -> DetectAnswer:
    """The anomalies of one series, or of several columns together.

    Raises:
        InvalidInputError: neither `data` nor `columns`, or both; or values that cannot be judged.
    """
    columns, data = request.columns, request.data
    if columns is not None and data is not None:
        raise InvalidInputError.for_field("columns", "excludes `data`: give one of them")
    if columns is not None and len(columns) == 1:
        ((name, values),) = columns.items()
        data, columns = checked(values, f"columns.{name}").tolist(), None
    if data is not None:
        return DetectAnswer(_answer(detect(data, request.false_alarm), request.false_alarm, len(data)))
    if columns is None:
        raise InvalidInputError.for_field("data", "is required, or `columns` in its place")
    if (total := sum(map(len, columns.values()))) > MAX_BATCH_POINTS:
        raise InvalidInputError.for_field("columns", f"hold {total} values in all; at most {MAX_BATCH_POINTS} may be")
    found = detect_columns(columns, request.false_alarm)
    anomalies = [
        JointAnomalyPoint(index=a.index, score=a.score, chance=a.chance, columns=a.shares) for a in found.anomalies
    ]
    return DetectAnswer(
        JointDetectResponse(
            anomalies=anomalies,
            method=found.method,
            threshold=Thresholds(above=found.limit, below=None),
            false_alarm=request.false_alarm,
            seasons=found.seasons,
            points=len(next(iter(columns.values()))),
            columns=list(columns),
            notes=list(found.notes),
        )
    )


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
