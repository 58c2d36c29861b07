"""Facts over HTTP: said, found, changed, contradicted, and refused when they are not as they must be."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from seedcore.tasks.model import PlanTerms, StepSpec, new_id
from seedcore.worker.lease_store import PostgresLeaseStore
from tests.api.conftest import TASKS, Dispatcher, fields_of, refused, submit

pytestmark = pytest.mark.integration

FACTS = "/api/v1/facts"
SHAPE = {
    "id",
    "subject",
    "predicate",
    "object",
    "text",
    "tags",
    "source",
    "valid_from",
    "valid_to",
    "contradicts",
}


async def said(http: httpx.AsyncClient, *triple: str, **more: Any) -> dict[str, Any]:
    subject, predicate, value = triple
    answer = await http.post(FACTS, json={"subject": subject, "predicate": predicate, "object": value, **more})
    assert answer.status_code == 201, answer.text
    assert answer.json().keys() >= SHAPE
    assert answer.headers["location"] == f"{FACTS}/{answer.json()['id']}"
    found: dict[str, Any] = answer.json()
    return found


async def listed(http: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await http.get(FACTS, params=query)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


async def test_a_fact_is_kept_with_a_text_that_is_made_of_it(http: httpx.AsyncClient) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    made = await said(http, "skill:ocr", "fails_on", "scans over 20 MB", tags=["ocr", "size", "ocr"], source="Ada")
    assert made["text"] == "skill:ocr fails_on scans over 20 MB"
    assert (made["tags"], made["source"], made["valid_to"], made["contradicts"]) == (["ocr", "size"], "Ada", None, [])
    assert before < datetime.fromisoformat(made["valid_from"]) <= datetime.now(UTC)
    assert (await http.get(f"{FACTS}/{made['id']}")).json() == made


async def test_facts_are_found_by_words_tags_subject_and_time(http: httpx.AsyncClient) -> None:
    old = await said(
        http,
        "berlin",
        "has_mayor",
        "Mrs Smith",
        valid_from="1999-01-01T00:00:00Z",
        valid_to="2005-01-01T00:00:00+01:00",
    )
    new = await said(http, "berlin", "has_mayor", "Mr Jones", text="Jones governs the capital", tags=["city", "people"])
    other = await said(http, "invoice", "is paid within", "14 days", tags=["city"])
    assert await listed(http) == [other["id"], new["id"], old["id"]]
    assert await listed(http, q="capitals") == [new["id"]]
    assert await listed(http, q='"Mrs Smith" or days') == [other["id"], old["id"]]
    assert await listed(http, q="mayor -smith") == [new["id"]]
    assert await listed(http, tags="city") == [other["id"], new["id"]]
    assert await listed(http, tags=["city", "people"]) == [new["id"]]
    assert await listed(http, subject="berlin", predicate="has_mayor") == [new["id"], old["id"]]
    assert await listed(http, at="2000-06-01T00:00:00Z") == [old["id"]]
    # The moment that it ends is not included.
    assert await listed(http, at="2004-12-31T23:00:00Z") == []
    assert await listed(http, q="and the of") == []


async def test_a_page_ends_where_the_next_begins(http: httpx.AsyncClient) -> None:
    made = [(await said(http, f"s{i}", "p", "o"))["id"] for i in range(7)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await http.get(FACTS, params={"limit": 3, **cursor})).json()
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == made[::-1]


async def test_facts_that_say_otherwise_at_the_same_time_contradict_each_other(http: httpx.AsyncClient) -> None:
    early = await said(http, "a", "colour", "red", valid_from="2020-01-01T00:00:00Z", valid_to="2021-01-01T00:00:00Z")
    late = await said(http, "a", "colour", "blue", valid_from="2021-01-01T00:00:00Z")
    assert late["contradicts"] == []
    same = await said(http, "a", "colour", "red", valid_from="2020-06-01T00:00:00Z")
    assert same["contradicts"] == [late["id"]]
    assert (await http.get(f"{FACTS}/{late['id']}")).json()["contradicts"] == [same["id"]]
    assert (await http.get(f"{FACTS}/{early['id']}")).json()["contradicts"] == []
    # Ended where the other begins, it contradicts it no more.
    ended = await http.patch(f"{FACTS}/{same['id']}", json={"valid_to": "2021-01-01T00:00:00Z"})
    assert ended.json()["contradicts"] == []
    assert (await said(http, "a", "size", "blue"))["contradicts"] == []


async def test_a_change_keeps_what_it_does_not_name(http: httpx.AsyncClient) -> None:
    made = await said(http, "a", "is", "b", tags=["t"], source="s")
    changed = (await http.patch(f"{FACTS}/{made['id']}", json={"object": "c", "source": None})).json()
    assert (changed["object"], changed["text"], changed["source"], changed["tags"]) == ("c", "a is c", None, ["t"])
    own = (await http.patch(f"{FACTS}/{made['id']}", json={"text": "in my own words"})).json()
    kept = (await http.patch(f"{FACTS}/{made['id']}", json={"object": "d", "tags": []})).json()
    assert (own["text"], kept["text"], kept["tags"]) == ("in my own words", "in my own words", [])
    assert kept["valid_from"] == made["valid_from"]
    assert await listed(http, q="own words") == [made["id"]]


async def test_put_says_a_fact_again_whole(http: httpx.AsyncClient) -> None:
    made = await said(http, "a", "is", "b", tags=["t"], source="s", valid_to="2999-01-01T00:00:00Z")
    put = await http.put(f"{FACTS}/{made['id']}", json={"subject": "a", "predicate": "is", "object": "c"})
    assert put.status_code == 200
    assert (put.json()["text"], put.json()["tags"], put.json()["source"]) == ("a is c", [], None)
    assert (put.json()["valid_from"], put.json()["valid_to"]) == (made["valid_from"], None)


async def test_a_removed_fact_is_gone_and_contradicts_nothing(http: httpx.AsyncClient) -> None:
    one, two = await said(http, "a", "is", "b"), await said(http, "a", "is", "c")
    assert (await http.delete(f"{FACTS}/{one['id']}")).status_code == 204
    assert (await http.get(f"{FACTS}/{two['id']}")).json()["contradicts"] == []
    for method in ("GET", "DELETE"):
        refused(await http.request(method, f"{FACTS}/{one['id']}"), 404, "not_found")
    body = {"subject": "a", "predicate": "is", "object": "b"}
    refused(await http.put(f"{FACTS}/{uuid4()}", json=body), 404, "not_found")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"subject": None}, "subject"),
    ({"subject": " "}, "subject"),
    ({"subject": "x" * 301}, "subject"),
    ({"predicate": "a\0b"}, "predicate"),
    ({"object": 3}, "object"),
    ({"object": "x" * 2001}, "object"),
    ({"text": ""}, "text"),
    ({"tags": "t"}, "tags"),
    ({"tags": ["t"] * 33}, "tags"),
    ({"tags": ["ok", ""]}, "tags.1"),
    ({"valid_from": "2020-01-01T00:00:00"}, "valid_from"),
    ({"valid_from": "0001-01-01T00:00:00+14:00"}, "valid_from"),
    ({"valid_from": 1e300}, "valid_from"),
    ({"valid_to": "9999-12-31T23:59:59-14:00"}, "valid_to"),
    ({"valid_to": "2000-01-01T00:00:00Z"}, "valid_to"),
    ({"valid_from": "2020-01-01T00:00:00Z", "valid_to": "2020-01-01T00:00:00Z"}, "valid_to"),
    ({"id": str(uuid4())}, "id"),
]


async def test_what_no_fact_can_be_is_refused_and_named(http: httpx.AsyncClient) -> None:
    for wrong, field in WRONG:
        body = {"subject": "a", "predicate": "is", "object": "b", **wrong}
        assert fields_of(refused(await http.post(FACTS, json=body), 422, "invalid_input")) == [field]


async def test_what_a_fact_needs_cannot_be_taken_from_it(http: httpx.AsyncClient) -> None:
    made = await said(http, "a", "is", "b")
    for field in ("subject", "predicate", "object", "tags", "valid_from"):
        answer = await http.patch(f"{FACTS}/{made['id']}", json={field: None})
        assert fields_of(refused(answer, 422, "invalid_input")) == [field]


FILTERS: list[tuple[dict[str, Any], str]] = [
    ({"cursor": "x"}, "cursor"),
    ({"at": "yesterday"}, "at"),
    ({"q": "a\0"}, "q"),
    ({"q": "x" * 1001}, "q"),
    ({"limit": 0}, "limit"),
    ({"tenant": "x" * 41}, "tenant"),
    ({"nothing": "1"}, "nothing"),
]


async def test_filters_that_cannot_be_met_are_refused(http: httpx.AsyncClient) -> None:
    for query, field in FILTERS:
        assert fields_of(refused(await http.get(FACTS, params=query), 422, "invalid_input")) == [field]


async def test_any_words_may_be_searched_for(http: httpx.AsyncClient) -> None:
    odd = ["'", '"', "& | !", "a:*", "<->", "((", "\\", "ê" * 300, "-" * 900, "- " * 400, "-(" * 400, "a -b " * 150]
    odd += ['-"' * 400, "- or " * 150, '"a' * 400, "-_" * 400, "-\t-\n" * 100, "or -" * 200, "a or " * 200]
    for q in odd:
        assert await listed(http, q=q) == []


async def test_the_longest_fact_is_kept(http: httpx.AsyncClient) -> None:
    letters = "".join(chr(0x10000 + i) for i in range(2000))
    made = await said(http, letters[:300], letters[300:500], letters, text=letters * 5, tags=[letters[:100]])
    assert (await http.get(f"{FACTS}/{made['id']}")).json()["object"] == letters


async def test_a_plan_shows_the_facts_that_it_relied_on(http: httpx.AsyncClient, dispatcher: Dispatcher) -> None:
    known, unused = await said(http, "echo", "is", "quick"), await said(http, "echo", "is", "slow")
    goal = await submit(http)
    lease = await dispatcher.lease()
    step = StepSpec(new_id(), "one", "echo", '{"value": 1}', None, ())
    plan = json.dumps({"steps": [], "output": {"value": {"$from": "one", "field": "value"}}})
    store = PostgresLeaseStore(dispatcher.database)
    assert await store.store_plan(lease, "{}", plan, [step], PlanTerms(), [], [UUID(known["id"]), uuid4()])
    shown = (await http.get(f"{TASKS}/{goal['id']}/plan")).json()["facts"]
    assert [(fact["id"], fact["object"], fact["contradicts"]) for fact in shown] == [
        (known["id"], "quick", [unused["id"]])
    ]
