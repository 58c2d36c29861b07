"""Scores drift: runs the Coordinator's change-point valve over a caller's rows or tasks."""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from seedcore.changepoint import Valve
from seedcore.changepoint.features import task_features
from seedcore.errors import InvalidInputError
from seedcore.schemas.ml.drift import DriftRequest, DriftResponse, DriftTask


def score_drift(request: DriftRequest) -> DriftResponse:
    """Calibrate on the reference, or resume from a state; then follow the observations.

    Raises:
        InvalidInputError: the reference is too small, rows differ in length, or the state is not one.
    """
    reference = "reference" if request.reference is not None else "reference_tasks"
    observed = "observations" if request.observations is not None else "tasks"
    if request.state is not None:
        with _naming("state"):
            valve = Valve.from_bytes(_bytes(request.state))
    else:
        with _naming(reference):
            valve = Valve.calibrate(_matrix(request.reference, request.reference_tasks), request.arl0, request.seed)
    with _naming(observed):
        observations = _matrix(request.observations, request.tasks)
        evidence = valve.follow(observations) if len(observations) else np.zeros(0)
    facts = valve.calibration
    return DriftResponse(
        drift=bool((evidence >= 0.5).any()),
        evidence=valve.evidence,
        evidences=evidence.tolist(),
        alarms=np.flatnonzero(evidence >= 0.5).tolist(),
        leading=valve.leading,
        reference=facts.reference,
        arl0=facts.arl0,
        arl0_rehearsed=None if facts.rehearsal is None else facts.rehearsal.arl0,
        state=b64encode(valve.to_bytes()).decode() if request.keep else None,
    )


def _matrix(rows: list[list[float]] | None, tasks: list[DriftTask] | None) -> npt.NDArray[np.float64]:
    if tasks is not None:
        rows = [task_features(task.type, task.params, gap_s=task.gap_s) for task in tasks]
    given = rows or []
    if len({len(row) for row in given}) > 1:
        raise InvalidInputError("The rows differ in length; give each row the same number of values.")
    return np.array(given, dtype=np.float64)


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """Let what the valve refuses name the field that it came from."""
    try:
        yield
    except InvalidInputError as error:
        if error.errors:
            raise
        raise type(error).for_field(field, error.detail) from None


def _bytes(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        message = f"is not base64 ({error}); send the `state` of an earlier answer unchanged"
        raise InvalidInputError.for_field("state", message) from error
