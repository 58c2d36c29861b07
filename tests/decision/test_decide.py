"""The decision: pure, in the batch's order, each with its reason."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from seedcore.decision.agent_selection import RoutingState
from seedcore.decision.batch import GOAL, TaskBatch
from seedcore.decision.decide import decide
from seedcore.decision.fleet_table import Fleet
from seedcore.pricing.agent_routers import ROUTERS
from seedcore.schemas.coordinator import DecisionColumns, DecisionModel, Decisions, TaskColumns, TaskFacts, task_batch
from seedcore.tasks import model

SKILLS = {"echo": "utility", "text.shout": "utility", "ml.predict": "ml", "orphan": "nowhere"}


def columns(organ: str, count: int, scouts: Sequence[int] = (), archived: Sequence[int] = ()) -> dict[str, Any]:
    return {
        "agents": [f"{organ}-{n}" for n in range(count)],
        "hosts": [f"host-{organ}-0", f"host-{organ}-1"],
        "host": [n % 2 for n in range(count)],
        "scouts": list(scouts),
        "archived": list(archived),
    }


def fleet(**organs: int) -> Fleet:
    made = Fleet()
    table = {organ: columns(organ, count) for organ, count in organs.items()}
    made.update({"epoch": 1, "skills": SKILLS, "timeouts": {}, "organs": table})
    return made


def staged(scouts: Sequence[int] = (), archived: Sequence[int] = ()) -> Fleet:
    made = Fleet()
    table = {"utility": columns("utility", 4, scouts, archived)}
    made.update({"epoch": 1, "skills": SKILLS, "timeouts": {}, "organs": table})
    return made


def facts(*types: str, **fields: Any) -> list[TaskFacts]:
    return [TaskFacts(type=name, **fields) for name in types]


def records(tasks: list[TaskFacts], fleet: Fleet, state: RoutingState) -> list[DecisionModel]:
    return Decisions.of(decide(task_batch(tasks), fleet, state)).decisions


def test_a_known_skill_goes_straight_to_an_agent_of_its_organ():
    (decision,) = records(facts("ml.predict"), fleet(utility=2, ml=2), RoutingState(1.0))
    assert (decision.route, decision.rule) == ("fast", "known_skill")
    assert decision.agent == "ml-0"
    assert decision.host == "host-ml-0"
    assert decision.delta_energy is not None
    assert decision.delta_energy > 0
    assert decision.expected_s > 0
    assert "2 agents of ml" in decision.reason
    assert decision.evidence is None, "there is no valve yet, and no number stands for it"


def test_a_skill_that_needs_approval_waits_until_a_person_released_the_task():
    made = fleet(utility=2)
    made.approvals = {"echo": 60.0, "text.shout": None}
    waits, released, other = records(
        [*facts("echo"), *facts("echo", approved=True), *facts("text.shout")], made, RoutingState(1.0)
    )
    assert (waits.route, waits.rule, waits.hold_s) == ("hold", "skill_approval", 60.0)
    assert (released.route, released.rule) == ("fast", "known_skill")
    assert (other.route, other.hold_s) == ("hold", None)


def test_a_goal_needs_a_plan():
    (decision,) = records(facts("goal"), fleet(), RoutingState(1.0))
    assert (decision.route, decision.rule, decision.agent) == ("plan", "goal", None)


def test_an_unknown_type_is_rejected_and_the_known_ones_are_named():
    (decision,) = records(facts("nope"), fleet(utility=1), RoutingState(1.0))
    assert (decision.route, decision.rule) == ("reject", "unknown_skill")
    assert "'nope'" in decision.reason
    assert "echo, ml.predict, orphan, text.shout" in decision.reason


def test_without_a_living_agent_nothing_is_decided_yet():
    for name, organ in (("orphan", "nowhere"), ("echo", "utility")):
        (decision,) = records(facts(name), fleet(ml=1), RoutingState(1.0))
        assert (decision.route, decision.rule, decision.agent) == (None, "no_agent", None)
        assert repr(organ) in decision.reason


def test_an_empty_batch_has_no_decisions():
    assert records([], fleet(utility=1), RoutingState(1.0)) == []


@given(st.lists(st.sampled_from([*SKILLS, "goal", "nope"]), max_size=40))
def test_decisions_come_in_the_order_of_the_batch(types: list[str]):
    decisions = records(facts(*types), fleet(utility=3, ml=2), RoutingState(1.0))
    assert len(decisions) == len(types)
    expected = {"goal": "plan", "nope": "reject", "orphan": None}
    for name, decision in zip(types, decisions, strict=True):
        assert decision.route == expected.get(name, "fast")
        if decision.route == "fast":
            assert decision.agent is not None
            assert decision.agent.startswith(SKILLS[name])


def test_tasks_of_one_organ_are_spread_whatever_lies_between_them():
    types = ["echo", "ml.predict", "goal", "text.shout"] * 6
    decisions = records(facts(*types), fleet(utility=4, ml=3), RoutingState(1.0))
    shares = Counter(d.agent for d in decisions if d.agent)
    assert {shares[f"utility-{n}"] for n in range(4)} == {3}
    assert {shares[f"ml-{n}"] for n in range(3)} == {2}


def test_what_waits_already_counts():
    known = fleet(utility=2)
    known.report("dispatcher", [("utility-0", "echo", 3)])
    agents = [d.agent for d in records(facts(*["echo"] * 5), known, RoutingState(1.0))]
    assert Counter(agents) == {"utility-1": 4, "utility-0": 1}


def test_deciding_changes_nothing():
    known = fleet(utility=2)
    first = records(facts("echo", "echo"), known, RoutingState(1.0))
    assert records(facts("echo", "echo"), known, RoutingState(1.0)) == first


def test_an_agent_that_fails_gets_less_while_cost_weighs():
    known = fleet(utility=2)
    known.learn("utility-0", "echo", 40, 40 * 0.05, 0)
    known.learn("utility-1", "echo", 40, 40 * 0.05, 40)
    assert {d.agent for d in records(facts(*["echo"] * 4), known, RoutingState(100.0))} == {"utility-1"}
    assert len({d.agent for d in records(facts(*["echo"] * 4), known, RoutingState(0.0))}) == 2


def test_the_expected_seconds_are_those_of_the_chosen_agent_and_type():
    known = fleet(utility=1)
    known.learn("utility-0", "echo", 40, 40 * 2.0, 40)
    echo, shout = records(facts("echo", "text.shout"), known, RoutingState(1.0))
    assert echo.expected_s == known.rates.seconds("utility-0", "echo", "utility") > 1
    assert shout.expected_s == known.rates.seconds("utility-0", "text.shout", "utility") < 0.1


@given(st.lists(st.sampled_from(["echo", "text.shout", "ml.predict", "goal", "nope", "orphan"]), max_size=60))
def test_columns_say_the_same_as_records(types: list[str]):
    columns = decide(TaskBatch.of_types(types), fleet(utility=3, ml=1), RoutingState(1.0))
    decisions = records(facts(*types), fleet(utility=3, ml=1), RoutingState(1.0))
    assert len(set(columns.verdicts)) == len(columns.verdicts)
    assert [
        DecisionModel(**asdict(columns.verdicts[n]), delta_energy=added)
        for n, added in zip(columns.verdict, columns.delta_energy, strict=True)
    ] == decisions


def test_columns_of_different_lengths_are_refused():
    columns = {"domain": [None], "priority": [0], "attempt": [1], "size": [2], "approved": [False]}
    assert TaskColumns(type=["echo"], **columns).type == ["echo"]
    with pytest.raises(ValidationError, match="differ in length"):
        TaskColumns(type=["echo", "echo"], **columns)


def agents(fleet: Fleet, count: int, **options: Any) -> Counter[str | None]:
    return Counter(d.agent for d in records(facts(*["echo"] * count), fleet, RoutingState(1.0, **options)))


def test_scouts_get_their_share_and_archived_agents_nothing():
    fleet, credit, found = staged(scouts=[2], archived=[3]), {}, Counter[str | None]()
    for _ in range(100):
        found += agents(fleet, 2, scout_share=0.05, exploration_credit=credit)
    assert (found["utility-2"], found["utility-3"]) == (10, 0)
    assert found["utility-0"] + found["utility-1"] == 190


@pytest.mark.parametrize("router", ROUTERS)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.floats(0, 1))
def test_the_share_of_scouts_holds_over_batches_of_any_size(router: str, sizes: list[int], share: float):
    fleet, credit, got = staged(scouts=[3]), {}, 0
    for done, size in enumerate(sizes):
        # Three have proved themselves: with `energy`, what is more than they can begin with overflows to the scout.
        size = min(size, 3) if router == "energy" else size
        sizes[done] = size
        got += agents(fleet, size, scout_share=share, exploration_credit=credit, router=router)["utility-3"]
        assert abs(got - share * sum(sizes[: done + 1])) < 1 + 1e-6


def test_what_the_others_are_too_busy_for_goes_to_scouts_and_costs_what_it_adds():
    fleet = staged(scouts=[1, 2, 3])
    decisions = records(facts(*["echo"] * 41), fleet, RoutingState(1.0))
    assert Counter(d.agent for d in decisions) == {"utility-0": 11, "utility-1": 10, "utility-2": 10, "utility-3": 10}
    assert "3 of them scouts" in decisions[0].reason
    added = sorted(d.delta_energy or 0.0 for d in decisions if d.agent == "utility-1")
    second = decisions[0].expected_s
    assert added == pytest.approx([second * second * (n + 0.5) for n in range(10)])


def test_a_scout_gets_none_of_it_while_others_are_free():
    found = agents(staged(scouts=[1, 2]), 2)
    assert found == {"utility-0": 1, "utility-3": 1}


def test_a_decision_for_a_scout_says_so():
    decisions = records(facts(*["echo"] * 20), staged(scouts=[0]), RoutingState(1.0, 0.05))
    (scouted,) = [d for d in decisions if d.rule == "exploration"]
    assert (scouted.agent, "1 scouts" in scouted.reason) == ("utility-0", True)


def test_when_all_are_scouts_all_are_used():
    found = agents(staged(scouts=[0, 1, 2, 3]), 40, scout_share=0.05)
    assert set(found.values()) == {10}
    assert {d.rule for d in records(facts("echo"), staged(scouts=range(4)), RoutingState(1.0))} == {"known_skill"}


def test_scouts_work_alone_when_the_others_are_archived():
    found = agents(staged(scouts=[1], archived=[0, 2, 3]), 7, scout_share=0.05)
    assert found == {"utility-1": 7}


def test_when_all_are_archived_the_one_that_fails_least_stays_and_the_decision_says_so():
    fleet = staged(archived=range(4))
    for agent, good in (("utility-0", 1), ("utility-1", 6), ("utility-2", 3), ("utility-3", 0)):
        fleet.learn(agent, "echo", 10, 1.0, good)
    decisions = records(facts("echo", "echo"), fleet, RoutingState(1.0, 0.05))
    assert {(d.agent, d.rule) for d in decisions} == {("utility-1", "least_bad")}
    assert "all 4 agents of utility are archived" in decisions[0].reason


def test_a_dry_run_owes_scouts_nothing():
    state = RoutingState(1.0, 0.25, exploration_credit={"utility": 0.5})
    records(facts("echo"), staged(scouts=[0]), state.for_dry_run())
    assert state.exploration_credit == {"utility": 0.5}


@pytest.mark.parametrize("router", ROUTERS)
def test_every_router_decides_within_the_organ_and_says_who_it_was(router: str):
    known = fleet(utility=4, ml=2)
    decisions = records(facts(*["echo", "ml.predict"] * 20), known, RoutingState(1.0, router=router))
    assert {d.agent.split("-")[0] for d in decisions if d.agent} == {"utility", "ml"}
    assert all(d.delta_energy is not None and d.delta_energy > 0 for d in decisions)
    assert len({d.agent for d in decisions if d.agent}) > 2
    if router != "energy":
        assert "energy" not in decisions[0].reason


def test_the_expected_failure_and_v_are_sent_with_the_decisions():
    known = fleet(utility=1)
    known.learn("utility-0", "echo", 40, 4.0, 20)
    columns = decide(TaskBatch.of_types(["echo", "goal"]), known, RoutingState(3.0))
    assert columns.v == 3.0
    assert columns.expected_failure == [pytest.approx(1 - known.rates.success("utility-0", "echo", "utility")), None]


def test_two_who_ask_in_turn_do_not_herd():
    known, state, got = fleet(utility=4), RoutingState(1.0), Counter[str | None]()
    for question in range(4):
        for asker in ("one", "two"):
            known.report(asker, [], undecided=range(question))
            columns = decide(TaskBatch.of_types(["echo"] * 6), known, state)
            known.assign(asker, question, columns.assignments())
            got.update(d.agent for d in Decisions.of(columns).decisions)
    assert set(got.values()) == {12}


def test_what_was_decided_counts_until_the_report_that_holds_it():
    known, state = fleet(utility=2), RoutingState(1.0)
    team = known.team("utility")
    assert team is not None
    known.report("one", [])
    known.assign("one", 1, decide(TaskBatch.of_types(["echo"] * 4), known, state).assignments())
    assert known.load(team).tasks.tolist() == [2, 2]
    known.report("one", [], undecided=[1])
    assert known.load(team).tasks.tolist() == [2, 2], "its answer had not come when the report was made"
    known.report("one", [("utility-0", "echo", 2), ("utility-1", "echo", 1)])
    assert known.load(team).tasks.tolist() == [2, 1]


def test_the_state_of_organs_that_are_gone_is_dropped():
    """Organs come and go for as long as a Coordinator lives; what is kept is bounded by those in force."""
    state = RoutingState(1.0, 0.25, router="round_robin")
    for n in range(50):
        known = Fleet()
        organ = columns("o", 2, scouts=[1])
        known.update(
            {"epoch": n + 1, "skills": {"echo": f"organ-{n}"}, "timeouts": {}, "organs": {f"organ-{n}": organ}}
        )
        decide(TaskBatch.of_types(["echo"] * 8), known, state)
    assert set(state.exploration_credit) == {"organ-49"}
    assert set(state.routers) == {("organ-49", "known_skill"), ("organ-49", "exploration")}


def test_the_type_of_goals_is_the_engines():
    assert GOAL == model.GOAL


def test_columns_of_a_batch_that_differ_in_length_are_refused():
    batch = replace(TaskBatch.of_types(["echo", "echo"]), approved=[False])
    with pytest.raises(ValueError, match="shorter"):
        decide(batch, fleet(utility=1), RoutingState(1.0))


def test_decisions_on_the_wire_are_those_that_were_made():
    made = decide(TaskBatch.of_types(["echo", "goal", "nope"]), fleet(utility=2), RoutingState(1.0))
    wire = to_jsonable_python(DecisionColumns.of(made), by_alias=True)
    assert wire == asdict(made)
