"""A body that cannot be read: the answer says which of the reasons it is."""

import gzip

import httpx
import pytest

from tests.web.application import client_of, refused
from tests.web.test_methods import make_app

JSON = {"content-type": "application/json"}


@pytest.fixture
def http() -> httpx.AsyncClient:
    return client_of(make_app())


@pytest.mark.parametrize("path", ["/things", "/things/batch"])
@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({}, "no Content-Type"),
        ({"content-type": "application/x-www-form-urlencoded"}, "'application/x-www-form-urlencoded'"),
        ({"content-type": "text/plain; charset=utf-8"}, "text/plain"),
        ({"content-type": "application/jsonl"}, "application/jsonl"),
        ({"content-type": "json"}, "'json'"),
    ],
)
async def test_a_body_that_does_not_say_it_is_json_is_415(
    http: httpx.AsyncClient, path: str, headers: dict[str, str], says: str
):
    detail = refused(await http.post(path, content=b'{"n": 1}', headers=headers), 415, "unsupported_media_type")[
        "detail"
    ]
    assert says in detail
    assert "application/json" in detail


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", "application/a+json"])
async def test_every_name_of_json_is_read(http: httpx.AsyncClient, content_type: str):
    answer = await http.post("/things", content=b'{"n": 1}', headers={"content-type": content_type})
    assert answer.json() == {"n": 1}


async def test_no_body_needs_no_content_type(http: httpx.AsyncClient):
    assert (await http.post("/things/batch")).json() == 0
    assert refused(await http.post("/things"), 422, "invalid_input")["errors"][0]["field"] == "(body)"


async def test_a_compressed_body_is_415_and_says_what_is_taken(http: httpx.AsyncClient):
    content = gzip.compress(b'{"n": 1}')
    answer = await http.post("/things", content=content, headers={**JSON, "content-encoding": "gzip"})
    assert "gzip" in refused(answer, 415, "unsupported_media_type")["detail"]
    assert answer.headers["accept-encoding"] == "identity"
    answer = await http.post("/things", content=b'{"n": 1}', headers={**JSON, "content-encoding": "identity"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"n": "\xff"}', "not valid UTF-8: invalid start byte at byte 7"),
        (b'{"n": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"n": ' + b"9" * 5000 + b"}", "more than 4300 digits"),
        (b'{"n": 1,}', "not valid JSON"),
    ],
    ids=["not UTF-8", "too deep", "too many digits", "no JSON"],
)
async def test_an_unreadable_body_is_400_with_its_reason(http: httpx.AsyncClient, content: bytes, says: str):
    answer = await http.post("/things", content=content, headers=JSON)
    assert says in refused(answer, 400, "malformed_request")["detail"]


async def test_a_body_over_the_limit_stays_413_whatever_it_is():
    http = client_of(make_app(max_batch_bytes=1024))
    refused(await http.post("/things", content=b"x" * 2000), 413, "too_large")
