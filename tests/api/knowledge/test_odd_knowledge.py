"""Odd input to the routes of memory and facts: a problem document that names the field, and never a 5xx."""

import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.api import tenants

pytestmark = pytest.mark.integration
MEMORY, SEARCH, FACTS = "/api/v1/memory", "/api/v1/memory/search", "/api/v1/facts"

HALF, HUGE = "\ud800", 10**400


def nested(levels: int) -> Any:
    made: Any = 1
    for _ in range(levels):
        made = {"a": made}
    return made


ODD_TEXTS = [HALF, "a\0b", "", " ", None, 1, True, ["a"], {"a": 1}, "x" * 20_000]
ODD_NUMBERS = [0, -1, 10**9, HUGE, float("nan"), float("inf"), "1", None, 1.5, True, [], {}]
HARD_QUERIES = [
    "-" * 1000,
    "- " * 500,
    "(" * 1000,
    "-(" * 500,
    '-"' * 500,
    '"' * 999,
    "!" * 1000,
    "a or " * 200,
    "-a " * 333,
    "-or " * 250,
    "a<->b & c | !d :* \\ ' '' E'",
    "\\" * 1000,
    "C:\\new\\table 'quoted\\' and http://a.b/c\\d'e?f=\\g",
    "'" * 1000,
    "\u202e\ufeff\u200b x",
    "<a & b | c>",
    "ﬁ ﷺ " * 100,
    "%_%" * 300,
]


async def sent(http: httpx.AsyncClient, path: str, body: object, method: str = "POST") -> httpx.Response:
    text = body if isinstance(body, str) else json.dumps(body)
    return await http.request(method, path, content=text, headers={"content-type": "application/json"})


def refused(answer: httpx.Response, field: str) -> None:
    assert answer.status_code == 422, (answer.status_code, answer.text[:500])
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"].startswith(field), answer.text[:500]


async def test_odd_memories_are_refused_by_field(http: httpx.AsyncClient) -> None:
    for text in ODD_TEXTS:
        refused(await sent(http, MEMORY, {"items": [{"text": text}]}), "items.0.text")
        refused(await sent(http, SEARCH, {"query": text}), "query")
    for number in ODD_NUMBERS:
        if number not in (0, 1, True):
            refused(await sent(http, MEMORY, {"items": [{"text": "a", "salience": number}]}), "items.0.salience")
        refused(await sent(http, SEARCH, {"query": "a", "k": number}), "k")
    for scope in [HALF, "a", "agent:", "agent:\0", "organ:" + "x" * 200, 1, {}, "all\n"]:
        refused(await sent(http, MEMORY, {"items": [{"text": "a", "scope": scope}]}), "items.0.scope")
        refused(await sent(http, SEARCH, {"query": "a", "scope": scope}), "scope")
    for tags in [[HALF], ["\0"], [""], "a", [1], ["a"] * 17, {}]:
        refused(await sent(http, MEMORY, {"items": [{"text": "a", "tags": tags}]}), "items.0.tags")
        refused(await sent(http, SEARCH, {"query": "a", "tags": tags}), "tags")
    for metadata in [
        {"a": HALF},
        {HALF: 1},
        {"a\0": 1},
        {"a": float("nan")},
        {"a": HUGE},
        nested(150),
        {"a": "x" * 20_000},
        1,
        [],
    ]:
        refused(await sent(http, MEMORY, {"items": [{"text": "a", "metadata": metadata}]}), "items.0.metadata")
    refused(await sent(http, MEMORY, {"items": []}), "items")
    refused(await sent(http, MEMORY, {"items": [{"text": "a"}] * 257}), "items")
    refused(await sent(http, MEMORY, {"items": [{"text": "a", "tenant": "x"}]}), "items.0.tenant")
    refused(await sent(http, SEARCH, {"query": "a", "scope": []}), "scope")
    refused(await sent(http, SEARCH, {"query": "a", "tenant": "acme"}), "tenant")


async def test_odd_facts_are_refused_by_field(http: httpx.AsyncClient) -> None:
    whole = {"subject": "s", "predicate": "p", "object": "o"}
    made = (await sent(http, FACTS, whole)).json()
    for name in ("subject", "predicate", "object"):
        for text in ODD_TEXTS:
            refused(await sent(http, FACTS, whole | {name: text}), name)
            refused(await sent(http, f"{FACTS}/{made['id']}", {name: text}, "PATCH"), name)
    for name in ("text", "source"):
        for text in ODD_TEXTS:
            if text is not None:
                refused(await sent(http, FACTS, whole | {name: text}), name)
    for at in [
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "2020-01-01T00:00:00",
        "x",
        HALF,
        "\0",
        1e999,
        1e18,
        -1e18,
        [],
        {},
        True,
        "1e400",
        10**30,
    ]:
        for name in ("valid_from", "valid_to"):
            refused(await sent(http, FACTS, whole | {name: at}), name)
            refused(await sent(http, f"{FACTS}/{made['id']}", {name: at}, "PATCH"), name)
    for tags in [[HALF], ["\0"], [""], "a", [1], ["a"] * 33, {}, None]:
        refused(await sent(http, FACTS, whole | {"tags": tags}), "tags")
    refused(await sent(http, FACTS, whole | {"id": "x"}), "id")
    refused(
        await sent(http, FACTS, whole | {"valid_from": "2020-01-01T00:00:00Z", "valid_to": "2020-01-01T00:00:00Z"}),
        "valid_to",
    )
    refused(await sent(http, f"{FACTS}/{made['id']}", {"valid_to": "1999-01-01T00:00:00Z"}, "PATCH"), "valid_to")
    for odd in ["x", "%00", "%ED%A0%80", "1" * 5000, "00000000-0000-0000-0000-00000000000g"]:
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            answer = await sent(http, f"{FACTS}/{odd}", whole, method)
            assert answer.status_code in (404, 422), answer.text
            assert answer.headers["content-type"] == "application/problem+json"
    assert (await http.get(f"{FACTS}/00000000-0000-0000-0000-000000000000")).status_code == 404


async def test_odd_filters_of_facts_are_refused_by_field(http: httpx.AsyncClient) -> None:
    odd = {
        "q": ["", " ", "a\0", "x" * 1001],
        "subject": ["", "a\0", "x" * 301],
        "predicate": ["", "a\0"],
        "tags": ["", "a\0", "x" * 101],
        "at": ["x", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2020-01-01T00:00:00", "1e999", "\0"],
        "cursor": ["x", "\0", "1" * 3000, ""],
        "limit": ["0", "-1", "1000000000", "x", "1e3", "9" * 400, ""],
        "tenant": ["", "a\0"],
        "nothing": ["1"],
    }
    for name, values in odd.items():
        for value in values:
            refused(await http.get(FACTS, params={name: value}), name)
    answer = await http.get(f"{FACTS}?q=%ED%A0%80")
    assert answer.status_code < 500


async def test_no_words_are_too_hard_to_search_for(http: httpx.AsyncClient) -> None:
    for query in HARD_QUERIES:
        found = await http.get(FACTS, params={"q": query})
        assert found.status_code == 200, (query[:40], found.text[:300])
        found = await sent(http, SEARCH, {"query": query})
        assert found.status_code == 200, (query[:40], found.text[:300])
        kept = await sent(http, MEMORY, {"items": [{"text": query}]})
        assert kept.status_code == 201, (query[:40], kept.text[:300])
        fact = {"subject": query[:300], "predicate": query[:200], "object": query, "text": query}
        kept = await sent(http, FACTS, fact)
        assert kept.status_code == 201, (query[:40], kept.text[:300])


async def test_bodies_that_are_no_objects_or_too_large_are_refused(http: httpx.AsyncClient) -> None:
    for path in (MEMORY, SEARCH, FACTS):
        for body in ["", "{", "[]", "1", '"a"', "null", "NaN", "[" * 100_000, '{"a":' * 50_000, '{"text": 1e999}']:
            answer = await sent(http, path, body)
            assert 400 <= answer.status_code < 500, (path, body[:20], answer.text[:300])
            assert answer.headers["content-type"] == "application/problem+json"
        answer = await sent(http, path, json.dumps({"query": "x" * 10_000_000}))
        assert answer.status_code in (413, 422), answer.text[:300]


async def test_a_cursor_of_another_tenant_shows_nothing_of_it(app: FastAPI) -> None:
    tenants.install(app)
    whole = {"subject": "s", "predicate": "p", "object": "o"}
    async with tenants.client_of(app, "acme") as acme, tenants.client_of(app, "umbra") as umbra:
        secret = (await acme.post(FACTS, json=whole | {"object": "acme's own"})).json()
        own = (await umbra.post(FACTS, json=whole)).json()
        assert own["contradicts"] == []
        page = (await umbra.get(FACTS, params={"cursor": secret["id"]})).json()
        assert page == {"items": [], "next_cursor": None}
        page = (await umbra.get(FACTS, params={"cursor": "ffffffff-ffff-ffff-ffff-ffffffffffff"})).json()
        assert [fact["id"] for fact in page["items"]] == [own["id"]]
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            answer = await sent(umbra, f"{FACTS}/{secret['id']}", whole if method == "PUT" else {}, method)
            assert answer.status_code == 404, answer.text
