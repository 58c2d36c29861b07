"""POST /ml/drift/score: the valve on a caller's data."""

import numpy as np
import pytest
from pydantic import ValidationError

from seedcore.errors import InvalidInputError
from seedcore.ml.operations.drift_api import score_drift
from seedcore.schemas.ml.drift import DriftRequest


def rows(seed, n, shift=0.0):
    return (np.random.default_rng(seed).standard_normal((n, 2)) + shift).tolist()


def test_a_shifted_batch_drifts_and_an_unshifted_one_does_not():
    calm = score_drift(DriftRequest(reference=rows(0, 600), observations=rows(1, 100), keep=True))
    assert (calm.drift, calm.alarms, len(calm.evidences)) == (False, [], 100)
    assert calm.arl0_rehearsed
    assert calm.state
    shifted = score_drift(DriftRequest(state=calm.state, observations=rows(2, 100, shift=2.0)))
    assert shifted.drift
    assert shifted.evidences[shifted.alarms[0]] >= 0.5


def test_two_batches_with_the_state_between_are_one():
    whole = score_drift(DriftRequest(reference=rows(0, 600), observations=rows(1, 200, shift=0.3)))
    first = score_drift(DriftRequest(reference=rows(0, 600), observations=rows(1, 200, shift=0.3)[:70], keep=True))
    second = score_drift(DriftRequest(state=first.state, observations=rows(1, 200, shift=0.3)[70:]))
    assert first.evidences + second.evidences == pytest.approx(whole.evidences, abs=1e-9)


def test_tasks_are_scored_by_their_features():
    words = np.random.default_rng(3).choice(["disk", "host", "queue", "volume"], (700, 3)).tolist()
    tasks = [{"type": "log", "params": {"text": " ".join(three)}} for three in words]
    changed = [{"type": "log", "params": {"text": "entirely other words here"}}] * 20
    assert score_drift(DriftRequest(reference_tasks=tasks[:600], tasks=tasks[600:] + changed)).alarms[0] >= 100


def test_a_small_reference_names_what_is_missing():
    with pytest.raises(InvalidInputError, match="at least 500"):
        score_drift(DriftRequest(reference=rows(0, 100), observations=rows(1, 1)))


@pytest.mark.parametrize("state", ["not base64!", "bm90IGEgdmFsdmU="])
def test_a_wrong_state_is_refused(state):
    with pytest.raises(InvalidInputError, match="state"):
        score_drift(DriftRequest(state=state, observations=rows(1, 1)))


def test_exactly_one_reference_is_taken():
    with pytest.raises(ValidationError, match="exactly one of"):
        DriftRequest(observations=[[1.0]])


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(InvalidInputError, match="differ in length"):
        score_drift(DriftRequest(reference=[[1.0], [1.0, 2.0]] * 300, observations=[[1.0]]))
