"""Limits of a request: the size of its body, the text of its URL, its time."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from seedcore import errors
from tests.web.application import client_of, make_app, raw, refused


async def test_a_body_over_the_limit_is_413_by_its_declared_length():
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b"x" * 2000

    http = client_of(make_app(max_batch_bytes=1024))
    answer = await http.post("/echo", content=body(), headers={"content-length": "2000"})
    assert refused(answer, 413, "too_large")["limit"] == 1024
    assert "SEEDCORE_MAX_BATCH_BYTES" in answer.json()["detail"]


async def test_a_streamed_body_over_the_limit_is_413_although_it_declares_none():
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b" " * 100

    http = client_of(make_app(max_batch_bytes=1024))
    answer = await http.post("/echo", content=body(), headers={"content-type": "application/json"})
    assert refused(answer, 413, "too_large")["limit"] == 1024
    assert sent < 50, "the rest of the body was read all the same"


async def test_a_body_within_the_limit_passes():
    http = client_of(make_app(max_batch_bytes=1024))
    body = {"a": "x" * 1000}
    assert (await http.post("/echo", json=body)).json() == {"got": body}


@pytest.mark.parametrize(
    ("url", "field", "what"),
    [
        ("/pick?path=a%00b", "path", "U+0000"),
        ("/pick?path=a&path=%FF", "path", "bytes that are not UTF-8"),
        ("/pick?%00=a", "\N{REPLACEMENT CHARACTER}", "U+0000"),
        ("/raise/%00", "path", "U+0000"),
        ("/raise/%ED%A0%80", "path", "bytes that are not UTF-8"),
    ],
)
async def test_a_url_that_no_store_could_keep_is_422_and_says_where(
    http: httpx.AsyncClient, url: str, field: str, what: str
):
    document = refused(await http.get(url), 422, "invalid_input")
    assert document["errors"] == [{"field": field, "message": f"must not hold {what}"}]


async def test_a_url_in_utf8_is_read_as_such(http: httpx.AsyncClient):
    assert (await http.get("/pick?path=%C3%A9%20%E2%82%AC&query=1")).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"x-request-timeout-seconds": "0"}, {"x-request-timeout-seconds": "3600"}])
async def test_a_slow_request_is_504_whatever_the_headers_say(headers: dict[str, str]):
    http = client_of(make_app(request_timeout_s=0.1), headers=headers)
    async with asyncio.timeout(20):
        document = refused(await http.get("/slow"), 504, "deadline_exceeded")
    assert "0.1 s" in document["detail"]


async def test_a_body_that_never_comes_is_504():
    async def body() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    http = client_of(make_app(request_timeout_s=0.1))
    async with asyncio.timeout(20):
        answer = await http.post("/echo", content=body(), headers={"content-type": "application/json"})
    refused(answer, 504, "deadline_exceeded")


async def test_a_timeout_inside_is_not_told_as_the_deadline():
    document = refused(await client_of(make_app()).get("/impatient"), 504, "deadline_exceeded")
    assert "60 s" not in document["detail"]


async def test_an_event_stream_outlives_the_deadline():
    http = client_of(make_app(request_timeout_s=0.2))
    answer = await http.get("/stream", params={"n": 5, "pause_s": 0.1})
    assert answer.text.count("event: progress") == 5


async def test_any_other_answer_is_cut_at_the_deadline():
    got = await raw(make_app(request_timeout_s=0.2), "/dribble")
    assert got.status == 200
    assert isinstance(got.error, errors.DeadlineError)
