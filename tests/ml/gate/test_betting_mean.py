"""The confidence sequence: right at every moment at once, and its state as small as it is exact."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.errors import InvalidInputError
from seedcore.ml.gate.betting_mean import BETS, CELLS, BettingMean, log_capital

numbers = st.lists(st.floats(-1, 1), min_size=1, max_size=60)


def filled(values: list[float]) -> BettingMean:
    mean = BettingMean()
    for value in values:
        mean.add(value)
    return mean


@given(numbers, st.floats(0.001, 0.2))
def test_the_mean_lies_within_its_bounds_and_more_certainty_widens_them(values: list[float], alpha: float):
    mean = filled(values)
    assert -1.0 <= mean.lower(alpha) <= mean.mean + 1e-9
    assert mean.mean - 1e-9 <= mean.upper(alpha) <= 1.0
    assert mean.lower(alpha / 2) <= mean.lower(alpha) + 1e-9
    assert mean.upper(alpha / 2) >= mean.upper(alpha) - 1e-9


@given(numbers, st.floats(-0.99, 1), st.floats(-0.99, 1))
def test_evidence_against_a_small_mean_is_never_weaker(values: list[float], one: float, other: float):
    mean, (low, high) = filled(values), sorted((one, other))
    assert mean.log_evidence(low) >= mean.log_evidence(high) - 1e-9


@given(numbers, st.floats(-0.9, 0.9))
def test_cells_never_overstate_the_capital_of_the_numbers_themselves(values: list[float], m: float):
    capital = np.mean([np.prod([1 - b + b * (1 + x) / (1 + m) for x in values]) for b in BETS])
    assert filled(values).log_evidence(m) <= math.log(capital) + 1e-6


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=40), st.floats(-0.9, 0.9))
def test_differences_of_classes_are_counted_exactly(values: list[float], m: float):
    capital = np.mean([np.prod([1 - b + b * (1 + x) / (1 + m) for x in values]) for b in BETS])
    assert filled(values).log_evidence(m) == pytest.approx(math.log(capital), abs=1e-6)


@given(numbers, st.floats(-0.9, 0.9))
def test_what_is_certain_of_numbers_is_certain_of_their_opposites(values: list[float], m: float):
    mean, opposite = filled(values), filled([-value for value in values])
    assert mean.lower(0.05) == pytest.approx(-opposite.upper(0.05), abs=1e-6)
    assert mean.log_evidence(m) == pytest.approx(opposite.log_evidence_below(-m), abs=1e-6)


@given(numbers, numbers)
def test_a_stored_state_goes_on_and_the_order_does_not_matter(first: list[float], second: list[float]):
    stored = BettingMean.from_json(json.loads(json.dumps(filled(first).to_json())))
    for value in second:
        stored.add(value)
    whole = filled([*second, *first])
    assert stored.n == whole.n
    assert stored.mean == pytest.approx(whole.mean, abs=1e-9)
    assert stored.log_evidence(0.0) == pytest.approx(whole.log_evidence(0.0), abs=1e-6)


def test_a_million_numbers_neither_overflow_nor_grow_the_state():
    mean = BettingMean()
    mean._counts[0], mean._counts[-1] = 1e6, 2e6
    mean.n = 3_000_000
    assert math.isfinite(mean.log_evidence(0.0))
    assert 0.3 < mean.lower(0.05) < 1 / 3 < mean.upper(0.05) < 0.36
    assert len(json.dumps(mean.to_json())) < 200


def test_the_mean_is_within_the_sequence_at_all_times_at_once():
    """Of 400 streams of a skewed distribution; 5 % may leave it once."""
    rng = np.random.default_rng(7)
    counts = np.cumsum(np.eye(3)[rng.choice(3, p=[0.05, 0.85, 0.1], size=(400, 1_000))], axis=1)
    left = sum(log_capital(counts[i], np.array([-1.0, 0.0, 1.0]), 0.05).max() >= math.log(1 / 0.05) for i in range(400))
    assert left <= 0.05 * 400


@pytest.mark.parametrize("value", [-1.01, 1.01, float("nan"), float("inf")])
def test_a_number_outside_is_refused(value: float):
    with pytest.raises(InvalidInputError):
        BettingMean().add(value)


@pytest.mark.parametrize(
    "change",
    [
        {"n": -1},
        {"n": "2"},
        {"total": None},
        {"cells": 3},
        {"cells": [[99, 1]]},
        {"cells": [[0, -1]]},
        {"cells": [[0]]},
    ],
)
def test_a_damaged_state_is_refused(change: dict[str, object]):
    with pytest.raises(InvalidInputError):
        BettingMean.from_json(BettingMean().to_json() | change)


def test_cells_hold_what_losses_of_classes_differ_by():
    assert {-1.0, 0.0, 1.0} <= set(CELLS.tolist())
