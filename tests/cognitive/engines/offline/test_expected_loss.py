"""Decisions by expected loss."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedcore.cognitive.engines.offline.expected_loss import Option, Requirement, choose
from seedcore.errors import InvalidInputError

NONE = Option("none", losses={"agent": 10.0, "change": 4.0})
HOLD = Option("hold", cost=2.0, losses={"agent": 1.0})


def test_the_least_expected_loss_is_chosen_and_the_tie_is_told():
    choice = choose([NONE, HOLD], {"agent:a-1": 1.0, "chance": 9.0}, {})
    assert (choice.chosen.option.name, choice.chosen.expected_loss) == ("none", pytest.approx(1.0))
    assert choice.margin == pytest.approx(1.1)
    (change,) = choice.changes
    assert (change.option, change.hypothesis) == ("hold", "agent:a-1")
    # 10 q = 2 + q
    assert change.needed == pytest.approx(2 / 9)
    assert choose([NONE, HOLD], {"agent:a-1": 0.23, "chance": 0.77}, {}).chosen.option.name == "hold"


def test_a_hypothesis_name_goes_before_its_kind():
    option = Option("x", losses={"agent": 1.0, "agent:a-1": 7.0}, otherwise=3.0)
    assert [option.loss(name) for name in ("agent:a-1", "agent:a-2", "host:h")] == [7.0, 1.0, 3.0]


def test_an_option_whose_requirement_does_not_hold_is_not_chosen_and_would_be():
    open_valve = Requirement("valve.evidence", ">=", 0.5)
    better = Option("recalibrate", requires=(open_valve,))
    choice = choose([HOLD, better], {"change": 1.0}, {"valve.evidence": 0.2})
    assert choice.chosen.option.name == "hold"
    (change,) = choice.changes
    assert (change.option, change.unmet) == ("recalibrate", ("valve.evidence is 0.2; it must be >= 0.5",))
    assert choose([HOLD, better], {"change": 1.0}, {"valve.evidence": 0.7}).chosen.option.name == "recalibrate"


@pytest.mark.parametrize(
    ("fact", "op", "value", "holds"),
    [
        (1, "==", 1.0, True),
        ("open", "==", "open", True),
        ("open", "!=", "closed", True),
        ("open", ">", 1, False),
        (2, ">", 1, True),
        (2, "<=", 1, False),
        (True, "==", True, True),
    ],
)
def test_requirements_compare_what_can_be_compared(fact, op, value, holds):
    assert (Requirement("f", op, value).unmet({"f": fact}) is None) is holds


def test_a_fact_that_nobody_knows_holds_nothing():
    with pytest.raises(InvalidInputError, match="f is not known"):
        choose([Option("x", requires=(Requirement("f", "!=", 1),))], {"a": 1.0}, {})


def test_without_belief_nothing_is_decided():
    with pytest.raises(InvalidInputError, match="weight over 0"):
        choose([NONE], {"a": 0.0}, {})


names = st.sampled_from(["agent:a", "agent:b", "change", "chance"])
losses = st.dictionaries(st.sampled_from(["agent", "agent:b", "change"]), st.floats(0, 100))
options = st.builds(Option, st.uuids().map(str), st.floats(0, 10), losses, st.floats(0, 5))


@given(st.lists(options, min_size=1, max_size=6), st.dictionaries(names, st.floats(0.01, 1), min_size=1))
@settings(max_examples=80)
def test_no_option_loses_less_than_the_chosen_one_and_each_change_is_a_tie(given_, beliefs):
    choice = choose(given_, beliefs, {})
    assert all(w.expected_loss >= choice.chosen.expected_loss for w in choice.options)
    by_name = {option.name: option for option in given_}
    for change in choice.changes:
        rest = {n: b for n, b in choice.beliefs.items() if n != change.hypothesis}
        left = (1 - change.needed) / (sum(rest.values()) or 1)
        there = {n: b * left for n, b in rest.items()} | {change.hypothesis: change.needed}
        both = (choice.chosen.option, by_name[change.option])
        one, other = (sum(b * option.loss(n) for n, b in there.items()) for option in both)
        assert one == pytest.approx(other, abs=1e-6, rel=1e-6)
