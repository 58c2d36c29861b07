"""One table of methods: every path says what it takes, HEAD answers like GET, OPTIONS lists."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from seedcore.settings import load_settings
from seedcore.web.app_factory import create_app
from seedcore.web.sse import EventStream
from tests.web.application import client_of, refused


class Body(BaseModel):
    n: int = 0


def make_app(**given: Any) -> FastAPI:
    async def health() -> dict[str, Any]:
        return {"ready": True}

    app = create_app("test", load_settings(**given), health)
    router = APIRouter(prefix="/things")

    @router.post("")
    async def add(body: Body) -> Body:
        return body

    @router.get("")
    async def find() -> list[int]:
        return [1, 2, 3]

    # After its neighbour with a parameter on purpose: the path that is spelled out goes first.
    @router.get("/{thing}")
    async def get(thing: int) -> int:
        return thing

    @router.delete("/{thing}")
    async def remove(thing: int) -> None:
        return None

    @router.post("/batch")
    async def add_many(body: Body | None = None) -> int:
        return 0 if body is None else body.n

    app.include_router(router)

    @app.get("/stream")
    async def stream() -> EventStream:
        async def events() -> AsyncIterator[dict[str, Any]]:
            await asyncio.Event().wait()
            yield {}

        return EventStream(events())

    return app


@pytest.fixture
def http() -> httpx.AsyncClient:
    return client_of(make_app())


METHODS = [
    ("/things", "GET, HEAD, OPTIONS, POST"),
    ("/things/7", "DELETE, GET, HEAD, OPTIONS"),
    ("/things/batch", "OPTIONS, POST"),
    ("/health", "GET, HEAD, OPTIONS"),
    ("/docs", "GET, HEAD, OPTIONS"),
]


@pytest.mark.parametrize(("path", "allow"), METHODS)
async def test_options_lists_every_method_of_a_path(http: httpx.AsyncClient, path: str, allow: str):
    answer = await http.options(path)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allow, b"")


@pytest.mark.parametrize(("path", "allow"), METHODS)
@pytest.mark.parametrize("method", ["PATCH", "TRACE", "BREW"])
async def test_a_method_that_a_path_does_not_take_is_405_with_those_it_takes(
    http: httpx.AsyncClient, path: str, allow: str, method: str
):
    answer = await http.request(method, path)
    assert answer.headers["allow"] == allow
    assert allow in refused(answer, 405, "method_not_allowed")["detail"]


async def test_a_spelled_out_path_is_not_taken_for_its_neighbours_parameter(http: httpx.AsyncClient):
    assert (await http.get("/things/batch")).headers["allow"] == "OPTIONS, POST"
    assert (await http.get("/things/7")).json() == 7


@pytest.mark.parametrize("path", ["/things", "/things/7", "/health", "/docs", "/openapi.json"])
async def test_head_answers_as_get_does_without_the_body(http: httpx.AsyncClient, path: str):
    got, head = await http.get(path), await http.head(path)
    assert (head.status_code, dict(head.headers), head.content) == (got.status_code, dict(got.headers), b"")
    assert got.content


async def test_head_of_a_wrong_request_has_its_status(http: httpx.AsyncClient):
    assert (await http.head("/things/x")).status_code == 422
    assert (await http.head("/nowhere")).status_code == 404
    assert (await http.head("/things/batch")).status_code == 405


async def test_head_of_a_stream_without_end_ends_with_its_headers(http: httpx.AsyncClient):
    async with asyncio.timeout(20):
        answer = await http.head("/stream")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_options_of_an_unknown_path_is_404(http: httpx.AsyncClient):
    refused(await http.options("/nowhere"), 404, "not_found")


async def test_methods_are_found_below_a_route_prefix():
    transport = httpx.ASGITransport(make_app(), root_path="/pipeline")
    http = httpx.AsyncClient(transport=transport, base_url="http://test")
    assert (await http.options("/pipeline/things")).headers["allow"] == "GET, HEAD, OPTIONS, POST"


async def test_options_and_405_need_a_key_as_everything_does():
    http = client_of(make_app(api_keys="one"))
    for method in ("OPTIONS", "PATCH", "HEAD"):
        assert (await http.request(method, "/things")).status_code == 401
