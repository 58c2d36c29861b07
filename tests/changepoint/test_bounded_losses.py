"""The detector of rising losses: its promise about false alarms, how soon it sees a change, its state."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.changepoint.bounded_losses import BETS, MAX_BOUND, MIN_BOUND, LossDetector
from seedcore.errors import InvalidInputError

losses_in_bounds = st.lists(st.floats(0, 1), max_size=60)


def test_false_alarms_are_as_rare_as_promised_at_the_bound_itself():
    rng = np.random.default_rng(1)
    arl, horizon, runs = 1_000.0, 100, 400
    alarms = sum(
        LossDetector(0.2, arl).update((rng.random(horizon) < 0.2).astype(float)) is not None for _ in range(runs)
    )
    # At most horizon / arl of the runs: 40. Four standard deviations above would be 64.
    assert alarms <= horizon / arl * runs


def test_the_mean_run_without_a_change_is_longer_than_the_promise():
    rng = np.random.default_rng(2)
    arl, runs = 100.0, 200
    lengths = []
    for _ in range(runs):
        found = LossDetector(0.3, arl).update((rng.random(2_000) < 0.3).astype(float))
        lengths.append(2_000 if found is None else found + 1)
    assert np.mean(lengths) >= arl


def test_a_rise_of_ten_points_is_seen_within_some_hundreds_of_losses():
    rng = np.random.default_rng(3)
    delays = []
    for _ in range(60):
        detector = LossDetector(0.17, 10_000.0)
        assert detector.update((rng.random(300) < 0.15).astype(float)) is None
        found = detector.update((rng.random(3_000) < 0.27).astype(float))
        assert found is not None
        delays.append(found)
    assert np.mean(delays) < 350


def test_it_works_for_losses_between_0_and_1():
    rng = np.random.default_rng(4)
    detector = LossDetector(0.25)
    assert detector.update(rng.beta(2, 8, 2_000)) is None
    assert detector.update(rng.beta(4, 6, 400)) is not None


@given(bound=st.floats(0, 1), first=losses_in_bounds, second=losses_in_bounds)
def test_a_stored_detector_goes_on_as_if_it_had_never_stopped(bound: float, first: list[float], second: list[float]):
    whole, parts = LossDetector(bound, 50.0), LossDetector(bound, 50.0)
    assert whole.update(first) == parts.update(first)
    stored = LossDetector.from_json(json.loads(json.dumps(parts.to_json())))
    assert whole.update(second) == stored.update(second)
    assert whole.to_json() == stored.to_json()


@given(bound=st.floats(MIN_BOUND, MAX_BOUND), losses=losses_in_bounds)
def test_evidence_stays_between_nothing_and_an_alarm(bound: float, losses: list[float]):
    detector = LossDetector(bound, 1_000.0)
    detector.update(losses)
    assert 0.0 <= detector.evidence <= 0.5
    assert all(value > 0.0 for value in detector.to_json()["sums"]) or detector.seen == 0  # type: ignore[attr-defined]


def test_it_recovers_from_a_long_time_without_losses():
    detector = LossDetector(0.2, 1_000.0)
    assert detector.update([0.0] * 100_000) is None
    assert detector.update([1.0] * 30) is not None


@pytest.mark.parametrize("loss", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_loss_outside_of_0_and_1_is_refused(loss: float):
    with pytest.raises(InvalidInputError, match=r"losses\.1|0 to 1"):
        LossDetector(0.5).update([0.5, loss])


@pytest.mark.parametrize(
    "change", [{"bound": None}, {"arl": "many"}, {"sums": [0.0]}, {"sums": [-1.0] * BETS}, {"sums": [None] * BETS}]
)
def test_a_damaged_state_is_refused(change: dict[str, object]):
    with pytest.raises(InvalidInputError):
        LossDetector.from_json(LossDetector(0.5).to_json() | change)


@pytest.mark.parametrize("arl", [1.0, 0.0, -5.0, float("nan"), float("inf")])
def test_a_promise_that_cannot_be_kept_is_refused(arl: float):
    with pytest.raises(InvalidInputError):
        LossDetector(0.5, arl)
