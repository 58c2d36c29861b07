"""The two classes: the same names, the same requests, and nothing of their own but carrying out."""

import asyncio
import inspect
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from seedcore import errors
from seedcore.client import AsyncSeedCore, NewTask, SeedCore, async_client, sync_client
from tests.client.scripted_network import TASK_ID, event, task

Handler = Callable[[httpx.Request], httpx.Response]
KINDS = ("sync", "async")


class Client:
    """Calls either class by the same words."""

    def __init__(self, kind: str, handler: Handler, **arguments: Any) -> None:
        self.kind, self.handler, self.arguments = kind, handler, arguments

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return asyncio.run(self._async(name, args, kwargs)) if self.kind == "async" else self._sync(name, args, kwargs)

    def _sync(self, name: str, args: Any, kwargs: Any) -> Any:
        with SeedCore("http://seedcore.test", transport=httpx.MockTransport(self.handler), **self.arguments) as client:
            answer = getattr(client, name)(*args, **kwargs)
            return list(answer) if inspect.isgenerator(answer) else answer

    async def _async(self, name: str, args: Any, kwargs: Any) -> Any:
        transport = httpx.MockTransport(self.handler)
        async with AsyncSeedCore("http://seedcore.test", transport=transport, **self.arguments) as client:
            answer = getattr(client, name)(*args, **kwargs)
            return [item async for item in answer] if inspect.isasyncgen(answer) else await answer


def test_both_have_the_same_names_and_arguments():
    def public(kind: type) -> dict[str, list[tuple[str, Any, Any]]]:
        return {
            "close" if name == "aclose" else name: [
                (p.name, p.kind, p.default) for p in inspect.signature(member).parameters.values()
            ]
            for name, member in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert public(SeedCore) == public(AsyncSeedCore)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("call", "method", "path"),
    [
        (("submit", "echo"), "POST", "/api/v1/tasks"),
        (("get", TASK_ID), "GET", f"/api/v1/tasks/{TASK_ID}"),
        (("get", str(TASK_ID)), "GET", f"/api/v1/tasks/{TASK_ID}"),
        (("cancel", TASK_ID), "POST", f"/api/v1/tasks/{TASK_ID}/cancel"),
        (("retry", TASK_ID), "POST", f"/api/v1/tasks/{TASK_ID}/retry"),
        (("approve", TASK_ID), "POST", f"/api/v1/tasks/{TASK_ID}/approve"),
        (("reject", TASK_ID, "no"), "POST", f"/api/v1/tasks/{TASK_ID}/reject"),
    ],
)
def test_each_call_is_its_request(kind: str, call: tuple[Any, ...], method: str, path: str):
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=task())

    assert Client(kind, handler, api_key="secret")(*call).id == TASK_ID
    (request,) = seen
    assert (request.method, request.url.path) == (method, path)
    assert request.headers["authorization"] == "Bearer secret"
    assert set(request.extensions["timeout"].values()) == {30.0}


@pytest.mark.parametrize("kind", KINDS)
def test_find_goes_through_the_pages_as_far_as_it_is_asked(kind: str):
    asked: list[dict[str, str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        query = dict(request.url.params)
        asked.append(query)
        begin, size = int(query.get("cursor", 0)), int(query["limit"])
        items = [task(priority=n) for n in range(begin, min(begin + size, 7))]
        return httpx.Response(
            200, json={"items": items, "next_cursor": str(begin + size) if begin + size < 7 else None}
        )

    found = Client(kind, handler)("find", status="queued", task_type="echo", page_size=3)
    assert [t.priority for t in found] == list(range(7))
    assert asked[1] == {"status": "queued", "type": "echo", "cursor": "3", "limit": "3"}
    asked.clear()
    assert len(Client(kind, handler)("find", limit=4, page_size=3)) == 4
    assert [query["limit"] for query in asked] == ["3", "1"]
    asked.clear()
    assert Client(kind, handler)("find", limit=0) == []
    assert asked == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_breaks_goes_on(kind: str):
    asked: list[str] = []

    class Breaks(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self) -> Any:
            yield event(1, "submitted")
            raise httpx.ReadError("reset")

        async def __aiter__(self) -> Any:
            for piece in (event(1, "submitted"),):
                yield piece
            raise httpx.ReadError("reset")

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["last-event-id"])
        headers = {"content-type": "text/event-stream"}
        if len(asked) == 1:
            return httpx.Response(200, headers=headers, stream=Breaks())
        return httpx.Response(200, headers=headers, content=event(2, "completed"))

    assert [e.event for e in Client(kind, handler)("events", TASK_ID)] == ["submitted", "completed"]
    assert asked == ["0", "1"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_connection_is_tried_again_in_real_time(kind: str):
    seen: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.content)
        if len(seen) < 3:
            raise httpx.ReadError("reset")
        return httpx.Response(201, json=task())

    began = time.monotonic()
    assert Client(kind, handler)("submit", "echo", {"value": 1}).id == TASK_ID
    assert 0.15 <= time.monotonic() - began < 5
    assert len(set(seen)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_there_is_told_with_the_mend(kind: str):
    def handler(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with pytest.raises(errors.UnavailableError, match=r"connection refused.*Is SeedCore running"):
        Client(kind, handler, retry_for_s=0)("queue")


@pytest.mark.parametrize("kind", KINDS)
def test_lists_come_without_their_wrapping(kind: str):
    depth = {"ready": 1, "deferred": 0, "oldest_ready_s": 0.5}
    skill = {"name": "echo", "organ": "utility", "timeout_s": 5, "params_schema": {}, "result_schema": {}}
    bodies = {
        "/api/v1/queue": {"queues": {"default": depth}, "dispatchers": [], "running": 2},
        "/api/v1/skills": {"items": [skill]},
        f"/api/v1/tasks/{TASK_ID}/plan": {"id": str(TASK_ID), "steps": [task()]},
    }
    client = Client(kind, lambda request: httpx.Response(200, json=bodies[request.url.path]))
    state = client("queue")
    assert (state.queues["default"].ready, state.model_extra) == (1, {"running": 2})
    assert [one.name for one in client("skills")] == ["echo"]
    assert [step.id for step in client("plan", TASK_ID)] == [TASK_ID]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "call",
    [
        ("get", "../queue"),
        ("cancel", ""),
        ("events", 7),
        ("wait", None),
        ("submit", ""),
        ("submit", "echo", {"value": float("nan")}),
        ("reject", TASK_ID, ...),
    ],
    ids=str,
)
def test_what_is_not_allowed_is_refused_before_anything_is_sent(kind: str, call: tuple[Any, ...]):
    def handler(_request: httpx.Request) -> httpx.Response:
        raise AssertionError("it was sent")

    with pytest.raises(errors.InvalidInputError):
        Client(kind, handler)(*call)


@pytest.mark.parametrize(
    "arguments",
    [
        {"base_url": "127.0.0.1:8000"},
        {"base_url": "ftp://host"},
        {"base_url": "http://"},
        {"base_url": "http://user:hunter2@host"},
        {"base_url": "http://host?key=hunter2"},
        {"api_key": "hunter2\nx"},
        {"api_key": "hunter2é"},
        {"api_key": " hunter2"},
        {"api_key": ""},
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
        {"retry_for_s": -1},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [SeedCore, AsyncSeedCore])
def test_wrong_arguments_are_refused_and_no_secret_is_repeated(kind: Any, arguments: dict[str, Any]):
    with pytest.raises(errors.InvalidInputError) as raised:
        kind(**arguments)
    assert "hunter2" not in str(raised.value)


def test_a_client_does_not_show_its_key():
    with SeedCore("http://host/below/", api_key="hunter2") as client:
        assert repr(client) == "SeedCore('http://host/below')"


def test_a_base_url_may_have_a_path():
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(200, json=task())

    with SeedCore("http://host/below/", transport=httpx.MockTransport(handler)) as client:
        client.get(TASK_ID)
    assert seen == [f"http://host/below/api/v1/tasks/{TASK_ID}"]


class Held(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A stream that goes on until it is closed."""

    closed = False

    def __iter__(self) -> Any:
        while True:
            yield event(1, "submitted")

    async def __aiter__(self) -> Any:
        while True:
            yield event(1, "submitted")
            await asyncio.sleep(0)

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


def held(stream: Held) -> httpx.MockTransport:
    headers = {"content-type": "text/event-stream"}
    return httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, stream=stream))


def test_leaving_the_events_gives_the_connection_back():
    stream = Held()
    with SeedCore(transport=held(stream)) as client:
        events = client.events(TASK_ID)
        assert next(events).event == "submitted"
        assert not stream.closed
        events.close()
        assert stream.closed


async def test_cancelling_a_wait_gives_the_connection_back():
    stream = Held()
    async with AsyncSeedCore(transport=held(stream)) as client:
        waiting = asyncio.create_task(client.wait(TASK_ID))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert stream.closed


def test_the_classes_hold_no_protocol():
    """Whatever either decides about an answer would have to be written twice."""
    for module in (sync_client, async_client):
        source = inspect.getsource(module)
        assert "status_code ==" not in source
        assert "retry_after" not in source
        assert "/api" not in source


def test_a_small_service_can_import_it():
    heavy = ("ray", "asyncpg", "psycopg", "sqlalchemy", "fastapi", "starlette", "numpy", "seedcore.settings")
    script = f"import sys, seedcore.client, seedcore.client.sql; print([m for m in {heavy} if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.strip() == "[]"


def test_new_tasks_are_typed_by_the_same_model():
    assert NewTask(type="echo", params={"value": 1}).queue is None, "its skill says which"
