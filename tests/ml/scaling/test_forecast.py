"""Forecasts: seasons are found and not invented, intervals hold what they say, few data are admitted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedcore.ml.scaling import intervals, level_filter, seasons
from seedcore.ml.scaling.forecast import MIN_STEPS, forecast

HOUR, DAY = 3600.0, 24


def daily(seed: int, n: int = 20 * DAY, mean: float = 30.0) -> np.ndarray:
    rate = mean * (1 + 0.8 * np.sin(2 * np.pi * np.arange(n) / DAY))
    return np.random.default_rng(seed).poisson(rate).astype(float)


def test_a_day_is_found_and_foreseen():
    x = daily(1)
    found = forecast(x[:-DAY], DAY, 0.8, HOUR)
    assert (found.source, found.seasons_s) == ("seasonal", (86_400.0,))
    true = 30 * (1 + 0.8 * np.sin(2 * np.pi * np.arange(len(x) - DAY, len(x)) / DAY))
    assert np.abs(found.mean - true).max() < 6
    assert np.abs(found.mean - true).mean() < 2


def test_a_day_and_a_week_are_told_apart():
    t = np.arange(35 * DAY)
    rate = 40 * (1 + 0.7 * np.sin(2 * np.pi * t / DAY)) * np.where(t // DAY % 7 < 5, 1.0, 0.3)
    found = forecast(np.random.default_rng(2).poisson(rate), 48, 0.8, HOUR)
    assert set(found.seasons_s) == {86_400.0, 604_800.0}


def test_noise_without_a_season_gets_none():
    for seed in range(4):
        rng = np.random.default_rng(seed)
        walk = np.exp(3 + np.cumsum(rng.normal(0, 0.05, 400)))
        for rate in (np.full(400, 20.0), walk, np.where(np.arange(400) < 230, 5.0, 40.0)):
            assert forecast(rng.poisson(rate), 6, 0.8, HOUR).source == "level"


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_past_intervals_held_what_was_asked_for(level: float):
    covered = [forecast(daily(seed), 12, level, HOUR) for seed in range(2)]
    held = np.average([f.coverage for f in covered], weights=[f.tried for f in covered])
    assert held == pytest.approx(level, abs=0.03)


def test_the_next_counts_lie_in_their_intervals():
    inside = []
    for seed in range(16):
        x = daily(100 + seed)
        found = forecast(x[:-6], 6, 0.8, HOUR)
        inside += ((found.low <= x[-6:]) & (x[-6:] <= found.high)).tolist()
    # 96 counts: three standard errors of 0.8 are 0.12.
    assert np.mean(inside) == pytest.approx(0.8, abs=0.12)


@settings(max_examples=15)
@given(
    st.lists(st.integers(0, 1_000_000), min_size=1, max_size=200),
    st.integers(1, 40),
    st.floats(0.5, 0.99),
)
def test_any_counts_give_a_finite_ordered_forecast(counts: list[int], steps: int, level: float):
    found = forecast(counts, steps, level, 300.0)
    assert len(found.mean) == len(found.low) == len(found.high) == steps
    assert np.isfinite([found.mean, found.low, found.high]).all()
    assert (found.low >= 0).all()
    assert (found.low <= found.high).all()


@pytest.mark.parametrize("counts", [[5.0] * (MIN_STEPS - 1), [0.0] * 500, [7.0]])
def test_too_little_history_is_said_and_wide(counts: list[float]):
    found = forecast(counts, 3, 0.8, HOUR)
    assert (found.source, found.coverage, found.tried) == ("too_little_history", None, 0)
    assert (found.high > np.mean(counts)).all()


def test_a_forecast_beyond_what_was_measured_is_wider():
    found = forecast(np.random.default_rng(3).poisson(20, 90), 200, 0.8, HOUR)
    assert found.calibrated < 200
    assert found.high[-1] - found.low[-1] > found.high[0] - found.low[0]


def test_the_filter_is_exponential_smoothing():
    x = np.random.default_rng(4).normal(size=50)
    found = level_filter.run(x, np.zeros((50, 0)), np.array([50]), memory=50)
    level = x[0]
    for t in range(1, 50):
        level += max(0.3, 1 / (t + 1)) * (x[t] - level)
    place = level_filter.ALPHA[:, 0].tolist().index(0.3)
    assert found.forecasts(1, np.zeros((1, 0)), seasonal=False)[0, place] == pytest.approx(level)


def test_intervals_widen_when_errors_grow():
    rng = np.random.default_rng(5)
    counts = rng.poisson(100, 400).astype(float)
    counts[200:] = np.maximum(100 + 60 * rng.normal(size=200), 0).round()
    center = float(intervals.to_scale(np.array([100.0]), "root")[0])
    before = intervals.calibrate([center] * 200, counts[:200].tolist(), 1, 0.8, "root").bounds(center)
    after = intervals.calibrate([center] * 400, counts.tolist(), 1, 0.8, "root").bounds(center)
    assert after[1] - after[0] > 1.5 * (before[1] - before[0])


def test_a_period_that_is_no_calendars_is_found():
    t = np.arange(800)
    x = 50 + 20 * np.sin(2 * np.pi * t / 37.3) + np.random.default_rng(6).normal(0, 5, 800)
    (frequency,) = seasons.find(x, 60.0)
    assert 1 / frequency == pytest.approx(37.3, abs=0.1)
