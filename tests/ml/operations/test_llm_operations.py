"""The facade of language models, over HTTP, with the official client and a scripted server behind it."""

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from seedcore.llm.embedding.word_embedder import WordEmbedder
from seedcore.ml.service import MLService
from seedcore.settings import Settings, load_settings
from tests.ml.support import started_service
from tests.support.scripted_model import MODEL, ModelTurn, ScriptedModel, scripted_model

pytestmark = pytest.mark.integration

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with scripted_model() as model:
        yield model


@pytest.fixture
async def facade(pg_settings: Settings, model: ScriptedModel) -> AsyncIterator[httpx.AsyncClient]:
    given = {"llm_provider": "mlservice", "llm_upstream_url": model.url, "llm_retries": 1, "llm_model_deep": "deep-1"}
    async for http in served(pg_settings, given):
        yield http


@pytest.fixture
async def bare(pg_settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A facade without a language model's server."""
    async for http in served(pg_settings, {"llm_provider": "mlservice"}):
        yield http


async def served(settings: Settings, given: dict[str, Any]) -> AsyncIterator[httpx.AsyncClient]:
    assert settings.pg_dsn is not None
    given = load_settings(data_dir=settings.data_dir, pg_dsn=settings.pg_dsn.get_secret_value(), **given)
    async with started_service(given) as service:
        transport = httpx.ASGITransport(service.build_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            yield http


@pytest.fixture
def client(facade: httpx.AsyncClient) -> openai.AsyncOpenAI:
    return official(facade)


def official(http: httpx.AsyncClient) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="unused", base_url="http://test/v1", http_client=http, max_retries=0)


async def test_the_official_client_chats(client: openai.AsyncOpenAI, model: ScriptedModel) -> None:
    model.say(ModelTurn("good day"))
    answer = await client.chat.completions.create(model="fast", messages=HELLO, temperature=0, seed=7)
    assert answer.choices[0].message.content == "good day"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (10, 5)
    [sent] = model.requests
    assert (sent["model"], sent["messages"], sent["seed"]) == (MODEL, HELLO, 7)


async def test_an_alias_is_the_model_that_settings_name(client: openai.AsyncOpenAI, model: ScriptedModel) -> None:
    answer = await client.chat.completions.create(model="deep", messages=HELLO)
    assert answer.model == "deep-1"
    assert model.requests[-1]["model"] == "deep-1"


async def test_the_official_client_streams(client: openai.AsyncOpenAI, model: ScriptedModel) -> None:
    model.say(ModelTurn("one two three", pieces=5))
    stream = await client.chat.completions.create(model="fast", messages=HELLO, stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three"
    assert len(chunks) > 3
    assert all(chunk.choices for chunk in chunks), "what was used is sent to those who ask for it alone"


async def test_a_stream_says_what_was_used_to_those_who_ask(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="fast", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    last = [chunk async for chunk in stream][-1]
    assert last.usage is not None
    assert last.usage.total_tokens == 15


async def test_tools_and_json_schemas_pass(client: openai.AsyncOpenAI, model: ScriptedModel) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    schema: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": parameters, "strict": True}}
    model.say(ModelTurn(tool_calls=[("weather", {"city": "Bern"})]), ModelTurn({"city": "Bern"}))
    asked = await client.chat.completions.create(model="fast", messages=HELLO, tools=[tool], tool_choice="required")
    [call] = asked.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Bern"})
    told: Any = [
        *HELLO,
        asked.choices[0].message.model_dump(),
        {"role": "tool", "tool_call_id": call.id, "content": "9"},
    ]
    answer = await client.chat.completions.create(model="fast", messages=told, response_format=schema)
    assert json.loads(answer.choices[0].message.content or "") == {"city": "Bern"}
    assert model.requests[0]["tools"] == [tool]
    assert model.requests[1]["response_format"] == schema
    assert model.requests[1]["messages"][2]["tool_call_id"] == call.id


async def test_tools_stream(client: openai.AsyncOpenAI, model: ScriptedModel) -> None:
    model.say(ModelTurn(tool_calls=[("weather", {"city": "Bern"})]))
    stream = await client.chat.completions.create(model="fast", messages=HELLO, stream=True)
    calls = [call async for chunk in stream for call in chunk.choices[0].delta.tool_calls or []]
    assert calls[0].function is not None
    assert calls[0].function.name == "weather"


async def test_the_models_are_listed_with_their_aliases(client: openai.AsyncOpenAI) -> None:
    assert [one.id async for one in client.models.list()] == ["local", MODEL, "fast", "deep"]
    assert (await client.models.retrieve("fast")).owned_by == "seedcore"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("no/such")


async def test_without_a_server_chat_is_not_configured_and_embeddings_are(bare: httpx.AsyncClient) -> None:
    client = official(bare)
    for stream in (False, True):
        answer = await bare.post(CHAT, json={"model": "fast", "messages": HELLO, "stream": stream})
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "llm_not_configured"
    with pytest.raises(openai.InternalServerError) as failed:
        await client.chat.completions.create(model="fast", messages=HELLO)
    assert failed.value.code == "llm_not_configured"
    assert (await bare.post(EMBEDDINGS, json={"model": "other", "input": "x"})).json()["code"] == "llm_not_configured"
    assert len((await client.embeddings.create(model="local", input="x")).data) == 1
    assert [one.id async for one in client.models.list()] == ["local"]
    health = (await bare.get("/health")).json()
    assert health["llm"]["configured"] is False
    assert "LLM_UPSTREAM_URL" in health["llm"]["reason"]


async def test_local_embeddings_are_those_of_the_embedder(client: openai.AsyncOpenAI) -> None:
    texts = ["the database refuses connections", "", "\u65e5\u672c"]
    answer = await client.embeddings.create(model="local", input=texts)
    plain = await client.embeddings.create(model="local", input=texts, encoding_format="float")
    expected = await WordEmbedder().embed(texts)
    for found in (answer, plain):
        assert [item.index for item in found.data] == [0, 1, 2]
        assert np.allclose([item.embedding for item in found.data], expected, atol=1e-6)
        assert found.usage.prompt_tokens == found.usage.total_tokens > 3
    raw = await client.embeddings.with_raw_response.create(model="local", input="a", encoding_format="base64")
    assert len(base64.b64decode(raw.http_response.json()["data"][0]["embedding"])) == 4 * 256


async def test_other_embeddings_are_the_servers(client: openai.AsyncOpenAI) -> None:
    answer = await client.embeddings.create(model="small", input=["a", "abc"], encoding_format="float")
    assert [item.embedding[0] for item in answer.data] == [1.0, 3.0]


WRONG_CHATS: list[tuple[dict[str, Any], str]] = [
    ({}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": [1]}, "messages.0"),
    ({"messages": [{"content": "no role"}]}, "messages"),
    ({"messages": HELLO, "model": 1}, "model"),
    ({"messages": HELLO, "model": ""}, "model"),
    ({"messages": HELLO, "model": "a\0b"}, "model"),
    ({"messages": HELLO, "stream": "yes"}, "stream"),
    ({"messages": HELLO, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ({"messages": HELLO, "max_tokens": 0}, "max_tokens"),
    ({"messages": HELLO, "max_tokens": 10**30}, "max_tokens"),
    ({"messages": HELLO, "max_completion_tokens": 1.5}, "max_completion_tokens"),
    ({"messages": HELLO, "n": 1000}, "n"),
    ({"messages": HELLO, "temperature": "warm"}, "temperature"),
    ({"messages": HELLO, "tools": {}}, "tools"),
    ({"messages": HELLO, "response_format": []}, "response_format"),
    ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages.0.content"),
    ({"messages": HELLO, "seed": 2**70}, "seed"),
    ({"messages": HELLO, "logit_bias": {"1": float("nan")}}, "logit_bias.1"),
    ({"messages": HELLO, "temperature": float("inf")}, "temperature"),
]
WRONG_EMBEDDINGS: list[tuple[dict[str, Any], str]] = [
    ({"model": "local"}, "input"),
    ({"input": "x"}, "model"),
    ({"model": "local", "input": []}, "input"),
    ({"model": "local", "input": ["a", 1]}, "input"),
    ({"model": "local", "input": ["a"] * 2049}, "input"),
    ({"model": "local", "input": {"a": 1}}, "input"),
    ({"model": "local", "input": [1, 2]}, "input"),
    ({"model": "local", "input": [[1], []]}, "input"),
    ({"model": "local", "input": [True]}, "input"),
    ({"model": "local", "input": "x", "dimensions": 128}, "dimensions"),
    ({"model": "local", "input": "x", "encoding_format": "hex"}, "encoding_format"),
    ({"model": "other", "input": "x", "dimensions": 0}, "dimensions"),
    ({"model": "other", "input": "\ud800"}, "input"),
]


async def test_a_wrong_field_is_named_before_anything_is_sent(http: httpx.AsyncClient) -> None:
    cases = [(CHAT, *case) for case in WRONG_CHATS] + [(EMBEDDINGS, *case) for case in WRONG_EMBEDDINGS]
    for path, body, field in cases:
        answer = await http.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
        assert answer.status_code == 422, (body, answer.text)
        assert [error["field"] for error in answer.json()["errors"]] == [field], (body, answer.text)


@pytest.mark.parametrize("name", ["n_predict", "n_cmpl", "best_of", "max_new_tokens", "num_predict"])
async def test_no_other_name_of_the_maximum_goes_past_a_budget(
    facade: httpx.AsyncClient, model: ScriptedModel, name: str
) -> None:
    answer = await facade.post(CHAT, json={"messages": HELLO, "max_tokens": 1, name: 100_000})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [name]
    assert model.requests == []


async def test_deep_nesting_is_refused(http: httpx.AsyncClient) -> None:
    deep = f"{'[' * 5000}1{']' * 5000}"
    nested = f'{{"messages": [{{"role": "user", "content": {deep}}}]}}'
    answer = await http.post(CHAT, content=nested, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text


WRONG_ANSWERS = [
    (ModelTurn(raw=b"nonsense"), 502, "llm_bad_answer"),
    (ModelTurn(raw=b'{"choices": [{"mess'), 502, "llm_bad_answer"),
    (ModelTurn(raw=b'{"ok": true}'), 502, "llm_bad_answer"),
    (ModelTurn("no", status=400), 502, "llm_refused"),
    (ModelTurn("no", status=401), 502, "llm_refused"),
    (ModelTurn("busy", status=503), 503, "unavailable"),
    (ModelTurn("busy", status=429), 429, "overloaded"),
]


async def test_what_the_server_does_wrong_has_a_code(facade: httpx.AsyncClient, model: ScriptedModel) -> None:
    for turn, status, code in WRONG_ANSWERS:
        model.say(turn)
        answer = await facade.post(CHAT, json={"messages": HELLO})
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_a_call_is_tried_again_before_its_answer_begins(facade: httpx.AsyncClient, model: ScriptedModel) -> None:
    model.say(ModelTurn("busy", status=503), ModelTurn("at last"))
    answer = await facade.post(CHAT, json={"messages": HELLO})
    assert answer.json()["choices"][0]["message"]["content"] == "at last"
    model.say(ModelTurn("busy", status=503), ModelTurn("at last"))
    answer = await facade.post(CHAT, json={"messages": HELLO, "stream": True})
    assert answer.text.endswith("data: [DONE]\n\n")
    assert len(model.requests) == 4


async def test_a_stream_that_breaks_off_is_never_repeated(facade: httpx.AsyncClient, model: ScriptedModel) -> None:
    model.say(ModelTurn("one two three", cut_after=2))
    answer = await facade.post(CHAT, json={"messages": HELLO, "stream": True})
    assert answer.status_code == 200
    *_, last = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    assert last["error"]["code"] == "unavailable"
    assert "[DONE]" not in answer.text
    assert len(model.requests) == 1
    with pytest.raises(openai.APIError):
        async for _ in await official(facade).chat.completions.create(model="fast", messages=HELLO, stream=True):
            pass
    assert len(model.requests) == 2


async def test_half_json_in_a_stream_ends_it(facade: httpx.AsyncClient, model: ScriptedModel) -> None:
    model.say(ModelTurn(raw=b'data: {"choices": [{"del\n\ndata: [DONE]\n\n'))
    answer = await facade.post(CHAT, json={"messages": HELLO, "stream": True})
    assert '"code":"llm_bad_answer"' in answer.text
    assert "[DONE]" not in answer.text


async def test_a_caller_of_seedcores_own_says_who_pays_and_others_do_not(
    facade: httpx.AsyncClient, model: ScriptedModel
) -> None:
    headers = {"x-seedcore-budget": json.dumps({"plan": "p-1", "plan_tokens": 1, "tenant": "acme"})}
    refused = await facade.post(CHAT, json={"messages": HELLO}, headers=headers)
    assert (refused.status_code, refused.json()["code"], refused.json()["budget"]) == (429, "budget_exceeded", "plan")
    assert model.requests == []
    for wrong in ("nonsense", "[1]", '{"plan": 5}', '{"plan_tokens": "many"}', '{"tenant": null}', '{"other": 1}'):
        answer = await facade.post(CHAT, json={"messages": HELLO}, headers={"x-seedcore-budget": wrong})
        assert answer.status_code == 422, (wrong, answer.text)


async def test_the_answer_says_what_it_cost(facade: httpx.AsyncClient) -> None:
    answer = await facade.post(CHAT, json={"messages": HELLO})
    assert answer.headers["x-seedcore-priced"] == "false"
    assert float(answer.headers["x-seedcore-money"]) == 0


async def test_a_client_that_leaves_gives_its_turn_back(pg_settings: Settings, model: ScriptedModel) -> None:
    wait = threading.Event()
    model.say(ModelTurn("late", wait=wait), ModelTurn("next"))
    given = {"llm_provider": "mlservice", "llm_upstream_url": model.url, "llm_concurrency": 1, "llm_model": MODEL}
    async for http in served(pg_settings, given):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(http.post(CHAT, json={"messages": HELLO, "stream": True}), 0.5)
        answer = await http.post(CHAT, json={"messages": HELLO})
        assert answer.json()["choices"][0]["message"]["content"] == "next"
    wait.set()


async def test_a_key_that_cannot_be_seedcores_counts_as_none_where_none_is_needed(http: httpx.AsyncClient) -> None:
    async def status(key: str, path: str = "/v1/models") -> int:
        return (await http.get(path, headers={"authorization": f"Bearer {key}"})).status_code

    assert await status("sk-unused") == 200
    assert await status("sk-unused", "/xgboost/list_models") == 401
    closed = MLService({}, load_settings(api_keys="right"), background=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(closed.build_app()), base_url="http://test") as http:
        assert await status("sk-unused") == 401
        assert await status("right") == 200


def test_the_service_holds_one_core_for_all_calls(settings: Settings) -> None:
    service = MLService({}, settings, background=False)
    assert service.llm.health()["configured"] is False
