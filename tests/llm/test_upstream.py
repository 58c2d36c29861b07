"""From the settings to the one server that is asked, or the reason why there is none."""

import pickle
from typing import Any

import pytest

from seedcore.errors import FieldError, SettingsError, from_problem, problem
from seedcore.llm.budget_scope import HEADER, BudgetScope
from seedcore.llm.model_errors import LlmNotConfiguredError
from seedcore.llm.upstream import find_upstream, upstream_health
from seedcore.settings import load_settings

URL = "http://model.internal:9000/v1"

NONE: dict[str, dict[str, Any]] = {
    "none": {},
    "LLM_UPSTREAM_URL": {"llm_provider": "mlservice"},
    "to its address": {"llm_provider": "vllm"},
    "LLM_API_KEY": {"llm_provider": "openai"},
    "LLM_MODEL_PATH": {"llm_provider": "embedded"},
}


def test_a_provider_that_there_is_not_ends_the_start_with_the_list(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LLM_PROVIDER", "gpt")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    for provider in ("none", "mlservice", "embedded", "openai", "ollama", "vllm"):
        assert repr(provider) in caught.value.detail


@pytest.mark.parametrize("reason", NONE)
async def test_what_is_not_set_up_says_what_is_missing(reason: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("seedcore.stores.embedded.llama_files.model_path", lambda _settings: None)
    settings = load_settings(**NONE[reason])
    health = upstream_health(settings)
    assert not health["configured"]
    assert reason in str(health["reason"])
    with pytest.raises(LlmNotConfiguredError, match=reason):
        await find_upstream(settings)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({"llm_provider": "openai", "llm_api_key": "k"}, "https://api.openai.com/v1"),
        ({"llm_provider": "ollama"}, "http://127.0.0.1:11434/v1"),
        ({"llm_provider": "vllm", "llm_upstream_url": f"{URL}/"}, URL),
        ({"llm_provider": "OpenAI", "llm_upstream_url": URL}, URL),
    ],
)
async def test_providers_have_their_address(given: dict[str, Any], url: str):
    upstream = await find_upstream(load_settings(**given))
    assert (upstream.base_url, upstream.reserves) == (url, True)
    assert upstream_health(load_settings(**given)) == {"provider": given["llm_provider"].lower(), "configured": True}


async def test_exactly_one_of_client_and_facade_reserves():
    settings = load_settings(llm_provider="mlservice", llm_upstream_url=URL, llm_model="big", api_keys="internal")
    client, facade = await find_upstream(settings), await find_upstream(settings, facade=True)
    assert (client.base_url, client.reserves) == ("http://127.0.0.1:8000/ml/v1", False)
    assert (facade.base_url, facade.reserves) == (URL, True)
    assert client.models == {"fast": "fast", "deep": "deep"}
    assert facade.models == {"fast": "big", "deep": "big"}
    assert "internal" not in repr(client)


def test_a_request_that_needs_a_model_names_its_field_and_is_the_callers_fault():
    assert LlmNotConfiguredError("x").status == 503
    error = LlmNotConfiguredError("x", errors=[FieldError("params.goal", "needs a language model")])
    again = from_problem(problem(error))
    assert (error.status, again.status, type(again), again.transient) == (422, 422, LlmNotConfiguredError, False)
    assert pickle.loads(pickle.dumps(error)).status == 422


@pytest.mark.parametrize("scope", [BudgetScope(), BudgetScope("p", "k", "t", 1.5, 0.0)])
def test_a_scope_crosses_to_the_facade_whole(scope: BudgetScope):
    assert BudgetScope.from_headers(scope.to_headers()) == scope
    assert BudgetScope.from_headers({}) is None


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 10_000, '{"plan": 7}', '{"plan_tokens": "x"}', "null"])
def test_a_scope_that_cannot_be_read_is_refused(text: str):
    with pytest.raises(Exception, match=HEADER):
        BudgetScope.from_headers({HEADER: text})
