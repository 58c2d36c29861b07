"""What a dispatcher tells of the energy: the decisions' own formula, with what the tasks took."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.pricing.outcome_sums import Expected, Sums
from seedcore.skills.host_protocol import Completion
from seedcore.worker.decisions.feedback import FeedbackCollector
from seedcore.worker.ports import RouteDecision

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


def test_a_decision_that_does_not_tell_what_it_expected_counts_for_nothing():
    feedback = FeedbackCollector()
    feedback.record_completion(
        completion(), RouteDecision("fast", "known_skill", "test", agent="a", host="h", delta_energy=1.0)
    )
    assert feedback.take().energy == {}


def completion() -> Completion:
    return Completion(str(uuid4()), 1, "a", "echo", True, 0.5, "{}")


def test_outcomes_are_told_once_and_again_when_the_question_failed():
    feedback = FeedbackCollector()
    feedback.record_completion(completion(), decision(1.0, 0.5, 0.1, 1.0))
    first = feedback.take()
    assert (first.energy["echo"].outcomes, first.question, first.undecided) == (1, 1, ())
    second = feedback.take()
    assert (second.energy, second.undecided) == ({}, (1,))
    feedback.failed(first)
    feedback.answered(second.question)
    feedback.record_completion(completion(), decision(1.0, 0.5, 0.1, 1.0))
    third = feedback.take()
    assert (third.energy["echo"].outcomes, third.outcomes[("a", "echo")][0], third.undecided) == (2, 2, ())


def test_money_that_was_reported_is_told_once_and_again_when_the_question_failed():
    feedback = FeedbackCollector()
    for usage in ((10.0, 0.25), (10.0, 0.0), None, (0.0, 0.5)):
        feedback.record_completion(completion()._replace(usage=usage))
    first = feedback.take()
    assert first.spent == {("a", "echo"): (2, 0.75)}
    assert feedback.take().spent == {}
    feedback.failed(first)
    feedback.record_completion(completion()._replace(usage=(0.0, 0.25)))
    assert feedback.take().spent == {("a", "echo"): (3, 1.0)}
