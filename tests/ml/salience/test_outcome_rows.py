"""Rows to learn from: nothing of the outcome is among the features, and the target is the formula of the outcome."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.decision.salience import AFTERWARDS, BEFOREHAND, formula
from seedcore.ml.salience.outcome_rows import MAX_ATTEMPTS, OutcomeRow, outcome_rows
from seedcore.tasks.history import EndedWork


def ended(at: float, took: float = 0.05, **changed: Any) -> EndedWork:
    base = EndedWork("a", "a", 0, 1, 10, at, at + took, took, False, False, False, None, None)
    return base._replace(**changed)


def last(rows: list[OutcomeRow]) -> OutcomeRow:
    return rows[-1]


def test_features_are_of_what_had_ended_before_the_task_was_submitted():
    first = ended(0.0, took=0.1, failed=True)
    running = ended(1.0, took=100.0, failed=True)
    rows = outcome_rows([first, running, ended(2.0)])
    assert rows[0].features["dead_letters"] == 0
    assert "failure_share" not in rows[0].features
    assert last(rows).features == {
        "dead_letters": 1, "failure_share": 1.0, "seconds_ratio": 1.0, "priority": 0, "params_bytes": 10,
        "valve_evidence": None, "attempts": 1,
    }  # fmt: skip


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0, 20), st.booleans(), st.integers(1, 6)), min_size=1, max_size=30),
    st.booleans(), st.booleans(), st.booleans(), st.floats(0, 1e4), st.integers(1, 9),
)  # fmt: skip
def test_whatever_becomes_of_a_task_its_own_features_are_the_same(
    given_tasks, failed, escalated, approval, took, tries
):
    tasks = [ended(at, s, failed=bad, attempts=n, stream="ab"[n % 2]) for at, s, bad, n in given_tasks]
    one = ended(25.0, 1.0)
    other = ended(25.0, took, failed=failed, escalated=escalated, approval=approval, attempts=tries)
    before = next(r for r in outcome_rows([*tasks, one]) if r.created_s == 25.0 and r.features["params_bytes"] == 10)
    after = [r for r in outcome_rows([*tasks, other]) if r.created_s == 25.0]
    assert before.features in [row.features for row in after]
    assert {f.name for f in AFTERWARDS}.isdisjoint(before.features)
    assert set(before.features) <= {f.name for f in BEFOREHAND}
    assert all(0.0 <= row.target <= 1.0 for row in after)


def test_the_target_is_the_formula_of_what_became_of_it():
    calm = [ended(float(n), 1.0) for n in range(9)]
    bad = ended(20.0, 2.0, failed=True, escalated=True, approval=True)
    assert last(outcome_rows([*calm, ended(30.0, 1.0)])).target == 0.0
    outcome = {"failure_share": 1.0, "escalated": 1.0, "waits_for_approval": 1.0, "cost_ratio": 2.0}
    assert last(outcome_rows([*calm, bad])).target == pytest.approx(formula(outcome))


def test_a_type_that_spends_money_is_measured_in_money():
    paid = [ended(float(n), 1.0, money=2.0) for n in range(9)]
    assert last(outcome_rows([*paid, ended(30.0, 50.0, money=2.0)])).target == 0.0
    dear = last(outcome_rows([*paid, ended(30.0, 1.0, money=8.0)])).target
    assert dear == pytest.approx(formula({"cost_ratio": 4.0}))
    assert last(outcome_rows([*paid, ended(30.0, 50.0)])).target == 0.0


def test_each_attempt_is_a_row_and_failed_ones_count_as_failures_of_the_stream():
    rows = outcome_rows([ended(0.0, attempts=9), ended(5.0)])
    assert [row.features["attempts"] for row in rows] == [*range(1, MAX_ATTEMPTS + 1), 1]
    assert last(rows).features["failure_share"] == pytest.approx(8 / 9)


def test_streams_know_nothing_of_each_other_and_dead_letters_are_forgotten():
    rows = outcome_rows([ended(0.0, failed=True), ended(1.0, stream="b"), ended(4_000.0)])
    assert [row.features["dead_letters"] for row in rows] == [0, 0, 0]
    assert last(rows).features["failure_share"] == 1.0


def test_slower_tasks_of_late_show_against_what_is_usual():
    tasks = [ended(float(n), 0.1) for n in range(200)] + [ended(300.0 + n, 0.8) for n in range(50)]
    found = last(outcome_rows([*tasks, ended(400.0)])).features["seconds_ratio"]
    # The last 50 took 2^3 times as long; the usual is the mean of 250.
    assert found == pytest.approx(2 ** (3 - 3 * 50 / 250))
