"""An application with one route for each thing that can go wrong, and clients for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import httpx
from fastapi import FastAPI, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from seedcore import errors
from seedcore.settings import load_settings
from seedcore.web.app_factory import create_app
from seedcore.web.problems import PROBLEM_JSON
from seedcore.web.sse import EventStream

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
