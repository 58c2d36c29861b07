"""`context.llm`: a skill asks the model within its plan's budget, and what it used is what its attempt spent."""

import uuid
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from seedcore.errors import InvalidInputError
from seedcore.llm.model_errors import BudgetExceededError, LlmNotConfiguredError, ModelAnswerError
from seedcore.llm.skill_models import HostModels
from seedcore.memory.working.working_memory import WorkingMemory
from seedcore.settings import Settings, load_settings
from seedcore.skills import SkillContext
from seedcore.stores.postgres import Database
from tests.support.scripted_model import ModelTurn, ScriptedModel

PRICES = {"scripted-1": {"input": 1_000_000, "output": 1_000_000}}


class Mood(BaseModel):
    mood: str


class Spent:
    def __init__(self) -> None:
        self.usage: tuple[float, float] | None = None


@pytest.fixture
async def make_models(llm_settings: Settings, model: ScriptedModel) -> AsyncIterator[Callable[..., HostModels]]:
    made: list[HostModels] = []
    kept: list[WorkingMemory] = []

    def make(**more: Any) -> HostModels:
        base = {"data_dir": llm_settings.data_dir, "pg_dsn": llm_settings.pg_dsn, **model.settings(), **more}
        settings = load_settings(**base)
        kept.append(WorkingMemory(settings))
        made.append(HostModels(settings, kept[-1]))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()
    for memory in kept:
        await memory.close()


def context_of(models: HostModels | None, meter: Spent, task_id: str | None = None) -> SkillContext:
    clients: Any = None if models is None else SimpleNamespace(models=models)
    task = task_id or str(uuid.uuid4())
    return SkillContext(task, 1, 1, "key", None, clients=clients, meter=meter, tenant="acme")


async def test_a_skill_gets_text_or_a_model_and_its_attempt_pays(
    make_models: Callable[..., HostModels], model: ScriptedModel
):
    models, meter = make_models(llm_prices=PRICES), Spent()
    model.say(ModelTurn("fine"), ModelTurn({"mood": "good"}))
    context = context_of(models, meter)
    answer = await context.llm.complete("How are you?", system="Be honest.")
    assert (answer.text, answer.model, answer.money) == ("fine", "scripted-1", 15)
    assert meter.usage == (15, 15)
    assert (await context.llm.complete("Again?", output=Mood)).output == Mood(mood="good")
    assert meter.usage == (30, 30)


async def test_a_skill_that_asks_for_it_gets_an_earlier_answer_at_no_cost(
    make_models: Callable[..., HostModels], model: ScriptedModel
):
    models, meter = make_models(llm_prices=PRICES), Spent()
    model.say(ModelTurn("fine"), ModelTurn("better"))
    context = context_of(models, meter)
    answers = [await context.llm.complete("How are you?", keep_s=60) for _ in range(3)]
    assert [answer.text for answer in answers] == ["fine"] * 3
    assert meter.usage == (15, 15)
    assert (await context.llm.complete("How are you?")).text == "better"


async def test_a_step_is_held_to_what_is_left_of_its_plans_budget(
    make_models: Callable[..., HostModels], model: ScriptedModel, llm_settings: Settings
):
    parent = uuid.uuid4()
    database = Database(llm_settings)
    async with database.connection() as connection:
        step = await connection.fetchval("select seedcore.enqueue('echo', '{}')")
        await connection.execute("update seedcore.tasks set parent_id = $2 where id = $1", step, parent)
        budget = '{"tokens": 400, "money": 5}'
        await connection.execute("insert into seedcore.plans (id, budget) values ($1, $2)", parent, budget)
    await database.aclose()
    models, meter = make_models(), Spent()
    context = context_of(models, meter, str(step))
    await context.llm.complete("Short?", max_tokens=20)
    with pytest.raises(BudgetExceededError) as caught:
        await context.llm.complete("Long?", max_tokens=400)
    assert caught.value.extra["budget"] == "plan"
    assert len(model.requests) == 1
    assert meter.usage == (15, 0)
    rows = {row.kind: row.name for row in await models._client._caller.budgets.spent(str(parent))}
    assert rows == {"plan": str(parent), "tenant": "acme", "day": "all"}


async def test_what_failed_after_an_answer_is_paid_for(make_models: Callable[..., HostModels], model: ScriptedModel):
    model.say(ModelTurn("no mood"))
    meter = Spent()
    context = context_of(make_models(), meter)
    with pytest.raises(ModelAnswerError, match="not what was asked for") as caught:
        await context.llm.complete("How are you?", output=Mood)
    assert caught.value.extra == {
        "model": "scripted-1",
        "usage": {"calls": 1, "input_tokens": 10, "output_tokens": 5, "money": 0.0},
    }
    assert meter.usage == (15, 0)


async def test_without_a_model_the_error_says_what_to_set(make_models: Callable[..., HostModels]):
    with pytest.raises(LlmNotConfiguredError, match="LLM_PROVIDER"):
        await context_of(make_models(llm_provider="none"), Spent()).llm.complete("Hi")


async def test_an_unknown_profile_names_the_known_ones(make_models: Callable[..., HostModels]):
    with pytest.raises(InvalidInputError, match="fast or deep"):
        await context_of(make_models(), Spent()).llm.complete("Hi", profile="slow")


async def test_a_skill_in_a_process_has_no_model():
    with pytest.raises(RuntimeError, match="without clients"):
        await context_of(None, Spent()).llm.complete("Hi")
