"""A hot route that is answered without the framework: what is plain, and what goes on to the framework as it came."""

import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

from seedcore.errors import ConflictError
from seedcore.settings import load_settings
from seedcore.web.access.caller import Caller
from seedcore.web.app_factory import create_app
from tests.web.application import client_of, refused

JSON = {"content-type": "application/json"}


async def health() -> dict[str, Any]:
    return {"ready": True}


async def handle(body: dict[str, object], headers: Any, caller: Caller) -> Response | None:
    if body.get("n") == 409:
        raise ConflictError("taken")
    return None if (b"x-other", b"1") in headers else JSONResponse({"direct": body, "caller": caller.name})


def make_app(**given: Any) -> FastAPI:
    app = create_app("test", load_settings(**given), health, direct={"/things": handle})

    @app.post("/things")
    async def things(body: dict[str, Any]) -> dict[str, Any]:
        return {"framework": body}

    @app.get("/things")
    async def get_things() -> str:
        return "things"

    return app


@pytest.fixture
def http() -> httpx.AsyncClient:
    return client_of(make_app())


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
async def test_a_plain_request_is_answered_directly(http: httpx.AsyncClient, content_type: str):
    answer = await http.post("/things", content=b'{"n": 1}', headers={"content-type": content_type})
    assert answer.json() == {"direct": {"n": 1}, "caller": "anonymous"}


@pytest.mark.parametrize("headers", [{"x-other": "1"}, {"content-type": "application/a+json"}])
async def test_what_is_not_plain_goes_on_with_its_body(http: httpx.AsyncClient, headers: dict[str, str]):
    answer = await http.post("/things", content=b'{"n": 1}', headers=JSON | headers)
    assert answer.json() == {"framework": {"n": 1}}


async def test_a_body_in_pieces_is_read_whole_in_both_ways(http: httpx.AsyncClient):
    async def pieces() -> Any:
        for piece in (b'{"n"', b": ", b"1}"):
            yield piece

    assert (await http.post("/things", content=pieces(), headers=JSON)).json() == {
        "direct": {"n": 1},
        "caller": "anonymous",
    }
    answer = await http.post("/things", content=pieces(), headers=JSON | {"x-other": "1"})
    assert answer.json() == {"framework": {"n": 1}}


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "invalid_input"),
        (b"[1]", 422, "invalid_input"),
        (b"null", 422, "invalid_input"),
        (b"{", 400, "malformed_request"),
        (b'{"n": "\xff"}', 400, "malformed_request"),
        (b'{"n": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "malformed_request"),
        (b'{"n": 409}', 409, "conflict"),
    ],
    ids=["empty", "list", "null", "no JSON", "not UTF-8", "too deep", "refused"],
)
async def test_bodies_that_cannot_be_used_are_refused_as_by_the_framework(
    http: httpx.AsyncClient, content: bytes, status: int, code: str
):
    refused(await http.post("/things", content=content, headers=JSON), status, code)


async def test_keys_limits_and_other_methods_are_checked_as_on_every_route(http: httpx.AsyncClient):
    guarded = client_of(make_app(api_keys="secret", max_batch_bytes=1024))
    refused(await guarded.post("/things", json={}), 401, "unauthorized")
    key = {"x-api-key": "secret"}
    refused(await guarded.post("/things", content=b"x" * 2000, headers=key | JSON), 413, "too_large")
    assert (await http.get("/things")).json() == "things"
    refused(await http.put("/things", json={}), 405, "method_not_allowed")
    assert (await http.options("/things")).headers["allow"] == "GET, HEAD, OPTIONS, POST"


async def test_a_client_that_leaves_within_the_body_stores_nothing():
    messages = iter([{"type": "http.request", "body": b'{"n": 1}', "more_body": True}, {"type": "http.disconnect"}])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "method": "POST",
        "path": "/things",
        "raw_path": b"/things",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    await make_app()(scope, receive, send)
    assert sent[0]["status"] == 400
    assert json.loads(sent[1]["body"])["code"] == "malformed_request"
