"""Long-term memory over HTTP."""

import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.api import tenants
from tests.api.conftest import fields_of, refused

pytestmark = pytest.mark.integration
MEMORY, SEARCH = "/api/v1/memory", "/api/v1/memory/search"


async def remember(http: httpx.AsyncClient, *items: dict[str, Any] | str) -> list[str]:
    body = {"items": [{"text": item} if isinstance(item, str) else item for item in items]}
    answer = await http.post(MEMORY, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["ids"]


async def search(http: httpx.AsyncClient, query: str, **more: Any) -> list[dict[str, Any]]:
    answer = await http.post(SEARCH, json={"query": query, **more})
    assert answer.status_code == 200, answer.text
    assert answer.json()["fallback"] is None
    return answer.json()["items"]


async def test_what_is_answered_201_is_found_by_the_next_search(http: httpx.AsyncClient) -> None:
    item = {"text": "Pump 7 leaks", "scope": "organ:pumps", "tags": ["pump"], "metadata": {"n": 1}, "salience": 0.75}
    ids = await remember(http, item, "Lamps are dim", "Lamps are dim")
    assert ids[1] == ids[2]
    [found, *_] = await search(http, "which pump has a leak?", k=3)
    assert found["id"] == ids[0]
    assert found.keys() >= {"id", "text", "score", "scores", "scope", "source", "created_at"}
    assert (found["source"], found["scope"], found["metadata"]) == ("api", "organ:pumps", {"n": 1})
    assert found["scores"]["vector"] > 0.2 < found["scores"]["text"] + 1
    assert [one["id"] for one in await search(http, "lamps", scope="all")] == [ids[1]]
    assert await search(http, "lamps", scope=["organ:pumps"], tags=["lamp"]) == []
    assert len(await search(http, "lamps", k=1)) == 1


async def test_a_tenants_key_sees_its_own_memories_alone(app: FastAPI) -> None:
    tenants.install(app)
    async with (
        tenants.client_of(app, "acme") as acme,
        tenants.client_of(app, "umbra") as umbra,
        tenants.client_of(app, "platform") as platform,
        tenants.client_of(app, "blind") as blind,
    ):
        [own] = await remember(acme, "the vault opens at nine")
        assert await search(umbra, "the vault opens at nine") == []
        assert await search(platform, "the vault opens at nine") == []
        assert [one["id"] for one in await search(acme, "vault")] == [own]
        [other] = await remember(umbra, "the vault opens at nine")
        assert other != own
        refused(await umbra.post(SEARCH, json={"query": "a"}, headers={"X-SeedCore-Tenant": "acme"}), 403, "forbidden")
        seen = await platform.post(SEARCH, json={"query": "vault"}, headers={"X-SeedCore-Tenant": "acme"})
        assert [one["id"] for one in seen.json()["items"]] == [own]
        refused(await blind.post(SEARCH, json={"query": "vault"}), 403, "forbidden")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"items": []}', "items"),
        ('{"items": [{}]}', "items.0.text"),
        ('{"items": [{"text": ""}]}', "items.0.text"),
        ('{"items": [{"text": "  "}]}', "items.0.text"),
        ('{"items": [{"text": 1}]}', "items.0.text"),
        ('{"items": [{"text": "a\\u0000"}]}', "items.0.text"),
        ('{"items": [{"text": "a\\ud800"}]}', "items.0.text"),
        ('{"items": [{"text": "a", "scope": "x"}]}', "items.0.scope"),
        ('{"items": [{"text": "a", "scope": "agent:\\u0000"}]}', "items.0.scope"),
        ('{"items": [{"text": "a", "tags": ["\\ud800"]}]}', "items.0.tags.0"),
        ('{"items": [{"text": "a", "tags": "b"}]}', "items.0.tags"),
        ('{"items": [{"text": "a", "salience": 2}]}', "items.0.salience"),
        ('{"items": [{"text": "a", "salience": NaN}]}', "items.0.salience"),
        ('{"items": [{"text": "a", "salience": 1e999}]}', "items.0.salience"),
        ('{"items": [{"text": "a", "metadata": {"b": NaN}}]}', "items.0.metadata"),
        ('{"items": [{"text": "a", "metadata": {"b": "\\u0000"}}]}', "items.0.metadata"),
        ('{"items": [{"text": "a", "metadata": {"b": "\\udc00"}}]}', "items.0.metadata"),
        ('{"items": [{"text": "a", "metadata": {"b": %s}}]}' % ("9" * 400), "items.0.metadata"),
        ('{"items": [{"text": "a", "metadata": []}]}', "items.0.metadata"),
        ('{"items": [{"text": "%s"}]}' % ("a" * 10_000_000), "items.0.text"),
        ('{{"items": [{}]}}'.format(",".join(['{"text": "a"}'] * 257)), "items"),
        ('{"items": [{"text": "a", "tenant": "acme"}]}', "items.0.tenant"),
    ],
)
async def test_what_cannot_be_remembered_is_refused_by_its_name(
    fresh: httpx.AsyncClient, body: str, field: str
) -> None:
    answer = await fresh.post(MEMORY, content=body.encode("utf-8"), headers={"Content-Type": "application/json"})
    assert fields_of(refused(answer, 422, "invalid_input"))[0].startswith(field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "query"),
        ({"query": ""}, "query"),
        ({"query": " "}, "query"),
        ({"query": ["a"]}, "query"),
        ({"query": "a\0"}, "query"),
        ({"query": "a", "k": 0}, "k"),
        ({"query": "a", "k": 10**30}, "k"),
        ({"query": "a", "k": 1.5}, "k"),
        ({"query": "a", "scope": "x"}, "scope"),
        ({"query": "a", "scope": []}, "scope"),
        ({"query": "a", "tags": [""]}, "tags"),
        ({"query": "a", "tags": [1]}, "tags"),
    ],
)
async def test_a_wrong_search_is_refused_by_its_field(
    fresh: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    answer = await fresh.post(SEARCH, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert fields_of(refused(answer, 422, "invalid_input"))[0].startswith(field)


@pytest.mark.parametrize("body", ["", "[", "[1]", "null", '{"items": ' + "[" * 200_000])
async def test_what_is_no_json_object_is_refused(fresh: httpx.AsyncClient, body: str) -> None:
    for path in (MEMORY, SEARCH):
        answer = await fresh.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422)
        assert answer.headers["content-type"] == "application/problem+json"
