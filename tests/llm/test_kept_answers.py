"""An answer is given again where the request asks for it, to the same question of the same tenant, at no cost."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from pydantic import BaseModel

from seedcore.llm import kept_answers
from seedcore.llm.budget_scope import BudgetScope
from seedcore.llm.chat_types import ChatAnswer, ChatMessage, ChatRequest
from seedcore.llm.kept_answers import kept_answer
from seedcore.llm.model_errors import BudgetExceededError
from seedcore.llm.prices import ModelUsage
from seedcore.memory.working.working_memory import WorkingMemory
from seedcore.settings import load_settings


class Verdict(BaseModel):
    good: bool


class Model:
    """Answers every question the same, and counts; a tenant `poor` has no budget left."""

    def __init__(self) -> None:
        self.calls = 0

    async def ask(self, request: ChatRequest) -> ChatAnswer:
        await asyncio.sleep(0)
        if request.budget.plan == "spent":
            raise BudgetExceededError("the plan's budget is spent")
        self.calls += 1
        made = None if request.output_type is None else Verdict(good=True)
        text = "yes" if made is None else made.model_dump_json()
        return ChatAnswer(text, made, "small", ModelUsage(10, 2), 0.5, True, 1)


@pytest.fixture
async def cache() -> AsyncIterator[WorkingMemory]:
    made = WorkingMemory(load_settings())
    yield made
    await made.close()


ASKED = ChatRequest([ChatMessage("user", "Is it good?")], keep_s=60)


async def test_the_same_question_is_paid_once(cache: WorkingMemory) -> None:
    model = Model()
    first = await kept_answer(cache, ASKED, "m", model.ask)
    again = await kept_answer(cache, ASKED, "m", model.ask)
    assert (first.kept, first.money, first.usage) == (False, 0.5, ModelUsage(10, 2))
    assert (again.kept, again.text, again.money, again.usage, again.model) == (True, "yes", 0, ModelUsage(), "small")
    typed = replace(ASKED, output_type=Verdict)
    outputs = [(await kept_answer(cache, typed, "m", model.ask)).output for _ in range(2)]
    assert outputs == [Verdict(good=True)] * 2
    assert model.calls == 2


async def test_an_answer_that_is_older_than_the_request_allows_is_not_given(
    cache: WorkingMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, now = Model(), 1000.0
    monkeypatch.setattr(kept_answers.time, "time", lambda: now)
    await kept_answer(cache, ASKED, "m", model.ask)
    now += 30
    assert (await kept_answer(cache, ASKED, "m", model.ask)).kept
    assert not (await kept_answer(cache, replace(ASKED, keep_s=10), "m", model.ask)).kept
    assert (await kept_answer(cache, replace(ASKED, keep_s=10), "m", model.ask)).kept
    assert model.calls == 2


async def test_another_question_tenant_or_model_is_asked(cache: WorkingMemory) -> None:
    model = Model()
    others = [
        ASKED,
        replace(ASKED, budget=BudgetScope(tenant="acme")),
        replace(ASKED, messages=[ChatMessage("system", "Is it good?")]),
        replace(ASKED, temperature=0.5),
        replace(ASKED, max_tokens=5),
    ]
    for request in others:
        assert not (await kept_answer(cache, request, "m", model.ask)).kept
    assert not (await kept_answer(cache, ASKED, "other", model.ask)).kept
    assert model.calls == 6


async def test_one_whose_budget_is_spent_does_not_stop_another_that_asks_the_same(cache: WorkingMemory) -> None:
    model = Model()
    poor = replace(ASKED, budget=BudgetScope(plan="spent"))
    refused, answered = await asyncio.gather(
        kept_answer(cache, poor, "m", model.ask), kept_answer(cache, ASKED, "m", model.ask), return_exceptions=True
    )
    assert isinstance(refused, BudgetExceededError)
    assert isinstance(answered, ChatAnswer)
    assert answered.text == "yes"
