"""A goal is checked whole when it is submitted: the planner refuses nothing of its shape later."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedcore.errors import InvalidInputError
from seedcore.schemas.cognitive.planning import PlanTaskRequest
from seedcore.settings import load_settings
from seedcore.tasks.plans.plan_options import MAX_INPUTS, MAX_NAME, MAX_NAMES, read_goal

SETTINGS = load_settings()


@pytest.mark.parametrize(
    ("params", "field", "words"),
    [
        ({}, "params.goal", "say what is wanted"),
        ({"goal": ""}, "params.goal", "say what is wanted"),
        ({"goal": " \n"}, "params.goal", "say what is wanted"),
        ({"goal": 5}, "params.goal", "say what is wanted"),
        ({"goal": {"a": 1}}, "params.goal", "say what is wanted"),
        ({"goal": []}, "params.goal", "say what is wanted"),
        ({"goal": ["a", 5]}, "params.goal", "say what is wanted"),
        ({"goal": ["a", ""]}, "params.goal", "say what is wanted"),
        ({"goal": ["a"] * 2000}, "params.goal", "2000 names, at most 32"),
        ({"goal": "x" * 2001}, "params.goal", "a name of 2001 characters, at most 2000"),
        ({"goal": ["a", "x" * 2001]}, "params.goal", "a name of 2001 characters, at most 2000"),
        ({"goal": "a", "inputs": {str(n): n for n in range(257)}}, "params.inputs", "257 values, at most 256"),
        ({"goal": "a", "inputs": None}, "params.inputs", "an object"),
        ({"goal": "a", "budget": {"steps": 0.5}}, "params.budget.steps", "whole number"),
        ({"goal": "a", "budget": {"steps": 1.5}}, "params.budget.steps", "whole number"),
    ],
)
def test_a_goal_that_cannot_be_planned_is_refused_by_field(params: dict[str, Any], field: str, words: str):
    with pytest.raises(InvalidInputError, match=words) as caught:
        read_goal(params, SETTINGS)
    assert [error.field for error in caught.value.errors] == [field]


@pytest.mark.parametrize(
    "params",
    [
        {"goal": "a"},
        {"goal": " " + "x" * MAX_NAME + " "},
        {"goal": ["a"] * MAX_NAMES, "inputs": {str(n): n for n in range(MAX_INPUTS)}, "budget": {"steps": 2.0}},
    ],
)
def test_the_bounds_themselves_are_allowed(params: dict[str, Any]):
    policy, budget = read_goal(params, SETTINGS)
    assert policy == {}
    assert budget["steps"] == params.get("budget", {}).get("steps", SETTINGS.max_plan_steps)


TEXTS = st.text(max_size=3) | st.integers(1998, 2003).map("x".__mul__)
GOALS = TEXTS | st.lists(TEXTS, max_size=34) | st.integers() | st.none() | st.lists(st.integers() | st.text())
INPUTS = st.dictionaries(st.text(max_size=3), st.integers(), max_size=3)


@given(GOALS, INPUTS, st.floats(0, 20))
def test_what_is_let_in_is_what_the_planner_takes(goal: Any, inputs: dict[str, int], steps: float):
    given_params = {"goal": goal, "inputs": inputs, "budget": {"steps": steps}}
    try:
        _, budget = read_goal(given_params, SETTINGS)
    except InvalidInputError:
        return
    PlanTaskRequest.model_validate({"goal": goal, "inputs": inputs, "max_steps": int(budget["steps"])})
