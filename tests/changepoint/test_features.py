"""Features of tasks and outcomes."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seedcore.changepoint.features import MAX_CHARACTERS, OUTCOME_COLUMNS, TASK_COLUMNS, outcome_features, task_features
from seedcore.coordinator.valve import Valve

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)


@given(JSON, st.none() | st.floats(-1, 1e9), st.integers(0, 10**9))
def test_any_params_give_finite_features(params, gap, size):
    row = task_features("acme.x", params, gap_s=gap, size=size)
    assert len(row) == TASK_COLUMNS
    assert all(map(math.isfinite, row))


@given(st.floats(0, 1e9), st.booleans(), st.none() | st.text(max_size=50))
def test_outcomes_give_finite_features(seconds, ok, error):
    row = outcome_features(seconds, ok, error)
    assert len(row) == OUTCOME_COLUMNS
    assert all(map(math.isfinite, row))


def test_the_same_task_has_the_same_features_in_any_process():
    row = task_features("acme.x", {"text": "disk full on node", "n": 3})
    assert sum(row[:32]) == 4
    assert row == task_features("acme.x", {"text": "disk full on node", "n": 3})


def test_numbers_in_a_text_are_one_word():
    assert task_features("a", {"t": "tries 17"}) == task_features("a", {"t": "tries 42"})


def test_what_is_looked_at_is_bounded():
    row = task_features("a", {"t": "word " * 100_000, "deep": [[[[[[1]]]]]], "many": list(range(100_000))})
    assert sum(row[:32]) <= MAX_CHARACTERS / 5
    assert row[45] <= 256


def test_a_changed_vocabulary_is_found_within_fifty():
    def message(rng, words):
        return {"text": f"Error in {rng.choice(words)} {rng.choice(words)}, see the {rng.choice(words)} log"}

    rng = np.random.default_rng(0)
    before = ["host", "request", "answer", "gateway", "retry", "upstream"]
    after = ["disk", "volume", "inode", "quota", "mount", "sector"]
    rows = [task_features("log", message(rng, before)) for _ in range(700)]
    valve = Valve.calibrate(rows[:500], rehearsal=False)
    assert not valve.update(rows[500:]).any()
    alarms = valve.update([task_features("log", message(rng, after)) for _ in range(50)])
    assert alarms.any()
