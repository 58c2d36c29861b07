"""The decision: pure, in the batch's order, each with its reason."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from seedcore.coordinator.decision import decide, decide_columns
from seedcore.coordinator.fleet import Fleet
from seedcore.coordinator.schemas import DecisionModel, TaskColumns, TaskFacts

SKILLS = {"echo": "utility", "text.shout": "utility", "ml.predict": "ml", "orphan": "nowhere"}


def fleet(**organs: int) -> Fleet:
    made = Fleet()
    agents = [
        {"id": f"{organ}-{n}", "organ": organ, "host": f"host-{organ}-{n % 2}"}
        for organ, count in organs.items()
        for n in range(count)
    ]
    made.update({"epoch": 1, "skills": SKILLS, "timeouts": {}, "agents": agents})
    return made


def facts(*types: str, **fields: Any) -> list[TaskFacts]:
    return [TaskFacts(type=name, **fields) for name in types]


def test_a_known_skill_goes_straight_to_an_agent_of_its_organ():
    (decision,) = decide(facts("ml.predict"), fleet(utility=2, ml=2), v=1.0)
    assert (decision.route, decision.rule) == ("fast", "known_skill")
    assert decision.agent == "ml-0"
    assert decision.host == "host-ml-0"
    assert decision.delta_energy is not None
    assert decision.delta_energy > 0
    assert decision.expected_s > 0
    assert "2 agents of ml" in decision.reason
    assert decision.evidence is None, "there is no valve yet, and no number stands for it"


def test_a_goal_needs_a_plan():
    (decision,) = decide(facts("goal"), fleet(), v=1.0)
    assert (decision.route, decision.rule, decision.agent) == ("plan", "goal", None)


def test_an_unknown_type_is_rejected_and_the_known_ones_are_named():
    (decision,) = decide(facts("nope"), fleet(utility=1), v=1.0)
    assert (decision.route, decision.rule) == ("reject", "unknown_skill")
    assert "'nope'" in decision.reason
    assert "echo, ml.predict, orphan, text.shout" in decision.reason


def test_without_a_living_agent_nothing_is_decided_yet():
    for name, organ in (("orphan", "nowhere"), ("echo", "utility")):
        (decision,) = decide(facts(name), fleet(ml=1), v=1.0)
        assert (decision.route, decision.rule, decision.agent) == (None, "no_agent", None)
        assert repr(organ) in decision.reason


def test_an_empty_batch_has_no_decisions():
    assert decide([], fleet(utility=1), v=1.0) == []


@given(st.lists(st.sampled_from([*SKILLS, "goal", "nope"]), max_size=40))
def test_decisions_come_in_the_order_of_the_batch(types: list[str]):
    decisions = decide(facts(*types), fleet(utility=3, ml=2), v=1.0)
    assert len(decisions) == len(types)
    expected = {"goal": "plan", "nope": "reject", "orphan": None}
    for name, decision in zip(types, decisions, strict=True):
        assert decision.route == expected.get(name, "fast")
        if decision.route == "fast":
            assert decision.agent is not None
            assert decision.agent.startswith(SKILLS[name])


def test_tasks_of_one_organ_are_spread_whatever_lies_between_them():
    types = ["echo", "ml.predict", "goal", "text.shout"] * 6
    decisions = decide(facts(*types), fleet(utility=4, ml=3), v=1.0)
    shares = Counter(d.agent for d in decisions if d.agent)
    assert {shares[f"utility-{n}"] for n in range(4)} == {3}
    assert {shares[f"ml-{n}"] for n in range(3)} == {2}


def test_what_waits_already_counts():
    known = fleet(utility=2)
    known.report("dispatcher", [("utility-0", "echo", 3)])
    agents = [d.agent for d in decide(facts(*["echo"] * 5), known, v=1.0)]
    assert Counter(agents) == {"utility-1": 4, "utility-0": 1}


def test_deciding_changes_nothing():
    known = fleet(utility=2)
    first = decide(facts("echo", "echo"), known, v=1.0)
    assert decide(facts("echo", "echo"), known, v=1.0) == first


def test_an_agent_that_fails_gets_less_while_cost_weighs():
    known = fleet(utility=2)
    known.rates.add("utility-0", "echo", 40, 40 * 0.05, 0)
    known.rates.add("utility-1", "echo", 40, 40 * 0.05, 40)
    assert {d.agent for d in decide(facts(*["echo"] * 4), known, v=100.0)} == {"utility-1"}
    assert len({d.agent for d in decide(facts(*["echo"] * 4), known, v=0.0)}) == 2


def test_the_expected_seconds_are_those_of_the_chosen_agent_and_type():
    known = fleet(utility=1)
    known.rates.add("utility-0", "echo", 40, 40 * 2.0, 40)
    echo, shout = decide(facts("echo", "text.shout"), known, v=1.0)
    assert echo.expected_s == known.rates.seconds("utility-0", "echo") > 1
    assert shout.expected_s == known.rates.seconds("utility-0", "text.shout") < 0.1


@given(st.lists(st.sampled_from(["echo", "text.shout", "ml.predict", "goal", "nope", "orphan"]), max_size=60))
def test_columns_say_the_same_as_records(types: list[str]):
    columns = decide_columns(types, fleet(utility=3, ml=1), v=1.0)
    records = decide(facts(*types), fleet(utility=3, ml=1), v=1.0)
    assert len(set(columns.verdicts)) == len(columns.verdicts)
    assert [
        DecisionModel(**columns.verdicts[n].model_dump(), delta_energy=added)
        for n, added in zip(columns.verdict, columns.delta_energy, strict=True)
    ] == records


def test_columns_of_different_lengths_are_refused():
    columns = {"domain": [None], "priority": [0], "attempt": [1], "size": [2], "approved": [False]}
    assert TaskColumns(type=["echo"], **columns).type == ["echo"]
    with pytest.raises(ValidationError, match="differ in length"):
        TaskColumns(type=["echo", "echo"], **columns)
