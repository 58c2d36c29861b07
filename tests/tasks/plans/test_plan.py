from dataclasses import replace

import pytest

from seedcore.errors import InvalidInputError
from seedcore.tasks.plans.plan import INPUTS, PlanDefinition, Step, reference, validate_plan
from tests.cognitive.engines.offline.test_planner import WEB

FETCH = Step("s1", "http.fetch", {"url": reference(INPUTS, "url")})
SUMMARIZE = Step("s2", "text.summarize", {"text": reference("s1", "text"), "sentences": 2}, ("s1",))
GOOD = PlanDefinition((FETCH, SUMMARIZE), {"summary": reference("s2", "summary")}, {"url": "http://x/"})


def test_a_good_plan_passes():
    validate_plan(GOOD, WEB)


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        (replace(GOOD, steps=(FETCH, replace(SUMMARIZE, id="s1"))), "steps.1.id"),
        (replace(GOOD, steps=(replace(FETCH, id=INPUTS), SUMMARIZE)), "steps.0.id"),
        (replace(GOOD, steps=(replace(FETCH, skill="no.such"), SUMMARIZE)), "steps.0.skill"),
        (replace(GOOD, steps=(SUMMARIZE, FETCH)), "steps.0.params.text"),
        (replace(GOOD, steps=(replace(FETCH, params={}), SUMMARIZE)), "steps.0.params.url"),
        (replace(GOOD, steps=(replace(FETCH, params={"url": 5}), SUMMARIZE)), "steps.0.params.url"),
        (
            replace(GOOD, steps=(FETCH, replace(SUMMARIZE, params={"text": reference("s1", "status")}))),
            "steps.1.params.text",
        ),
        (
            replace(GOOD, steps=(FETCH, replace(SUMMARIZE, params={"text": reference("s9", "x")}))),
            "steps.1.params.text",
        ),
        (replace(GOOD, steps=(FETCH, replace(SUMMARIZE, params={"text": {"$from": "s1"}}))), "steps.1.params.text"),
        (
            replace(GOOD, steps=(FETCH, replace(SUMMARIZE, params=SUMMARIZE.params | {"colour": 1}))),
            "steps.1.params.colour",
        ),
        (replace(GOOD, steps=(FETCH, replace(SUMMARIZE, needs=()))), "steps.1.needs"),
        (replace(GOOD, steps=(replace(FETCH, needs=("s2",)), SUMMARIZE)), "steps.0.needs"),
        (replace(GOOD, output={"summary": reference("s2", "nothing")}), "output.summary"),
        (replace(GOOD, inputs={}), "steps.0.params.url"),
        (replace(GOOD, inputs={"url": None}), "steps.0.params.url"),
    ],
)
def test_what_does_not_hold_is_named(plan: PlanDefinition, field: str):
    with pytest.raises(InvalidInputError) as caught:
        validate_plan(plan, WEB)
    assert field in [e.field for e in caught.value.errors]


def test_a_plan_has_at_least_one_step_and_at_most_so_many():
    validate_plan(GOOD, WEB, max_steps=2)
    for plan, most in ((GOOD, 1), (replace(GOOD, steps=(), output={}), 2)):
        with pytest.raises(InvalidInputError) as caught:
            validate_plan(plan, WEB, max_steps=most)
        assert "steps" in [e.field for e in caught.value.errors]
