"""Params against a skill's model: before a task is stored, and when an attempt begins."""

import pytest
from pydantic import BaseModel, field_validator

from seedcore.errors import InvalidInputError, from_problem, problem
from seedcore.skills import SkillContext, skill
from seedcore.skills.params_validation import InvalidParamsError, read_params, validate_params
from seedcore.skills.skill_decorator import MARK, SkillSpec


class Amount(BaseModel):
    value: int

    @field_validator("value")
    @classmethod
    def _look_up(cls, value: int) -> int:
        return {1: 1, 2**63: 2**63}[value]


@skill("acme.amount")
async def amount(params: Amount, context: SkillContext) -> Amount:
    return params


@pytest.fixture
def spec() -> SkillSpec:
    return getattr(amount, MARK)


def test_values_and_their_json_text_give_the_same_params(spec: SkillSpec):
    assert validate_params(spec, {"value": 1}) == read_params(spec, '{"value": 1}') == Amount(value=1)


def test_both_report_the_same_wrong_fields(spec: SkillSpec):
    with pytest.raises(InvalidParamsError) as stored:
        validate_params(spec, {"value": "x"})
    with pytest.raises(InvalidParamsError) as attempted:
        read_params(spec, '{"value": "x"}')
    assert [e.field for e in stored.value.errors] == [e.field for e in attempted.value.errors] == ["params.value"]
    assert stored.value.detail == attempted.value.detail
    assert stored.value.detail.startswith("params do not fit the skill 'acme.amount': params.value: ")


def test_text_that_is_not_json_names_the_params(spec: SkillSpec):
    with pytest.raises(InvalidParamsError, match="JSON") as caught:
        read_params(spec, "{")
    assert [e.field for e in caught.value.errors] == ["params"]


def test_what_a_validator_raises_refuses_a_new_task_and_fails_an_attempt(spec: SkillSpec):
    with pytest.raises(InvalidParamsError, match=r"cannot check them: it raised KeyError"):
        validate_params(spec, {"value": 2})
    with pytest.raises(KeyError):
        read_params(spec, '{"value": 2}')


def test_over_the_wire_it_is_invalid_input(spec: SkillSpec):
    with pytest.raises(InvalidInputError) as caught:
        validate_params(spec, {})
    document = problem(caught.value)
    assert (document["code"], document["status"]) == ("invalid_input", 422)
    assert type(from_problem(document)) is InvalidInputError
