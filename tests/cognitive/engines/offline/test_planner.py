import itertools
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedcore.cognitive.engines.offline.cheapest_actions import SearchBounds
from seedcore.cognitive.engines.offline.planner import find_plan
from seedcore.errors import DeadlineError, InvalidInputError, NoPlanError
from seedcore.skills.jsontypes import ANY, fits, of_schema, of_value
from seedcore.skills.signatures import Param, Signature
from seedcore.tasks.plans.plan import FROM, INPUTS, validate_plan


def kind(name: str):
    return ANY if name == "any" else of_schema({"type": name}, {})


def skill(name: str, takes: str, gives: str) -> Signature:
    """`takes` and `gives` are like "url:string limit?:integer"."""

    def fields(text: str):
        return [part.split(":") for part in text.split()]

    params = {n.rstrip("?"): Param(kind(k), not n.endswith("?")) for n, k in fields(takes)}
    return Signature(name, params, {n: kind(k) for n, k in fields(gives)})


def library(*skills: Signature) -> dict[str, Signature]:
    return {s.name: s for s in skills}


WEB = library(
    skill("http.fetch", "url:string", "text:string status:integer url:string"),
    skill("text.keywords", "text:string limit?:integer", "keywords:array scores:array"),
    skill("text.summarize", "text:string sentences?:integer", "summary:string"),
    skill("report", "summary:string keywords:array", "report:string"),
    skill("echo", "value:any", "value:any"),
)


def names(plan) -> list[str]:
    return [step.skill for step in plan.steps]


def test_a_chain_is_found_from_start_to_goal():
    plan = find_plan("summary", {"url": "http://x/"}, WEB)
    assert names(plan) == ["http.fetch", "text.summarize"]
    assert plan.steps[0].params == {"url": {FROM: INPUTS, "field": "url"}}
    assert plan.steps[1].params == {"text": {FROM: "s1", "field": "text"}}
    assert plan.steps[1].needs == ("s1",)
    assert plan.output == {"summary": {FROM: "s2", "field": "summary"}}
    assert plan.cost == 2
    validate_plan(plan, WEB)


def test_steps_need_only_what_they_take_so_that_branches_run_at_once():
    plan = find_plan("report", {"url": "http://x/"}, WEB)
    assert names(plan) == ["http.fetch", "text.keywords", "text.summarize", "report"]
    assert [step.needs for step in plan.steps] == [(), ("s1",), ("s1",), ("s2", "s3")]


def test_what_is_given_is_not_made_again():
    plan = find_plan("report", {"text": "abc", "keywords": ["a"]}, WEB)
    assert names(plan) == ["text.summarize", "report"]
    assert plan.steps[1].params["keywords"] == {FROM: INPUTS, "field": "keywords"}


def test_optional_params_are_bound_when_a_fitting_value_is_there():
    plan = find_plan("keywords", {"text": "abc", "limit": 3}, WEB)
    assert plan.steps[0].params["limit"] == {FROM: INPUTS, "field": "limit"}
    plan = find_plan("keywords", {"text": "abc", "limit": "three"}, WEB)
    assert "limit" not in plan.steps[0].params


def test_a_goal_may_be_several_fields_a_skills_field_or_a_skill():
    plan = find_plan(["summary", "text.keywords.keywords"], {"text": "abc"}, WEB)
    assert sorted(names(plan)) == ["text.keywords", "text.summarize"]
    assert set(plan.output) == {"summary", "keywords"}
    plan = find_plan("http.fetch", {"url": "http://x/", "text": "abc"}, WEB)
    assert names(plan) == ["http.fetch"]
    assert set(plan.output) == {"text", "status", "url"}
    plan = find_plan(["http.fetch.text", "text"], {"url": "http://x/", "text": "abc"}, WEB)
    assert plan.output == {
        "http.fetch.text": {FROM: "s1", "field": "text"},
        "text": {FROM: INPUTS, "field": "text"},
    }


def test_a_skill_without_result_fields_can_be_a_goal():
    skills = library(skill("notify", "summary:string", ""), *WEB.values())
    plan = find_plan("notify", {"text": "abc"}, skills)
    assert names(plan) == ["text.summarize", "notify"]
    assert plan.output == {}


def test_the_cheapest_plan_wins_and_ties_go_by_name():
    skills = library(
        skill("long.a", "a:string", "b:string"),
        skill("long.b", "b:string", "c:string"),
        skill("z.short", "a:string", "c:string"),
        skill("y.short", "a:string", "c:string"),
    )
    assert names(find_plan("c", {"a": "x"}, skills)) == ["y.short"]
    dear = skills | {n: Signature(n, skills[n].params, skills[n].results, cost=5) for n in ("z.short", "y.short")}
    plan = find_plan("c", {"a": "x"}, dear)
    assert (names(plan), plan.cost) == (["long.a", "long.b"], 2)
    assert all(find_plan("c", {"a": "x"}, dict(reversed(list(dear.items())))).steps == plan.steps for _ in range(3))


def test_skills_that_feed_each_other_do_not_loop():
    skills = library(
        skill("ab", "a:string", "b:string"),
        skill("ba", "b:string", "a:string"),
        skill("bc", "b:string a:string", "c:string"),
    )
    assert names(find_plan("c", {"a": "x"}, skills)) == ["ab", "bc"]
    with pytest.raises(NoPlanError):
        find_plan("c", {}, skills)


def test_a_type_that_does_not_fit_is_no_way():
    with pytest.raises(NoPlanError) as caught:
        find_plan("summary", {"text": 5}, WEB)
    assert "given is integer" in caught.value.detail
    assert [e.field for e in caught.value.errors] == ["inputs.text", "inputs.url"]


def test_an_unreachable_goal_says_what_is_missing_and_what_is_known():
    with pytest.raises(NoPlanError) as caught:
        find_plan("report", {"keywords": ["a"]}, WEB)
    error = caught.value
    assert (error.code, error.status) == ("no_plan", 422)
    assert error.extra["missing"] == ["summary", "text", "url"]
    assert {"report", "summary", "keywords"} <= set(error.extra["known"])
    assert "url (string, needed by http.fetch)" in error.detail


@pytest.mark.parametrize(
    "goal", ["please summarise this page", "no.such", "text.keywords.nothing", ["summary", "bogus"]]
)
def test_free_text_needs_a_language_model(goal):
    with pytest.raises(NoPlanError) as caught:
        find_plan(goal, {"text": "abc"}, WEB)
    assert "LLM_PROVIDER" in caught.value.detail
    assert "keywords" in caught.value.detail
    assert caught.value.errors[0].field == "goal"


def test_a_goal_that_is_given_already_is_no_work():
    with pytest.raises(InvalidInputError, match="already"):
        find_plan("text", {"text": "abc"}, WEB)


def chain(n: int) -> dict[str, Signature]:
    return library(*(skill(f"k{i:02}", f"f{i}:string", f"f{i + 1}:string") for i in range(n)))


def test_the_count_of_steps_is_bounded():
    assert len(find_plan("f16", {"f0": "x"}, chain(16)).steps) == 16
    with pytest.raises(NoPlanError, match="MAX_PLAN_STEPS"):
        find_plan("f17", {"f0": "x"}, chain(17))
    with pytest.raises(NoPlanError, match="more than 2 steps"):
        find_plan("f3", {"f0": "x"}, chain(3), SearchBounds(max_steps=2))


def covering(fields: int) -> dict[str, Signature]:
    """Every pair of fields has a skill that gives both: a problem of covering, in which bounds prove little."""
    pairs = itertools.combinations(range(fields), 2)
    covers = [skill(f"p{a:02}{b:02}", "start:string", f"f{a}:string f{b}:string") for a, b in pairs]
    return library(*covers, skill("join", " ".join(f"f{n}:string" for n in range(fields)), "all:string"))


def test_a_search_that_grows_too_large_or_too_old_ends():
    skills = covering(9)
    with pytest.raises(NoPlanError, match="first 5 states"):
        find_plan("all", {"start": "x"}, skills, SearchBounds(max_steps=100, max_states=5))
    with pytest.raises(DeadlineError, match="COGNITIVE_TIMEOUT_S"):
        find_plan("all", {"start": "x"}, skills, SearchBounds(max_steps=100, deadline=time.monotonic() - 1))


def test_many_skills_that_lead_elsewhere_cost_nothing():
    noise = [skill(f"noise{i:03}", "url:string", f"n{i}:string") for i in range(300)]
    noise += [skill(f"twin{i:03}", "url:string", "text:string") for i in range(100)]
    begun = time.monotonic()
    plan = find_plan("report", {"url": "http://x/"}, library(*WEB.values(), *noise))
    assert time.monotonic() - begun < 2
    assert plan.cost == 4
    assert plan.explored < 50


FIELDS = "abcdef"
KINDS = ("string", "integer", "number", "any")
VALUES: dict[str, Any] = {"string": "x", "integer": 1, "number": 1.5}


@st.composite
def worlds(draw):
    field = st.sampled_from(FIELDS)
    typed = st.dictionaries(field, st.sampled_from(KINDS), min_size=1, max_size=2)
    made = []
    for i in range(draw(st.integers(1, 7))):
        takes = draw(st.dictionaries(field, st.tuples(st.sampled_from(KINDS), st.booleans()), max_size=3))
        gives = draw(typed)
        params = {n: Param(kind(k), required) for n, (k, required) in takes.items()}
        made.append(Signature(f"s.{i}", params, {n: kind(k) for n, k in gives.items()}))
    inputs = draw(st.dictionaries(field, st.sampled_from(list(VALUES)).map(VALUES.__getitem__), max_size=2))
    goals = draw(st.lists(st.one_of(field, st.sampled_from([s.name for s in made])), min_size=1, max_size=2))
    return library(*made), inputs, goals


def cheapest_by_trying_all(skills, inputs, goals) -> int | None:
    """The fewest skills, found without any of the planner's parts: all subsets, in rounds until nothing changes."""
    start = {(name, of_value(value)) for name, value in inputs.items()}
    for size in range(len(skills) + 1):
        for chosen in itertools.combinations(skills.values(), size):
            facts, ran, grown = set(start), set(), True
            while grown:
                grown = False
                for each in chosen:
                    needs = [(n, p.type) for n, p in each.params.items() if p.required]
                    ready = all(any(f == n and fits(t, k) for f, t in facts) for n, k in needs)
                    if each.name not in ran and ready:
                        ran.add(each.name)
                        facts |= set(each.results.items())
                        grown = True
            if all(goal in ran or any(goal == f for f, _ in facts) for goal in goals):
                return size
    return None


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_every_plan_is_valid_and_the_cheapest_and_none_is_missed(world):
    skills, inputs, goals = world
    known = {name for s in skills.values() for name in s.results} | set(inputs) | set(skills)
    best = cheapest_by_trying_all(skills, inputs, goals) if set(goals) <= known else None
    try:
        plan = find_plan(goals, inputs, skills)
    except NoPlanError:
        assert best is None
        return
    except InvalidInputError:
        assert best == 0
        return
    validate_plan(plan, skills)
    assert len(plan.steps) == best == plan.cost
    assert len({step.skill for step in plan.steps}) == len(plan.steps)
    used = {value[FROM] for step in plan.steps for value in step.params.values()}
    used |= {value[FROM] for value in plan.output.values()}
    goal_skills = {step.id for step in plan.steps if step.skill in goals}
    assert {step.id for step in plan.steps} <= used | goal_skills, "no step is there for nothing"
    for goal in goals:
        if goal not in skills:
            assert goal in plan.output


def test_what_failed_is_left_out_and_another_way_is_found():
    more = WEB | library(skill("text.short", "text:string", "summary:string"))
    plan = find_plan("summary", {"text": "a"}, more, without=["text.short"])
    assert names(plan) == ["text.summarize"]
    with pytest.raises(NoPlanError):
        find_plan("summary", {"text": "a"}, more, without=["text.short", "text.summarize"])
    with pytest.raises(NoPlanError):
        find_plan("text.summarize", {"text": "a"}, WEB, without=["text.summarize"])


def test_steps_that_are_done_are_taken_from_and_not_repeated():
    done = {"s1": "http.fetch", "s2": "text.keywords"}
    plan = find_plan(["report", "text.keywords"], {"url": "http://x/"}, WEB, without=["echo"], done=done)
    assert names(plan) == ["text.summarize", "report"]
    assert [s.id for s in plan.steps] == ["s3", "s4"]
    assert plan.steps[0].params == {"text": {FROM: "s1", "field": "text"}}
    assert plan.steps[1].needs == ("s2", "s3")
    assert plan.output["keywords"] == {FROM: "s2", "field": "keywords"}
    validate_plan(plan, WEB, done=done)


def test_when_all_of_the_goal_is_done_no_step_is_left():
    plan = find_plan("status", {"url": "http://x/"}, WEB, done={"s1": "http.fetch"})
    assert (plan.steps, plan.output) == ((), {"status": {FROM: "s1", "field": "status"}})
    validate_plan(plan, WEB, done={"s1": "http.fetch"})
