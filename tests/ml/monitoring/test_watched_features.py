"""How features become observations that a valve can watch."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seedcore.ml.monitoring.watched_features import MAX_DIRECT, PROJECTED, WatchedFeatures
from seedcore.schemas.ml.models import Column

NUMBER, KIND = Column(name="x"), Column(name="kind", type="category", categories=["a", "b", "c"])


def reference(n: int = 600, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.normal(5, 2, n), rng.choice(3, n, p=[0.7, 0.28, 0.02])])


def test_a_number_is_itself_and_a_category_is_its_rareness_and_its_commonest_values():
    watched = WatchedFeatures.learn(reference(), [NUMBER, KIND])
    common, rare, unseen = watched.observe(np.array([[5.0, 0], [5.0, 2], [5.0, 9]]))
    assert common[0] == 5.0
    assert common[1] < rare[1] < unseen[1]
    assert common[2:4].tolist() == [1.0, 0.0]
    assert unseen[2:4].tolist() == [0.0, 0.0]


def test_what_is_missing_becomes_the_median_and_counts():
    watched = WatchedFeatures.learn(reference(), [NUMBER, KIND])
    whole, gap = watched.observe(np.array([[5.0, 0], [np.nan, 0]]))
    assert gap[0] == pytest.approx(np.median(reference()[:, 0]))
    assert (whole[-1], gap[-1]) == (0.0, 1.0)


def test_an_outlandish_number_is_bounded():
    watched = WatchedFeatures.learn(reference(), [NUMBER, KIND])
    (far,) = watched.observe(np.array([[3e38, 0]]))
    assert far[0] < 50


def test_wide_rows_are_projected_and_a_shift_still_shows():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(500, MAX_DIRECT + 50))
    watched = WatchedFeatures.learn(rows, [])
    before, after = watched.observe(rows), watched.observe(rows + 1.0)
    assert before.shape == (500, PROJECTED)
    assert np.abs(after.mean(axis=0) - before.mean(axis=0)).max() > 5


@settings(max_examples=30, deadline=None)
@given(
    hnp.arrays(
        np.float64, (7, 2), elements=st.floats(width=32, allow_nan=True, allow_infinity=True) | st.integers(0, 5)
    )
)
def test_observations_are_finite_whatever_comes_and_the_same_after_a_restart(rows):
    watched = WatchedFeatures.learn(reference(50), [NUMBER, KIND])
    again = WatchedFeatures.from_json(json.loads(json.dumps(watched.to_json())))
    observed = watched.observe(rows)
    assert np.isfinite(observed).all()
    assert (observed == again.observe(rows)).all()
