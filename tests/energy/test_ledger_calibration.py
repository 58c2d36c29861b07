"""What sums say: means, ratios, and whether the energy changed at a moment."""

import random

import pytest

from seedcore.energy.ledger_calibration import calibrate, measured_change
from seedcore.pricing.outcome_sums import Sums


def sums(deltas: list[float]) -> Sums:
    return Sums(outcomes=len(deltas), realised_delta=sum(deltas), realised_squares=sum(d * d for d in deltas))


def test_without_outcomes_nothing_is_calibrated():
    assert calibrate(Sums()) is None


def test_calibration_is_the_means_and_their_ratio():
    found = calibrate(Sums(4, 2.0, 3.0, 1.0, 2, 8.0, 6.0, 20.0, 4.0))
    assert found is not None
    assert (found.expected_s, found.realised_s, found.seconds_ratio) == (0.5, 0.75, 1.5)
    assert (found.expected_failure, found.realised_failure) == (0.25, 0.5)
    assert (found.expected_delta, found.realised_delta, found.delta_ratio, found.rmse) == (2.0, 1.5, 0.75, 1.0)
    nothing_expected = calibrate(Sums(1, realised_s=1.0))
    assert nothing_expected is not None
    assert nothing_expected.seconds_ratio is None


def test_sums_join():
    one = Sums(1, 1.0, 2.0, 3.0, 4, 5.0, 6.0, 7.0, 8.0)
    one.join(Sums(1, 1.0, 1.0, 1.0, 1, 1.0, 1.0, 1.0, 1.0))
    assert one == Sums(2, 2.0, 3.0, 4.0, 5, 6.0, 7.0, 8.0, 9.0)


def test_a_change_of_few_outcomes_is_no_number():
    assert measured_change(sums([1.0] * 29), sums([5.0] * 100)).change is None


def test_a_verdict_needs_an_interval_without_zero():
    few, cheap, dear = sums([1.0] * 29), sums([1.0, 1.2] * 50), sums([5.0, 5.2] * 50)
    changes = [(few, dear), (cheap, dear), (dear, cheap), (cheap, cheap)]
    found = [measured_change(before, after).verdict for before, after in changes]
    assert found == ["too_little_data", "worse", "better", "no_change_shown"]


def test_the_interval_holds_the_true_change_about_19_times_in_20():
    draw, held = random.Random(1), 0
    for _ in range(400):
        before = sums([draw.expovariate(1.0) for _ in range(200)])
        after = sums([draw.expovariate(0.5) for _ in range(150)])
        found = measured_change(before, after)
        assert found.low is not None
        assert found.high is not None
        assert found.change == pytest.approx((found.low + found.high) / 2)
        held += found.low <= 1.0 <= found.high
    assert 360 <= held <= 396
