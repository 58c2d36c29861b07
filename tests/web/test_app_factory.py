"""The web edge: every wrong request and every failure is a problem document."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from seedcore import errors
from seedcore.settings import load_settings
from seedcore.web.app_factory import PROBLEM_JSON, EventStream, create_app, sse

SECRET = "hunter2"


class Place(BaseModel):
    path: str
    query: int = 0


class Body(BaseModel):
    places: list[Place] = []
    body: int = 0


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


def make_app(ready: bool = True, **given: Any) -> FastAPI:
    async def health() -> dict[str, Any]:
        return {"ready": ready, "postgres": {"ready": ready}}

    app = create_app("test", load_settings(**given), health)

    @app.post("/echo")
    async def echo(body: dict[str, Any]) -> dict[str, Any]:
        return {"got": body}

    @app.post("/places")
    async def places(body: Body) -> Body:
        return body

    @app.post("/strict")
    async def strict(body: Strict) -> None:
        return None

    @app.post("/surrogate")
    async def surrogate() -> None:
        raise errors.InvalidInputError("no skill '\ud800'")

    @app.get("/pick")
    async def pick(query: Annotated[Body, Query()]) -> int:
        return query.body

    @app.get("/facts/health")
    async def fact() -> str:
        return "a fact that is called health"

    @app.get("/raise/{code}")
    async def fail(code: str) -> None:
        raise errors.known_errors()[code]("Do this.", errors=[errors.FieldError("a", "b")], retry_after_s=2.4)

    @app.get("/break")
    async def break_down() -> None:
        raise RuntimeError(f"password={SECRET}")

    @app.get("/slow")
    async def slow() -> None:
        await asyncio.sleep(30)

    @app.get("/impatient")
    async def impatient() -> None:
        await asyncio.wait_for(asyncio.sleep(30), 0.01)

    @app.get("/stream")
    async def stream(n: int = 5, pause_s: float = 0.1) -> EventStream:
        async def events() -> AsyncIterator[dict[str, Any]]:
            for i in range(n):
                await asyncio.sleep(pause_s)
                yield {"id": i, "event": "progress", "data": {"n": i}}

        return EventStream(events())

    @app.get("/dribble")
    async def dribble() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            while True:
                yield b"x"
                await asyncio.sleep(0.05)

        return StreamingResponse(chunks(), media_type="application/octet-stream")

    return app


def client_of(app: FastAPI, **options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", **options)


@pytest.fixture
def http() -> httpx.AsyncClient:
    return client_of(make_app())


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer, after holding it against the fixed shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM_JSON
    document = answer.json()
    assert (document["status"], document["code"]) == (status, code)
    assert document["type"] == f"urn:seedcore:problem:{code}"
    assert document["title"]
    assert document["detail"]
    return document


# -- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", errors.known_errors().values(), ids=lambda k: k.code)
async def test_every_error_becomes_its_problem_document(http: httpx.AsyncClient, kind: type[errors.SeedCoreError]):
    answer = await http.get(f"/raise/{kind.code}")
    document = refused(answer, kind.status, kind.code)
    assert document["errors"] == [{"field": "a", "message": "b"}]
    assert answer.headers["retry-after"] == "2"


async def test_an_unexpected_error_tells_nothing_of_its_text(http: httpx.AsyncClient):
    answer = await http.get("/break")
    assert "RuntimeError" in refused(answer, 500, "internal_error")["detail"]
    assert SECRET not in answer.text


@pytest.mark.parametrize("body", ['{"a": ', "nonsense", '{"a": 1} x', b"\xff\xfe{}"])
async def test_a_body_that_is_no_json_is_400(http: httpx.AsyncClient, body: str | bytes):
    answer = await http.post("/echo", content=body, headers={"content-type": "application/json"})
    refused(answer, 400, "malformed_request")


async def test_malformed_json_is_told_where(http: httpx.AsyncClient):
    answer = await http.post("/echo", content='{"a": 1,}', headers={"content-type": "application/json"})
    assert "at character 8" in refused(answer, 400, "malformed_request")["detail"]


async def test_a_body_nested_without_end_is_400(http: httpx.AsyncClient):
    answer = await http.post(
        "/echo", content='{"a":' + "[" * 100_000 + "]" * 100_000 + "}", headers={"content-type": "application/json"}
    )
    refused(answer, 400, "malformed_request")


@pytest.mark.parametrize("body", ["", "[1]", "1", '"text"', "null"])
async def test_json_of_another_shape_is_422_and_names_the_body(http: httpx.AsyncClient, body: str):
    answer = await http.post("/echo", content=body, headers={"content-type": "application/json"})
    assert refused(answer, 422, "invalid_input")["errors"][0]["field"] == "(body)"


async def test_a_wrong_field_is_named_by_its_whole_path(http: httpx.AsyncClient):
    body = {"places": [{"path": "a"}, {"path": 1, "query": "x"}], "body": "y"}
    document = refused(await http.post("/places", json=body), 422, "invalid_input")
    assert [e["field"] for e in document["errors"]] == ["places.1.path", "places.1.query", "body"]
    assert "places.1.path" in document["detail"]


async def test_a_field_name_that_utf8_cannot_write_is_still_422(http: httpx.AsyncClient):
    content = '{"\\ud800": 1}'
    answer = await http.post("/strict", content=content, headers={"content-type": "application/json"})
    refused(answer, 422, "invalid_input")


async def test_a_detail_that_utf8_cannot_write_is_still_a_problem(http: httpx.AsyncClient):
    answer = await http.post("/surrogate")
    assert refused(answer, 422, "invalid_input")["detail"] == "no skill '\ud800'"


async def test_a_wrong_query_parameter_is_named(http: httpx.AsyncClient):
    document = refused(await http.get("/pick", params={"body": "x"}), 422, "invalid_input")
    assert document["errors"][0]["field"] == "body"


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


async def test_an_unknown_path_and_a_wrong_method_are_problems(http: httpx.AsyncClient):
    assert "/nowhere" in refused(await http.get("/nowhere"), 404, "not_found")["detail"]
    answer = await http.get("/echo")
    assert "GET" in refused(answer, 405, "method_not_allowed")["detail"]
    assert answer.headers["allow"] == "OPTIONS, POST"


# -- health ------------------------------------------------------------------------------------------------


async def test_health_is_200_when_ready_and_503_when_not(http: httpx.AsyncClient):
    answer = await http.get("/health")
    assert answer.status_code == 200
    assert answer.json() | {"version": "x"} == {
        "status": "ok",
        "service": "test",
        "version": "x",
        "postgres": {"ready": True},
    }
    answer = await client_of(make_app(ready=False)).get("/health")
    assert answer.status_code == 503
    assert answer.json()["status"] == "unavailable"
    assert answer.json()["postgres"] == {"ready": False}


# -- body limit --------------------------------------------------------------------------------------------


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


# -- keys --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer "},
        {"x-api-key": ""},
        {"x-api-key": "one,two"},
        {"authorization": "Basic b25l"},
        {"x-api-key": "\u00e9".encode("latin-1")},
    ],
)
@pytest.mark.parametrize("path", ["/pick", "/docs", "/openapi.json", "/nowhere", "/facts/health", "/pick/health"])
async def test_without_a_right_key_everything_but_health_is_401(headers: dict[str, Any], path: str):
    http = client_of(make_app(api_keys="one, two"))
    answer = await http.get(path, headers=headers)
    assert "SEEDCORE_API_KEYS" in refused(answer, 401, "unauthorized")["detail"]
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer one"},
        {"authorization": "bearer two"},
        {"x-api-key": "two"},
        {"X-API-Key": "one"},
    ],
)
async def test_any_of_the_keys_opens(headers: dict[str, str]):
    http = client_of(make_app(api_keys="one, two"))
    assert (await http.get("/pick", headers=headers)).status_code == 200


async def test_health_needs_no_key_also_below_a_route_prefix():
    app = make_app(api_keys="one")
    assert (await client_of(app).get("/health")).status_code == 200
    transport = httpx.ASGITransport(app, root_path="/pipeline")
    http = httpx.AsyncClient(transport=transport, base_url="http://test")
    assert (await http.get("/pipeline/health")).status_code == 200
    assert (await http.get("/pipeline/facts/health")).status_code == 401


# -- deadline ----------------------------------------------------------------------------------------------


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


# -- event streams -----------------------------------------------------------------------------------------


async def encoded(*items: dict[str, Any], **options: Any) -> str:
    async def events() -> AsyncIterator[dict[str, Any]]:
        for item in items:
            yield item

    return b"".join([chunk async for chunk in sse(events(), **options)]).decode()


async def test_an_event_has_id_event_and_json_data():
    text = await encoded({"id": 7, "event": "progress", "data": {"n": 1, "ü": None}})
    assert text == 'id: 7\nevent: progress\ndata: {"n":1,"ü":null}\n\n'


async def test_data_of_several_lines_stays_one_event():
    text = await encoded({"id": 1, "event": "progress", "data": '{\n"a":\r\n1\r,"b":"\u2028"}'})
    assert text == 'id: 1\nevent: progress\ndata: {\ndata: "a":\ndata: 1\ndata: ,"b":"\u2028"}\n\n'


async def test_a_quiet_stream_is_kept_alive_and_loses_nothing():
    async def events() -> AsyncIterator[dict[str, Any]]:
        await asyncio.sleep(0.1)
        yield {"id": 1, "event": "progress", "data": {}}

    chunks = [chunk async for chunk in sse(events(), ping_s=0.02)]
    assert chunks[0] == b": ping\n\n"
    assert chunks[-1] == b"id: 1\nevent: progress\ndata: {}\n\n"


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
@pytest.mark.parametrize("waiting", [True, False], ids=["while the source waits", "while bytes are sent"])
async def test_a_client_that_leaves_closes_the_source(spec_version: str, waiting: bool):
    closed = asyncio.Event()

    async def events() -> AsyncIterator[dict[str, Any]]:
        try:
            yield {"id": 1, "event": "progress", "data": {}}
            await asyncio.sleep(30 if waiting else 0)
            yield {"id": 2, "event": "progress", "data": {}}
        finally:
            closed.set()

    app = make_app()

    @app.get("/follow")
    async def follow() -> EventStream:
        return EventStream(events(), ping_s=0.05)

    async with asyncio.timeout(20):
        await raw(app, "/follow", leave_after=1, spec_version=spec_version)
        await closed.wait()


async def test_closing_the_encoder_closes_the_source_at_once():
    closed = False

    async def events() -> AsyncIterator[dict[str, Any]]:
        nonlocal closed
        try:
            while True:
                yield {"id": 1, "event": "progress", "data": {}}
        finally:
            closed = True

    stream = sse(events())
    await anext(stream)
    await stream.aclose()
    assert closed


class Raw:
    """What one request over bare ASGI gave."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.error: BaseException | None = None


async def raw(app: FastAPI, path: str, *, leave_after: int | None = None, spec_version: str = "2.4") -> Raw:
    """Ask by bare ASGI; the client leaves after `leave_after` body messages."""
    got = Raw()
    left = asyncio.Event()
    bodies = 0
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal bodies
        if left.is_set():
            raise OSError("the client has left")
        if message["type"] == "http.response.start":
            got.status = message["status"]
            return
        got.body += message.get("body", b"")
        bodies += 1
        if bodies == leave_after:
            left.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": spec_version},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"test")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    run: Callable[..., Any] = app
    try:
        await run(scope, receive, send)
    except Exception as error:  # noqa: BLE001 - the test looks at it
        got.error = error
    return got


def test_problem_documents_are_json_that_anybody_reads():
    document = errors.problem(errors.InvalidInputError("ä", errors=[errors.FieldError("x", "y")]))
    assert json.loads(json.dumps(document)) == document
