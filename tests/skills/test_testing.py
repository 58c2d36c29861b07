"""`run_skill`: what a test sees is what a host would do."""

import json

import pytest
from pydantic import BaseModel, ValidationError

from seedcore.skills import SkillContext, SkillError, skill
from seedcore.skills.testing import DictMemory, run_skill


class Number(BaseModel):
    value: float


@skill("t.double")
async def double(params: Number, context: SkillContext) -> Number:
    assert context.memory is not None
    seen = await context.memory.get("seen", 0)
    await context.memory.set("seen", seen + 1)
    return Number(value=2 * params.value + context.attempt - 1)


@skill("t.blocking")
def blocking(params: Number, context: SkillContext) -> Number:
    assert context.memory is not None
    return Number(value=params.value + context.run(context.memory.get("seen", 0)))


@skill("t.busy", process=True)
def busy(params: Number, context: SkillContext) -> Number:
    assert context.memory is None
    assert context.clients is None
    return Number(value=-params.value)


def test_each_kind_runs_and_gives_json():
    memory = DictMemory()
    assert run_skill(double, {"value": 2}, memory=memory) == {"value": 4.0}
    assert run_skill(double, {"value": 2}, memory=memory, attempt=3) == {"value": 6.0}
    assert memory.values == {"seen": 2}
    assert run_skill(blocking, {"value": 2}, memory=memory) == {"value": 4.0}
    assert json.dumps(run_skill(busy, {"value": 2})) == '{"value": -2.0}'


def test_params_that_do_not_fit_and_functions_that_are_none_are_refused():
    with pytest.raises(ValidationError):
        run_skill(double, {"valeu": 2})
    with pytest.raises(TypeError, match="not a skill"):
        run_skill(print, {})


def test_a_result_that_does_not_come_back_as_it_went_is_found():
    class Odd(BaseModel):
        value: int

        def model_dump_json(self, **_: object) -> str:
            return '{"value": "much"}'

    @skill("t.odd")
    async def odd(params: Number, context: SkillContext) -> Odd:
        return Odd(value=1)

    with pytest.raises(ValidationError):
        run_skill(odd, {"value": 1})


def test_a_result_that_a_host_refuses_is_refused_here():
    @skill("t.nan")
    async def nan(params: Number, context: SkillContext) -> Number:
        return Number(value=float("nan"))

    with pytest.raises(SkillError, match="not finite"):
        run_skill(nan, {"value": 1})
