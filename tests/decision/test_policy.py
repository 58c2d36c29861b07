"""Policy: what is refused at load, which rule decides, and what happens when one fails."""

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedcore.decision.agent_selection import RoutingState
from seedcore.decision.batch import TaskBatch
from seedcore.decision.cel_rules import FACTS, MAX_EXPRESSION, PolicyRule, sample_facts
from seedcore.decision.decide import decide
from seedcore.decision.fleet_table import Fleet
from seedcore.decision.policy import load_policy, parse_policy
from seedcore.decision.rulings import PolicyContext, apply_policy
from seedcore.decision.stream_status import UNWATCHED, StreamKey, StreamStatus
from seedcore.errors import InvalidInputError


def policy(*rules):
    lines = ["rules:"]
    for n, (when, route, *more) in enumerate(rules):
        lines += [f"  - name: r{n}", f"    when: {when!r}", f"    route: {route}", *(f"    {line}" for line in more)]
    return parse_policy("\n".join(lines).encode(), "test")


def facts(**changed):
    known = sample_facts({str: "", int: 0, float: 0.0, bool: False})
    for name, value in changed.items():
        group, field = name.split("__")
        known[group][field] = value
    return known


def columns(count=1, **changed):
    fields = {
        "type": "echo",
        "domain": None,
        "priority": 0,
        "attempt": 1,
        "size": 2,
        "approved": False,
        "direct": False,
    }
    fields |= changed
    return TaskBatch(**{name: [value] * count for name, value in fields.items()}, data=[None] * count)


def fleet_of(agents):
    fleet = Fleet()
    organ = {
        "agents": [f"a-{n}" for n in range(agents)],
        "hosts": ["h"],
        "host": [0] * agents,
        "scouts": [],
        "archived": [],
    }
    fleet.update({"epoch": 1, "skills": {"echo": "utility"}, "timeouts": {}, "organs": {"utility": organ}})
    return fleet


def test_the_packages_own_policy_plans_for_work_that_shifted_within_a_budget():
    default = load_policy(None)
    assert default.evaluate(facts(), {}) is None
    # Outcomes alone, slower or failing, ask for no plan.
    assert default.evaluate(facts(valve__state="open", valve__outcome=0.9), {}) is None
    shifted = {"valve__state": "open", "valve__shifted": True}
    ruling = default.evaluate(facts(**shifted), {})
    assert ruling is not None
    assert (ruling.route, ruling.rule) == ("plan", "valve_open")
    assert default.evaluate(facts(**shifted, budget__plans_per_minute=600), {}) is None


def test_what_must_run_as_it_is_passes_rules_that_plan_and_meets_the_next_ones():
    rules = policy(("true", "plan"), ("task.priority > 5", "hold"))
    memo = {}
    assert rules.evaluate(facts(), memo).route == "plan"
    assert rules.evaluate(facts(), memo, direct=True) is None
    assert rules.evaluate(facts(task__priority=9), memo, direct=True).route == "hold"


def test_the_rule_of_the_highest_priority_decides_and_says_why():
    rules = policy(
        ("true", "hold"),
        ("task.priority > 5", "reject", "priority: 3", "reason: too loud"),
        ("true", "plan", "priority: 1"),
    )
    assert rules.evaluate(facts(task__priority=6), {})[:3] == ("reject", "r1", "too loud")
    assert rules.evaluate(facts(task__priority=5), {})[:2] == ("plan", "r2")


@pytest.mark.parametrize(
    ("when", "why"),
    [
        ("task.nope == 1", "task.nope is not known"),
        ("tsk.type == 'a'", "tsk is not known"),
        ("task.priority > 'a'", "No such overload"),
        ("false && task.priority > 'a'", "No such overload"),
        ("(true || valve.state > 3) && task.approved", "No such overload"),
        ("task.priority", "neither true nor false"),
        ("task.priority +", "Syntax error"),
        ("[1, 2].all(x, [3].exists(y, x > y))", "x, y is not known"),
        ("[1].exists(task, task > 0)", "loops"),
        ("task['type'] == 'a'", "is not known"),
        ("duration(task.type) == duration('1s')", "not allowed"),
        ("salience", "neither true nor false"),
        ("salience > 'a'", "No such overload"),
        ("salience.score > 0.5", "."),
        ("task.salience > 0.5", "task.salience is not known"),
        ("[0.1].exists(salience, salience > 0.0)", "loops"),
        ("true || " * MAX_EXPRESSION + "true", "longer than"),
    ],
)
def test_a_rule_that_cannot_be_right_is_refused_at_load(when, why):
    with pytest.raises(InvalidInputError, match="Policy rule 'r0'.*" + why):
        policy((when, "hold"))


@pytest.mark.parametrize(
    "text",
    [
        b"rules: 3",
        b"rules: [{name: a}]",
        b"rules: [",
        b"\xff\xfea",
        b"a: 1",
        b"rules: [{name: a, when: 'true', route: fly}]",
    ],
)
def test_a_file_that_is_no_policy_is_refused(text):
    with pytest.raises(InvalidInputError, match="The policy test"):
        parse_policy(text, "test")


def test_two_rules_of_one_name_are_refused():
    rule = "{name: a, when: 'true', route: hold}"
    with pytest.raises(InvalidInputError, match="two rules called a"):
        parse_policy(f"rules: [{rule}, {rule}]".encode(), "test")


def test_a_rule_that_fails_at_run_time_holds_the_task_and_is_counted():
    rules = policy(("100 / task.priority > 1", "fast"), ("true", "reject"))
    ruling = rules.evaluate(facts(task__priority=0), {})
    assert (ruling.route, ruling.rule, ruling.failed) == ("hold", "r0", True)
    assert "division by zero" in ruling.reason
    assert rules.failures == {"r0": 1}
    assert rules.evaluate(facts(task__priority=5), {}).route == "fast"


REMEMBERING = policy(("task.priority > 2 && valve.evidence < 0.5", "hold"), ("task.domain == 'b'", "plan"))


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_what_is_remembered_in_a_batch_is_what_would_be_computed(data):
    rules, memo = REMEMBERING, {}
    for _ in range(20):
        known = facts(
            task__priority=data.draw(st.integers(0, 4)),
            valve__evidence=data.draw(st.sampled_from([0.0, 0.4, 0.6])),
            task__domain=data.draw(st.sampled_from(["", "b"])),
        )
        assert rules.evaluate(known, memo) == rules.evaluate(known, {})


def test_every_declared_fact_can_be_asked_for():
    for group, fields in FACTS.items():
        for name, kind in fields.items():
            value = {str: "''", int: "0", float: "0.0", bool: "false"}[kind]
            rule = PolicyRule("r", f"{group}.{name} == {value}", "hold")
            assert rule.holds(facts())
            assert rule.fields == {(group, name)}


def test_the_salience_is_a_fact_without_a_group():
    rule = PolicyRule("r", "salience >= 0.5 && task.type != 'salience'", "hold")
    assert rule.fields == {("salience", ""), ("task", "type")}
    known = facts()
    assert not rule.holds(known)
    known["salience"][""] = 0.5
    assert rule.holds(known)
    assert PolicyRule("r", "task.type == 'a.salience'", "hold").fields == {("task", "type")}


class Monitors:
    """Monitors whose streams all have one status."""

    def __init__(self, status=UNWATCHED):
        self._status = status

    def status(self, key: StreamKey) -> StreamStatus:
        return self._status


def decided(tasks, rules, fleet=None, status=UNWATCHED):
    context = PolicyContext(rules, Monitors(status))
    answer = decide(tasks, fleet or fleet_of(2), RoutingState(v=1.0), context)
    return [answer.verdicts[n] for n in answer.verdict]


def test_a_held_task_has_no_agent_and_an_approved_one_is_not_held_again():
    rules = policy(("true", "hold", "reason: a person looks"))
    held, passed = decided(columns(), rules)[0], decided(columns(approved=True), rules)[0]
    assert (held.route, held.rule, held.reason, held.agent) == ("hold", "r0", "a person looks", None)
    assert (passed.route, passed.rule) == ("fast", "known_skill")


def test_a_rule_for_the_fast_path_does_not_run_a_skill_that_no_agent_has():
    assert decided(columns(type="nobody.can"), policy(("true", "fast")))[0].rule == "unknown_skill"


def test_a_type_with_a_recipe_of_several_steps_goes_there_unless_a_rule_says_otherwise():
    def ruled(rules, **changed):
        context = PolicyContext(rules, Monitors(), recipe_types={"echo"})
        ruling = apply_policy(columns(**changed), fleet_of(2), context).rulings[0]
        return ruling and ruling[:2]

    none = policy(("false", "hold"))
    assert ruled(none) == ("plan", "recipe")
    assert ruled(none, direct=True) is None
    assert ruled(none, type="other") is None
    assert ruled(policy(("true", "hold"))) == ("hold", "r0")
    assert ruled(policy(("true", "hold")), approved=True) == ("plan", "recipe")


def test_facts_of_the_fleet_are_those_of_the_tasks_organ():
    rules = policy(("fleet.agents < 3", "hold"))
    assert decided(columns(), rules, fleet_of(2))[0].route == "hold"
    assert decided(columns(), rules, fleet_of(3))[0].route == "fast"


def test_evidence_is_in_every_decision_and_rules_see_it():
    status = StreamStatus("open", 0.7, 0.7, 0.1)
    rules = policy(("valve.state == 'open' && valve.evidence > 0.6 && task.priority > 0", "plan"))
    assert [(v.route, v.evidence) for v in decided(columns(2), rules, status=status)] == [("fast", 0.7)] * 2
    assert decided(columns(priority=1), rules, status=status)[0].route == "plan"


def salience_of(tasks, status=UNWATCHED, **known):
    """What a rule sees, found by rules with thresholds in thousandths."""
    rules = policy(*[(f"salience >= {n / 1000}", "hold", f"priority: {n}") for n in range(0, 1000, 50)])
    context = PolicyContext(rules, Monitors(status), salience=known)
    return [int(r.rule[1:]) * 50 / 1000 for r in apply_policy(tasks, fleet_of(2), context).rulings]


def test_rules_see_the_salience_of_the_stream_raised_by_the_task():
    assert salience_of(columns(2), echo=0.42) == [0.4, 0.4]
    assert salience_of(columns(domain="a"), **{"a/echo": 0.71, "echo": 0.1}) == [0.7]
    # 1 - 0.6 * 0.7 * 0.85
    assert salience_of(columns(priority=100, attempt=2), echo=0.4) == [0.6]
    mixed = TaskBatch.of_types(["echo"] * 2)
    assert salience_of(replace(mixed, priority=[0, 100]), echo=0.4) == [0.4, 0.55]


def test_of_a_stream_without_a_score_the_formula_says_what_its_evidence_says():
    assert salience_of(columns()) == [0.0]
    assert salience_of(columns(), StreamStatus("open", 0.9), other=0.9) == [0.5]


def test_a_batch_of_a_hundred_against_a_thousand_agents_is_quick():
    rules = policy(*[(f"task.size == {k} || valve.evidence > 0.9", "hold") for k in range(1_000, 1_010)])
    fleet, tasks, best = fleet_of(1_000), columns(100), 1.0
    decided(tasks, rules, fleet)
    for _ in range(10):
        began = time.perf_counter()
        decided(tasks, rules, fleet)
        best = min(best, time.perf_counter() - began)
    # Wanted: 10 ms. A machine may be three times slower.
    assert best < 0.03


def test_a_rule_that_holds_may_say_how_long_tasks_wait():
    rules = parse_policy(b"rules: [{name: a, when: task.priority > 5, route: hold, wait_s: 120}]", "test")
    (held,) = decided(columns(priority=9), rules, fleet_of(1))
    assert (held.route, held.hold_s) == ("hold", 120)
    assert rules.report()["rules"][0]["wait_s"] == 120


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: [{name: a, when: 'true', route: fast, wait_s: 5}]", "wait_s is of rules whose route is hold"),
        ("rules: [{name: a, when: 'true', route: hold, wait_s: soon}]", "rules.0.wait_s"),
        ("rules: [{name: a, when: 'true', route: hold, wait_s: 0}]", "rules.0.wait_s"),
        ("rules: [{name: a, when: 'true', route: hold, wait_s: .inf}]", "rules.0.wait_s"),
        ("triage: {default: hold}", "not among actions"),
        ("triage: {actions: {hold: {webhook: x}}}", "actions.hold does not take webhook"),
        ("triage: {actions: {notify: {hold_s: 4}}}", "actions.notify does not take hold_s"),
        ("triage: {actions: {hold: {losses: {agent: much}}}}", "triage.actions.hold.losses.agent"),
        ("triage: {actions: {acme.page: {}}}", "no such action; known: hold, notify"),
        ("triage: {actions: {retrain: {}}}", "actions.retrain needs models"),
        ("triage: {actions: {retrain: {models: ['a/b']}}}", "triage.actions.retrain.models.0"),
        ("triage: {actions: {retrain: {models: [a], rows: 100, fresh_rows: 200}}}", "fresh_rows is more than rows"),
        ("triage: {actions: {notify: {models: [a]}}}", "actions.notify does not take models"),
    ],
)
def test_what_a_policy_says_of_waits_and_triage_is_checked_at_load(text, message):
    with pytest.raises(InvalidInputError, match=message):
        parse_policy(text.encode(), "test", {"hold", "notify"})


def test_a_second_list_of_rules_drops_no_rule_in_silence():
    text = "rules:\n  - {name: a, when: 'true', route: hold}\nrules:\n  - {name: b, when: 'true', route: fast}\n"
    with pytest.raises(InvalidInputError, match="key 'rules' comes twice"):
        parse_policy(text.encode(), "p.yaml")
