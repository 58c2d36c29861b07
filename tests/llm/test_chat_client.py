"""The client: text, structured output, tools; answers that are not what was asked for; what a question used in all."""

import asyncio
import json
import threading
from typing import Any

import pytest
from pydantic import BaseModel, Field

from seedcore.errors import DeadlineError, InvalidInputError, UnavailableError
from seedcore.llm.budget_scope import BudgetScope
from seedcore.llm.chat_types import ChatMessage, ChatRequest, ChatTool
from seedcore.llm.model_errors import BudgetExceededError, ModelAnswerError, ModelRefusedError
from tests.llm.conftest import MakeClient
from tests.support.scripted_model import ModelTurn, ScriptedModel

ASK = (ChatMessage("user", "Where is the Louvre?"),)


class City(BaseModel):
    name: str
    people: int = Field(ge=0)


class Place(BaseModel):
    city: str


async def test_a_question_with_instructions_is_answered_in_text(model: ScriptedModel, make_client: MakeClient):
    model.say(ModelTurn("In Paris."))
    prices = {"scripted-1": {"input": 1_000_000, "output": 1_000_000}}
    answer = await make_client(llm_prices=prices).complete(
        ChatRequest([ChatMessage("system", "Be short."), *ASK], max_tokens=50, temperature=0)
    )
    assert (answer.text, answer.output, answer.model) == ("In Paris.", None, "scripted-1")
    assert (answer.usage, answer.money, answer.priced, answer.rounds) == ((10, 5), 15, True, 1)
    sent = model.requests[0]
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert (sent["max_tokens"], sent["temperature"]) == (50, 0)


async def test_a_model_without_a_price_costs_nothing_and_says_so(model: ScriptedModel, make_client: MakeClient):
    answer = await make_client().complete(ChatRequest(ASK))
    assert (answer.money, answer.priced) == (0, False)


async def test_an_answer_fits_the_model_class_that_was_asked_for(model: ScriptedModel, make_client: MakeClient):
    model.say(ModelTurn({"name": "Paris", "people": 2_100_000}))
    answer = await make_client().complete(ChatRequest(ASK, output_type=City))
    assert answer.output == City(name="Paris", people=2_100_000)
    assert json.loads(answer.text) == {"name": "Paris", "people": 2_100_000}
    asked_for = model.requests[0]["response_format"]
    assert asked_for["type"] == "json_schema"
    assert set(asked_for["json_schema"]["schema"]["properties"]) == {"name", "people"}


async def test_a_wrong_answer_goes_back_with_the_errors(model: ScriptedModel, make_client: MakeClient):
    model.say(ModelTurn({"name": "Paris", "people": -1}), ModelTurn({"name": "Paris", "people": 1}))
    answer = await make_client().complete(ChatRequest(ASK, output_type=City, repairs=1))
    assert answer.output == City(name="Paris", people=1)
    assert (answer.usage, answer.rounds) == ((20, 10), 2)
    assert "people" in json.dumps(model.requests[1]["messages"][-1])


@pytest.mark.parametrize("text", ["", "no JSON", '{"name": "Par', '{"name": 1, "people": "x"}', "[" * 5000, "null"])
async def test_an_answer_that_stays_wrong_is_an_error(model: ScriptedModel, make_client: MakeClient, text: str):
    model.say(ModelTurn(text))
    with pytest.raises(ModelAnswerError) as caught:
        await make_client().complete(ChatRequest(ASK, output_type=City, repairs=1))
    assert len(caught.value.detail) < 1000
    assert len(model.requests) <= 2


async def test_a_reply_without_choices_is_an_error(model: ScriptedModel, make_client: MakeClient):
    for raw in (b"{}", b'{"choices": []}', b'{"choices": null}', b'{"choices": [{"message": 7}]}', b'{"choices": {}}'):
        model.say(ModelTurn(raw=raw))
        with pytest.raises(ModelAnswerError):
            await make_client().complete(ChatRequest(ASK))


def people_of(asked: list[str]) -> ChatTool:
    async def call(place: Place) -> dict[str, Any]:
        asked.append(place.city)
        return {"people": 2_100_000}

    return ChatTool("people_of", "How many people live there.", Place, call)


async def test_a_tool_is_called_and_its_result_shown(model: ScriptedModel, make_client: MakeClient):
    asked: list[str] = []
    model.say(ModelTurn(tool_calls=[("people_of", {"city": "Paris"})]), ModelTurn("2.1 million."))
    answer = await make_client().complete(ChatRequest(ASK, tools=[people_of(asked)]))
    assert (answer.text, answer.rounds, asked) == ("2.1 million.", 2, ["Paris"])
    assert "2100000" in json.dumps(model.requests[1]["messages"])


async def test_a_model_that_calls_tools_without_end_is_stopped(model: ScriptedModel, make_client: MakeClient):
    asked: list[str] = []
    model.say(ModelTurn(tool_calls=[("people_of", {"city": "Paris"})]))
    with pytest.raises(ModelAnswerError, match="4 calls"):
        await make_client().complete(ChatRequest(ASK, tools=[people_of(asked)], max_rounds=4))
    assert len(model.requests) == 4


@pytest.mark.parametrize("call", [("people_of", {"town": 1}), ("people_of", "no JSON"), ("drop_tables", {})])
async def test_a_wrong_call_of_a_tool_reaches_no_function(
    model: ScriptedModel, make_client: MakeClient, call: tuple[str, Any]
):
    asked: list[str] = []
    model.say(ModelTurn(tool_calls=[call]))
    with pytest.raises(ModelAnswerError):
        await make_client().complete(ChatRequest(ASK, tools=[people_of(asked)], repairs=1, max_rounds=4))
    assert asked == []


async def test_each_round_is_paid_for_before_it_is_sent(model: ScriptedModel, make_client: MakeClient):
    model.say(ModelTurn(tool_calls=[("people_of", {"city": "Paris"})], usage=(600, 300)))
    used: list[tuple[int, int, float]] = []
    client = make_client(llm_budget_plan_tokens=1400)
    with pytest.raises(BudgetExceededError):
        await client.complete(
            ChatRequest(
                ASK,
                tools=[people_of([])],
                max_tokens=50,
                budget=BudgetScope("plan-1"),
                used=lambda *one: used.append(one),
            )
        )
    assert len(model.requests) == 1
    assert used == [(600, 300, 0.0)]


async def test_errors_of_the_server_are_its_own(model: ScriptedModel, make_client: MakeClient):
    client = make_client(llm_retries=0)
    for turn, kind in ((ModelTurn(status=500), UnavailableError), (ModelTurn("no", status=400), ModelRefusedError)):
        model.say(turn)
        with pytest.raises(kind):
            await client.complete(ChatRequest(ASK))


async def test_all_rounds_have_one_deadline(model: ScriptedModel, make_client: MakeClient):
    model.say(ModelTurn(tool_calls=[("people_of", {"city": "Paris"})]), ModelTurn(wait=threading.Event()))
    with pytest.raises(DeadlineError):
        await make_client().complete(ChatRequest(ASK, tools=[people_of([])], timeout_s=1.0))


async def test_questions_at_once_keep_their_own_sums(model: ScriptedModel, make_client: MakeClient):
    model.say(lambda body: ModelTurn("x", usage=(len(body["messages"][-1]["content"]), 1)))
    client = make_client()
    answers = await asyncio.gather(
        *(client.complete(ChatRequest([ChatMessage("user", "y" * size)])) for size in range(1, 9))
    )
    assert [answer.usage.input_tokens for answer in answers] == list(range(1, 9))


async def test_the_last_message_is_the_users(model: ScriptedModel, make_client: MakeClient):
    for messages in ([], [ChatMessage("system", "x")]):
        with pytest.raises(InvalidInputError):
            await make_client().complete(ChatRequest(messages))
