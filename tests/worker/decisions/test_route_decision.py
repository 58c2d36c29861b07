"""What a worker reports of the energy: the decisions' own formula, with what the tasks took."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.pricing.outcome_sums import Expected, Sums
from seedcore.worker.decisions.route_decision import RouteDecision

TIMES = st.floats(0.001, 100)


def decision(queued_s: float, expected_s: float, fails: float, v: float) -> RouteDecision:
    added = queued_s * expected_s + 0.5 * expected_s**2 + v * fails
    fields = {"delta_energy": added, "expected_s": expected_s, "expected_failure": fails, "v": v}
    return RouteDecision("fast", "known_skill", "test", agent="a", host="h", **fields)


def expected(queued_s: float, expected_s: float, fails: float, v: float) -> Expected:
    found = decision(queued_s, expected_s, fails, v).expected
    assert found is not None
    return found


@given(TIMES, TIMES, st.floats(0, 1), st.floats(0, 10), TIMES, st.booleans())
def test_realised_is_the_same_formula_with_what_the_task_took(
    queued_s: float, expected_s: float, fails: float, v: float, seconds: float, ok: bool
):
    told = Sums()
    told.add(expected(queued_s, expected_s, fails, v), seconds, ok)
    realised = queued_s * seconds + 0.5 * seconds**2 + v * (not ok)
    assert told.realised_delta == pytest.approx(realised, rel=1e-6, abs=1e-6)
    assert (told.outcomes, told.realised_s, told.failures) == (1, seconds, int(not ok))


def test_what_was_as_expected_is_realised_exactly():
    told = Sums()
    told.add(expected(2.0, 0.5, 0.0, 1.0), 0.5, True)
    assert told.realised_delta == pytest.approx(told.expected_delta)
    assert told.squared_error == pytest.approx(0)
