"""Causes of failures, ranked by counts."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedcore.cognitive.engines.offline.evidence import (
    End,
    Evidence,
    ModelReading,
    Series,
    Subject,
    Tally,
    ValveReading,
    beliefs,
    log_from_chance,
    log_more_often,
)
from seedcore.cognitive.engines.offline.reasoning import reason

TASK = Subject("echo", "t", ("boom", "boom", "boom"), "a-1", "h-1")


def ends(count: int, failures: int = 0, **fields) -> list[End]:
    named = {"stream": "echo", "recent": True, "agent": "a-2", "host": "h-2", "code": "boom"} | fields
    return [End(ok=n >= failures, **named) for n in range(count)]


def first(evidence: Evidence) -> str:
    return reason(evidence).hypotheses[0].name


CASES = {
    "input": (
        Evidence(TASK, ends(200, 2) + ends(200, 2, agent="a-1", host="h-1") + ends(800, 8, recent=False)),
        "input",
    ),
    "agent": (Evidence(TASK, ends(200, 2, host="h-1") + ends(40, 38, agent="a-1", host="h-1")), "agent:a-1"),
    "host": (
        Evidence(TASK, ends(300, 3) + ends(30, 28, agent="a-3", host="h-1") + ends(6, 5, agent="a-1", host="h-1")),
        "host:h-1",
    ),
    "change": (Evidence(TASK, ends(60, 50) + ends(400, 2, recent=False)), "change"),
    "environment": (
        Evidence(
            Subject("echo", "t", ("unreachable",)),
            ends(100, 60, stream="fetch", code="unreachable") + ends(400, 1, stream="fetch", recent=False),
        ),
        "environment:unreachable",
    ),
    "work_changed": (Evidence(Subject("echo"), ends(30), ValveReading("open", 0.6, 20_000, 3)), "work_changed"),
    "model_outdated": (
        Evidence(Subject(), model=ModelReading("digits", "losses", 0.5, 300, 10_000)),
        "model_outdated:digits",
    ),
    "incident": (Evidence(Subject(), series=[Series("latency", 300, (298, 299), 12.0, 1e-5)]), "incident:latency"),
    "chance": (Evidence(Subject("echo"), ends(100, 10) + ends(100, 10, recent=False)), "chance"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_cause_that_the_numbers_speak_for_comes_first(name):
    evidence, expected = CASES[name]
    found = reason(evidence)
    assert found.hypotheses[0].name == expected, [(h.name, h.log_bayes) for h in found.hypotheses]
    assert sum(beliefs(found.hypotheses)) == pytest.approx(1.0)


def test_each_hypothesis_names_the_numbers_that_it_rests_on():
    evidence, _ = CASES["agent"]
    best = reason(evidence).hypotheses[0]
    assert best.numbers == {
        "inside": {"failures": 38, "ends": 40},
        "outside": {"failures": 2, "ends": 200},
        "compared": 2,
    }


def test_an_error_that_others_do_not_share_says_nothing_of_the_environment():
    others = ends(100, 60, stream="fetch", code="other") + ends(400, 1, stream="fetch", recent=False)
    found = reason(Evidence(TASK, others))
    environment = next(h for h in found.hypotheses if h.kind == "environment")
    assert environment.log_bayes <= 0
    assert environment.numbers["now"] == {"failures": 0, "ends": 100}


def test_what_could_not_be_considered_says_why():
    found = reason(Evidence(TASK, missing={"work_changed": "the Coordinator did not report the valve"}))
    assert [h.name for h in found.hypotheses] == ["chance"]
    assert set(found.absent) == {"input", "agent", "host", "change", "environment", "work_changed"}
    assert found.absent["work_changed"] == "the Coordinator did not report the valve"


@pytest.mark.parametrize("valve", [ValveReading("closed", 0.3, 20_000), ValveReading("learning")])
def test_a_valve_that_is_not_open_speaks_for_nothing(valve):
    found = reason(Evidence(Subject("echo"), ends(30), valve))
    assert "work_changed" not in [h.name for h in found.hypotheses]
    assert valve.state in found.absent["work_changed"]


def test_of_many_agents_one_that_failed_by_luck_is_not_blamed():
    fleet = [end for n in range(50) for end in ends(20, 1 if n else 2, agent=f"a-{n}", host="h")]
    assert first(Evidence(Subject("echo"), fleet)) == "chance"


counts = st.integers(0, 300)


@given(counts, counts, counts, counts)
@settings(max_examples=80)
def test_failures_that_are_rarer_inside_never_speak_for_it(f1, s1, f2, s2):
    inside, outside = Tally(f1, f1 + s1), Tally(f2, f2 + s2)
    there, back = log_more_often(inside, outside), log_more_often(outside, inside)
    assert math.isfinite(there)
    assert math.isfinite(back)
    assert min(there, back) <= 1e-9


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_smaller_chance_never_speaks_less(one, other):
    low, high = sorted((one, other))
    assert log_from_chance(low) >= log_from_chance(high) - 1e-12 >= -1e-12


@given(counts, st.integers(0, 50), st.integers(0, 10))
def test_more_failures_in_a_row_are_never_likelier(ends_, failures, count):
    tally = Tally(min(failures, ends_), ends_)
    assert tally.log_all_fail(count + 1) < tally.log_all_fail(count) <= 1e-12


def test_a_monitor_of_a_model_speaks_for_a_change_the_more_the_fewer_observations_it_had():
    def belief_of(observed: int) -> float:
        found = reason(Evidence(Subject(), model=ModelReading("digits", "inputs", 0.6, observed, 10_000)))
        return dict(zip([h.name for h in found.hypotheses], beliefs(found.hypotheses), strict=True))[
            "model_outdated:digits"
        ]

    assert belief_of(10) > belief_of(300) > belief_of(30_000) >= 0.5


def test_a_monitor_of_a_model_that_is_not_open_speaks_for_nothing():
    found = reason(Evidence(Subject(), model=ModelReading("digits", "inputs", 0.3, 10, 10_000)))
    assert [h.name for h in found.hypotheses] == ["chance"]
    assert "0.3" in found.absent["model_outdated:digits"]
