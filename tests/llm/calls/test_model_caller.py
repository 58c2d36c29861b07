"""The one way to a model: budgets, retries, time-outs, turns, breaker, and whatever a server may answer."""

import asyncio
import json
import threading
import time
from typing import Any

import pytest

from seedcore.errors import DeadlineError, OverloadedError, SeedCoreError, UnavailableError
from seedcore.llm.budget_scope import BudgetScope
from seedcore.llm.calls.model_caller import ModelCaller
from seedcore.llm.model_errors import (
    BudgetExceededError,
    LlmNotConfiguredError,
    ModelAnswerError,
    ModelRefusedError,
)
from tests.llm.conftest import MakeCaller
from tests.support.scripted_model import ModelTurn, ScriptedModel

SCOPE = BudgetScope()
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20}
PRICES = {"scripted-1": {"input": 1_000_000, "output": 1_000_000}}


async def spent(caller: ModelCaller) -> tuple[float, float, int]:
    rows = {row.kind: row for row in await caller.budgets.spent()}
    return (rows["day"].tokens, rows["day"].money, rows["day"].calls) if rows else (0, 0, 0)


async def test_an_answer_is_settled_at_what_it_used(model: ScriptedModel, make_caller: MakeCaller):
    caller = make_caller(llm_prices=PRICES)
    reply = await caller.chat(ASK, SCOPE)
    assert reply.body["choices"][0]["message"]["content"] == "ok"
    assert (reply.model, reply.usage, reply.money, reply.priced) == ("scripted-1", (10, 5), 15.0, True)
    assert await spent(caller) == (15, 15.0, 1)


async def test_an_answer_without_usage_costs_what_was_reserved(model: ScriptedModel, make_caller: MakeCaller):
    caller = make_caller()
    model.say(ModelTurn(usage=None), ModelTurn(usage=(-5, 5)), ModelTurn(usage=(10**30, 1)))
    for _ in range(3):
        reply = await caller.chat(ASK, SCOPE)
        assert reply.usage is None
    tokens, _, calls = await spent(caller)
    assert calls == 3
    assert 3 * 20 < tokens < 3 * 300


async def test_over_budget_nothing_is_sent(model: ScriptedModel, make_caller: MakeCaller):
    caller = make_caller(llm_budget_day_tokens=10)
    with pytest.raises(BudgetExceededError):
        await caller.chat(ASK, SCOPE)
    with pytest.raises(BudgetExceededError):
        await caller.open_stream(ASK, SCOPE)
    assert model.requests == []


async def test_aliases_and_an_absent_name_are_models_of_the_settings(model: ScriptedModel, make_caller: MakeCaller):
    caller = make_caller(llm_model="small", llm_model_deep="large")
    for name in ("fast", "deep", None, "other"):
        await caller.chat({**ASK, "model": name}, SCOPE)
    assert [request["model"] for request in model.requests] == ["small", "large", "small", "other"]


async def test_without_a_name_in_the_settings_the_servers_only_model_is_asked(
    model: ScriptedModel, make_caller: MakeCaller
):
    assert (await make_caller().chat(ASK, SCOPE)).model == "scripted-1"
    model.models = ["a", "b"]
    with pytest.raises(LlmNotConfiguredError, match="a, b"):
        await make_caller().chat(ASK, SCOPE)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_server_that_recovers_is_asked_again(model: ScriptedModel, make_caller: MakeCaller, status: int):
    caller = make_caller()
    model.say(ModelTurn(status=status), ModelTurn("again"))
    assert (await caller.chat(ASK, SCOPE)).body["choices"][0]["message"]["content"] == "again"
    assert await spent(caller) == (15, 0, 2)


async def test_retries_end(model: ScriptedModel, make_caller: MakeCaller):
    caller = make_caller(llm_retries=1)
    model.say(ModelTurn("down for maintenance", status=503))
    with pytest.raises(UnavailableError, match="down for maintenance"):
        await caller.chat(ASK, SCOPE)
    assert len(model.requests) == 2
    assert (await spent(caller))[0] == 0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_a_refusal_is_final_and_quotes_no_key(model: ScriptedModel, make_caller: MakeCaller, status: int):
    caller = make_caller(llm_api_key="sk-hidden")
    model.say(ModelTurn("Incorrect API key provided: sk-hidden", status=status))
    with pytest.raises(ModelRefusedError) as caught:
        await caller.chat(ASK, SCOPE)
    assert caught.value.extra["upstream_status"] == status
    assert "sk-hidden" not in f"{caught.value!r} {caught.value.detail}"
    assert len(model.requests) == 1
    assert model.headers[0]["authorization"] == "Bearer sk-hidden"


async def test_a_slow_model_is_given_up_and_its_reservation_stays(model: ScriptedModel, make_caller: MakeCaller):
    caller = make_caller(llm_timeout_s=0.4)
    model.say(ModelTurn(wait=threading.Event()))
    began = time.monotonic()
    with pytest.raises(DeadlineError):
        await caller.chat(ASK, SCOPE)
    assert time.monotonic() - began < 5
    assert len(model.requests) == 1
    assert (await spent(caller))[0] > 20


BAD: dict[str, tuple[ModelTurn, type[SeedCoreError]]] = {
    "nonsense": (ModelTurn(raw=b"I am a teapot"), ModelAnswerError),
    "half a JSON": (ModelTurn(raw=b'{"choices": [{"message"'), ModelAnswerError),
    "a list": (ModelTurn(raw=b"[]"), ModelAnswerError),
    "deep": (ModelTurn(raw=b"[" * 100_000), ModelAnswerError),
    "10 MB": (ModelTurn("x" * 10_000_000), ModelAnswerError),
    "no UTF-8": (ModelTurn(raw=b"\xff\xfe"), ModelAnswerError),
    "broken off": (ModelTurn("x" * 1000, cut_after=1), UnavailableError),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_answers_are_clear_errors(model: ScriptedModel, make_caller: MakeCaller, case: str):
    turn, error = BAD[case]
    caller = make_caller(llm_retries=0)
    model.say(turn)
    with pytest.raises(error):
        await caller.chat(ASK, SCOPE)
    # It was answered in part: that is not free.
    assert (await spent(caller))[0] > 20


async def test_the_breaker_opens_after_failures_and_closes_after_a_probe(
    model: ScriptedModel, make_caller: MakeCaller, monkeypatch: pytest.MonkeyPatch
):
    caller = make_caller(llm_retries=0)
    model.say(*[ModelTurn(status=500)] * 5, ModelTurn("back"))
    for _ in range(5):
        with pytest.raises(UnavailableError):
            await caller.chat(ASK, SCOPE)
    with pytest.raises(UnavailableError, match="in sequence") as caught:
        await caller.chat(ASK, SCOPE)
    assert caught.value.retry_after_s
    assert len(model.requests) == 5
    gate = caller.health()["models"]["scripted-1"]  # type: ignore[index]
    assert gate["breaker_open"]
    monkeypatch.setattr("seedcore.llm.calls.model_gate.OPEN_S", 0.0)
    assert (await caller.chat(ASK, SCOPE)).body["choices"][0]["message"]["content"] == "back"
    await caller.chat(ASK, SCOPE)
    assert not caller.health()["models"]["scripted-1"]["breaker_open"]  # type: ignore[index]


async def test_no_more_calls_are_open_than_the_settings_allow(model: ScriptedModel, make_caller: MakeCaller):
    caller = make_caller(llm_concurrency=3)
    await asyncio.gather(*(caller.chat(ASK, SCOPE) for _ in range(30)))
    assert len(model.requests) == 30
    assert model.most_at_once <= 3


async def test_too_many_that_wait_are_turned_away(model: ScriptedModel, make_caller: MakeCaller):
    caller = make_caller(llm_concurrency=1, llm_retries=0)
    hold = threading.Event()
    model.say(ModelTurn(wait=hold))
    calls = [asyncio.create_task(caller.chat(ASK, SCOPE)) for _ in range(20)]
    for _ in range(3):
        # One is asked, sixteen wait.
        done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        calls = [one for one in calls if one not in done]
        assert all(isinstance(one.exception(), OverloadedError) for one in done)
        if len(calls) == 17:
            break
    hold.set()
    await asyncio.gather(*calls)
    assert (await caller.chat(ASK, SCOPE)).body


async def test_a_stream_arrives_piece_by_piece_and_is_settled(model: ScriptedModel, make_caller: MakeCaller):
    caller = make_caller(llm_prices=PRICES)
    model.say(ModelTurn("one two three", pieces=3))
    call = await caller.open_stream(ASK, SCOPE)
    found = [json.loads(event) async for event in call.events()]
    text = "".join(c["delta"].get("content", "") for event in found for c in event["choices"])
    assert text == "one two three"
    assert call.usage == (10, 5)
    assert await spent(caller) == (15, 15.0, 1)
    assert model.requests[0]["stream_options"] == {"include_usage": True}


async def test_a_stream_that_breaks_off_is_not_repeated(model: ScriptedModel, make_caller: MakeCaller):
    caller = make_caller()
    model.say(ModelTurn("one two three", pieces=3, cut_after=2))
    call = await caller.open_stream(ASK, SCOPE)
    events = call.events()
    found = [await anext(events), await anext(events)]
    with pytest.raises(UnavailableError):
        await anext(events)
    assert all(b"chunk" in event for event in found)
    assert len(model.requests) == 1
    assert (await spent(caller))[0] > 20


async def test_a_stream_that_is_left_lets_the_next_call_go(model: ScriptedModel, make_caller: MakeCaller):
    caller = make_caller(llm_concurrency=1)
    call = await caller.open_stream(ASK, SCOPE)
    await anext(call.events())
    await call.aclose()
    await call.aclose()
    assert (await caller.chat(ASK, SCOPE)).usage == (10, 5)


async def test_a_cancelled_call_lets_the_next_one_go(model: ScriptedModel, make_caller: MakeCaller):
    caller = make_caller(llm_concurrency=1)
    hold = threading.Event()
    model.say(ModelTurn(wait=hold), ModelTurn())
    first = asyncio.create_task(caller.chat(ASK, SCOPE))
    await asyncio.to_thread(model.until, 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await caller.chat(ASK, SCOPE)).usage == (10, 5)


async def test_embeddings_are_settled_too(model: ScriptedModel, make_caller: MakeCaller):
    caller = make_caller()
    reply = await caller.embeddings({"input": ["a", "bb"]}, SCOPE)
    assert [item["embedding"][0] for item in reply.body["data"]] == [1.0, 2.0]
    assert await spent(caller) == (2, 0, 1)


async def test_a_client_of_the_facade_sends_its_scope_and_reserves_nothing(
    model: ScriptedModel, make_caller: MakeCaller
):
    host, port = model.url.removeprefix("http://").removesuffix("/v1").split(":")
    caller = make_caller(llm_provider="mlservice", http_host=host, http_port=int(port), api_keys="internal")
    scope = BudgetScope("p-1", tenant="acme", plan_tokens=100)
    await caller.chat({**ASK, "model": "deep"}, scope)
    assert BudgetScope.from_headers(model.headers[0]) == scope
    assert model.headers[0]["authorization"] == "Bearer internal"
    assert model.requests[0]["model"] == "deep"
    assert await spent(caller) == (0, 0, 0)


@pytest.mark.parametrize(("provider", "name"), [("openai", "max_completion_tokens"), ("ollama", "max_tokens")])
async def test_the_maximum_of_tokens_has_the_name_that_the_server_heeds(
    model: ScriptedModel, make_caller: MakeCaller, provider: str, name: str
):
    caller = make_caller(llm_provider=provider, llm_model="m", llm_api_key="k", llm_max_tokens=77)
    for body in (ASK, {**ASK, "max_tokens": None, "max_completion_tokens": 20}, {"messages": ASK["messages"]}):
        await caller.chat(body, SCOPE)
    given = [{k: v for k, v in request.items() if k.startswith("max_")} for request in model.requests]
    assert given == [{name: 20}, {name: 20}, {name: 77}]
