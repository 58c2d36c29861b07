"""`POST /score/salience`: shapes, bounds, and what each error names."""

from collections.abc import AsyncIterator

import httpx
import pytest

from seedcore.decision.salience import FEATURES
from seedcore.schemas.ml.salience import MAX_ITEMS, SalienceItem
from seedcore.settings import Settings
from tests.ml.support import started_service


@pytest.fixture
async def whole(pg_settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A service with a database."""
    async with started_service(pg_settings) as service:
        transport = httpx.ASGITransport(service.build_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            yield http


async def errors_of(http: httpx.AsyncClient, body: object) -> list[str]:
    answer = await http.post("/score/salience", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return [error["field"] for error in answer.json()["errors"]]


@pytest.mark.integration
async def test_without_a_champion_the_formula_answers_and_says_so(whole: httpx.AsyncClient):
    items = [{}, {"failure_share": 1, "escalated": True}, {"priority": None, "attempts": 2}]
    answer = await whole.post("/score/salience", json={"items": items})
    assert answer.status_code == 200, answer.text
    scores = answer.json()["scores"]
    assert [score["source"] for score in scores] == ["formula"] * 3
    assert [score["score"] for score in scores] == pytest.approx([0.0, 1 - 0.3 * 0.4, 0.15])
    assert answer.json()["reason"]
    same = await whole.post("/score/salience", json={"features": items})
    assert same.json()["scores"] == scores
    most = await whole.post("/score/salience", json={"items": [{}] * MAX_ITEMS})
    assert len(most.json()["scores"]) == MAX_ITEMS
    health = (await whole.get("/health")).json()["salience"]
    assert health == {"fallbacks": 0}


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"colour": 1}, "items.1.colour"),
        ({"priority": 101}, "items.1.priority"),
        ({"priority": True}, "items.1.priority"),
        ({"priority": 1.5}, "items.1.priority"),
        ({"priority": "1"}, "items.1.priority"),
        ({"attempts": 0}, "items.1.attempts"),
        ({"failure_share": -0.1}, "items.1.failure_share"),
        ({"failure_share": "high"}, "items.1.failure_share"),
        ({"failure_share": True}, "items.1.failure_share"),
        ({"failure_share": [0.5]}, "items.1.failure_share"),
        ({"tokens": 10**400}, "items.1.tokens"),
        ({"seconds_ratio": 10**400}, "items.1.seconds_ratio"),
        ({"escalated": 1}, "items.1.escalated"),
        ("text", "items.1"),
        (None, "items.1"),
        ([], "items.1"),
    ],
)
async def test_a_wrong_feature_is_named(http: httpx.AsyncClient, item, field):
    assert await errors_of(http, {"items": [{}, item]}) == [field]


async def test_items_are_bounded_and_given_once(http: httpx.AsyncClient):
    assert await errors_of(http, {"items": []}) == ["items"]
    assert await errors_of(http, {"items": [{}] * (MAX_ITEMS + 1)}) == ["items"]
    assert await errors_of(http, {"items": {"priority": 1}}) == ["items"]
    assert await errors_of(http, {"items": [{}], "text": "x"}) == ["text"]
    assert len(await errors_of(http, {})) == 1
    assert len(await errors_of(http, {"items": [{}], "features": [{}]})) == 1


@pytest.mark.parametrize(
    "text", ['{"items": [{"failure_share": NaN}]}', '{"items": [{"seconds_ratio": Infinity}]}', "["]
)
async def test_what_is_no_json_number_is_refused(http: httpx.AsyncClient, text):
    answer = await http.post("/score/salience", content=text, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text


def test_an_item_has_the_declared_features_and_no_others():
    assert [*SalienceItem.model_fields] == [feature.name for feature in FEATURES]
