from hypothesis import given
from hypothesis import strategies as st

from seedcore.cognitive.engines.offline.learned_costs import (
    MAX_COST,
    MIN_COST,
    SkillRecord,
    records,
    with_learned_costs,
)
from seedcore.cognitive.engines.offline.planner import find_plan
from seedcore.skills.jsontypes import of_schema
from seedcore.skills.signatures import Param, Signature
from seedcore.tasks.history import EndsOfType

TEXT = of_schema({"type": "string"}, {})


def skill(name: str, takes: str, gives: str) -> Signature:
    return Signature(name, {takes: Param(TEXT, True)}, {gives: TEXT})


SKILLS = {s.name: s for s in (skill("one", "a", "c"), skill("two.first", "a", "b"), skill("two.second", "b", "c"))}


def test_without_outcomes_every_step_costs_the_same():
    assert with_learned_costs(SKILLS, {}) == SKILLS


def test_a_skill_that_often_fails_or_is_slow_is_planned_around():
    assert [s.skill for s in find_plan("c", {"a": "x"}, SKILLS).steps] == ["one"]
    good = SkillRecord(200, 198, 0.1)
    for bad in (SkillRecord(200, 20, 0.1), SkillRecord(200, 198, 9.0)):
        learned = with_learned_costs(SKILLS, {"one": bad, "two.first": good, "two.second": good})
        plan = find_plan("c", {"a": "x"}, learned)
        assert [s.skill for s in plan.steps] == ["two.first", "two.second"]


def test_a_few_ends_change_little():
    few = with_learned_costs(SKILLS, {"one": SkillRecord(2, 0, None), "two.first": SkillRecord(500, 490, 0.1)})
    assert few["one"].cost < 2
    assert few["two.second"].cost == 1


def test_refusals_are_no_failures_of_a_skill():
    ends = [EndsOfType("one", code, None, 5, 5, s, 0, 9) for code, s in ((None, 0.5), ("boom", None))]
    ends.append(EndsOfType("one", "policy_rejected", "rule", 100, 100, None, 0, 9))
    assert records(ends) == {"one": SkillRecord(10, 5, 0.5)}


known = st.builds(lambda e, share, s: SkillRecord(e, int(e * share), s if int(e * share) else None),
                  st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1e5))  # fmt: skip


@given(st.dictionaries(st.sampled_from(sorted(SKILLS)), known))
def test_costs_are_bounded(found: dict[str, SkillRecord]):
    costs = [s.cost for s in with_learned_costs(SKILLS, found).values()]
    assert all(MIN_COST <= cost <= MAX_COST for cost in costs)
