"""Tails of Student's t against what is known of them."""

import numpy as np
import pytest

from seedcore.ml.anomaly import detect, student_tail


@pytest.mark.parametrize(
    ("freedom", "share", "quantile"),
    [(2.0, 0.05, 4.30265), (3.0, 0.05, 3.18245), (3.0, 0.001, 12.92398), (10.0, 0.01, 3.16927), (50.0, 0.5, 0.67943)],
)
def test_quantiles_are_those_of_tables(freedom: float, share: float, quantile: float):
    place = student_tail.FREEDOMS.tolist().index(freedom)
    assert student_tail.quantiles(share)[place] == pytest.approx(quantile, rel=2e-3)
    x = np.array([[[quantile]]])
    assert np.exp(student_tail.log_survival(x))[place, 0, 0] == pytest.approx(share, rel=5e-3)


def test_the_density_is_the_slope_of_survival():
    x = np.array([[[0.5, 3.0, 40.0]]])
    step = 1e-3 * x
    slope = (np.exp(student_tail.log_survival(x - step)) - np.exp(student_tail.log_survival(x + step))) / (2 * step)
    assert np.exp(student_tail.log_density(x)) == pytest.approx(slope, rel=1e-2)


def test_heavy_noise_raises_no_more_alarms_than_asked_for():
    alarms = sum(bool(detect(np.random.default_rng((1000, k)).standard_t(3, 1000)).anomalies) for k in range(40))
    assert alarms <= 7  # over 7 of 40 has a chance of 0.1 % at 5 %
