"""Typed clients: a Serve handle first, HTTP second, and the same errors over both."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, ValidationError
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException

from seedcore import errors
from seedcore.service_clients.service_client import ServiceClient, json_of
from seedcore.settings import load_settings
from seedcore.telemetry.metrics.metric_registry import REGISTRY

SECRET = "hunter2"


class Client(ServiceClient):
    app, prefix = "tester", "/test"


class Ask(BaseModel):
    n: int
    m: int | None = None


class FakeHandle:
    """A Serve handle whose replica does what `behave` does."""

    def __init__(self, behave: Callable[[str, Any], Any]) -> None:
        self.behave = behave
        self.invoke = self

    async def remote(self, path: str, payload: Any) -> Any:
        answer = self.behave(path, payload)
        return await answer if asyncio.iscoroutine(answer) else answer


def by_handle(behave: Callable[[str, Any], Any], **options: Any) -> Client:
    client = Client(load_settings(), **options)
    client._handle = FakeHandle(behave)
    return client


def by_http(answer: Callable[[httpx.Request], httpx.Response], **given: Any) -> Client:
    """A client outside Ray, whose HTTP ends in `answer`."""
    settings = load_settings(**given)
    client = Client(settings)
    real = client._get_http()
    client._http = httpx.AsyncClient(
        transport=httpx.MockTransport(answer), base_url=settings.base_url, headers=real.headers
    )
    return client


def raising(error: Exception) -> Callable[[str, Any], Any]:
    def behave(_path: str, _payload: Any) -> Any:
        raise error

    return behave


def failed_in_replica(cause: Exception) -> Exception:
    """What a caller catches when `cause` was raised in a replica."""
    return RayTaskError("invoke", "Traceback: line 1", cause).as_instanceof_cause()


async def test_without_ray_calls_go_over_http_and_the_fallback_is_counted():
    client = by_http(lambda _: httpx.Response(200, json={"a": 1}))
    assert await client.call("POST", "/x", {"n": 1}) == {"a": 1}
    await client.call("POST", "/x", {"n": 1})
    assert (client.counts.handle, client.counts.http, client.counts.fallbacks) == (0, 2, 2)
    assert client.counts.last_fallback_reason == "this process is not connected to Ray"


async def test_a_call_that_nothing_answers_is_no_fallback_in_the_metrics():
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    REGISTRY.take()
    for answer in (refuse, lambda _: httpx.Response(503, json={}), lambda _: httpx.Response(200, json={})):
        with contextlib.suppress(errors.SeedCoreError):
            await by_http(answer).call("POST", "/x")
    assert REGISTRY.take().counts["seedcore_fallbacks_total"] == {("http",): 1}


async def test_the_request_carries_path_body_and_key():
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=1)

    client = by_http(answer, serve_url="http://serve:9/", api_keys="first,second")
    await client.call("POST", "/x", Ask(n=1))
    await client.call("GET", "/y", Ask(n=1))
    assert str(seen[0].url) == "http://serve:9/test/x"
    assert json.loads(seen[0].content) == {"n": 1, "m": None}
    assert seen[0].headers["authorization"] == "Bearer first"
    assert str(seen[1].url) == "http://serve:9/test/y?n=1", "a field that is not given is no parameter"


@pytest.mark.parametrize(
    "error",
    [
        errors.NotFoundError("no such thing"),
        errors.InvalidInputError("n: wrong", errors=[errors.FieldError("n", "wrong")]),
        errors.OverloadedError("later", retry_after_s=3),
        errors.SchemaBehindError("migrate first"),
        errors.ConflictError("ended", task_status="failed"),
    ],
    ids=lambda error: error.code,
)
async def test_a_problem_document_becomes_the_error_that_the_service_raised(error: errors.SeedCoreError):
    client = by_http(lambda _: httpx.Response(error.status, json=errors.problem(error)))
    with pytest.raises(type(error)) as caught:
        await client.call("POST", "/x")
    assert vars(caught.value) == vars(error)


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(503, text="No replicas"),
        httpx.Response(500, json={"oops": 1}),
        httpx.Response(404, json=["nothing"]),
        httpx.Response(200, text="<html>"),
    ],
)
async def test_an_answer_that_is_no_seedcores_is_unavailable_and_told_with_its_status(response: httpx.Response):
    client = by_http(lambda _: response)
    with pytest.raises(errors.UnavailableError, match=str(response.status_code)):
        await client.call("POST", "/x")


async def test_where_nothing_listens_the_error_tells_where():
    client = Client(load_settings(serve_url="http://127.0.0.1:1"))

    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    client._http = httpx.AsyncClient(transport=httpx.MockTransport(refuse), base_url=client.settings.base_url)
    with pytest.raises(errors.UnavailableError, match=r"http://127\.0\.0\.1:1/test does not answer"):
        await client.call("POST", "/x")
    with pytest.raises(errors.UnavailableError, match="/test/health"):
        await client.health()


async def test_a_timeout_over_http_is_a_deadline_error():
    def late(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("late", request=request)

    with pytest.raises(errors.DeadlineError, match="/test/x took longer than 60 s"):
        await by_http(late).call("POST", "/x")


async def test_health_is_the_body_whatever_the_status():
    client = by_http(lambda _: httpx.Response(503, json={"status": "unavailable"}))
    assert await client.health() == {"status": "unavailable"}
    with pytest.raises(errors.UnavailableError, match="answered 502"):
        await by_http(lambda _: httpx.Response(502, text="bad gateway")).health()


async def test_a_late_health_is_unavailable():
    def late(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("late", request=request)

    with pytest.raises(errors.UnavailableError, match="ReadTimeout"):
        await by_http(late).health()


async def test_closing_twice_is_fine():
    client = by_http(lambda _: httpx.Response(200, json=1))
    await client.call("POST", "/x")
    await client.aclose()
    await client.aclose()


def test_a_good_answer_gives_its_json_of_a_good_answer():
    request = httpx.Request("GET", "http://h/x")
    assert json_of(httpx.Response(200, json=[1], request=request)) == [1]


async def test_a_handle_is_used_when_there_is_one_and_counted():
    client = by_handle(lambda path, payload: {"path": path, "payload": payload})
    assert await client.call("POST", "/x", Ask(n=1)) == {"path": "/x", "payload": {"n": 1, "m": None}}
    assert (client.counts.handle, client.counts.http, client.counts.fallbacks) == (1, 0, 0)


@pytest.mark.parametrize("transport", ["handle", "http"])
async def test_an_answer_becomes_the_model_that_the_caller_names(transport: str):
    if transport == "handle":
        client = by_handle(lambda _path, payload: payload)
    else:
        client = by_http(lambda request: httpx.Response(200, content=request.content))
    assert await client.call_model(Ask, "POST", "/x", {"n": 1}) == Ask(n=1)
    with pytest.raises(ValidationError):
        await client.call_model(Ask, "POST", "/x", {"n": "none"})


async def test_an_error_raised_in_the_replica_comes_back_itself():
    cause = errors.ConflictError("ended", errors=[errors.FieldError("a", "b")], retry_after_s=2, task_status="failed")
    with pytest.raises(errors.ConflictError) as caught:
        await by_handle(raising(failed_in_replica(cause))).call("POST", "/x")
    assert type(caught.value) is errors.ConflictError, "no traceback of the replica comes along"
    assert vars(caught.value) == vars(cause)
    assert str(caught.value) == "ended"


async def test_an_unexpected_error_in_the_replica_is_told_by_its_class_alone():
    with pytest.raises(errors.UnavailableError, match="tester/x failed: ValueError") as caught:
        await by_handle(raising(failed_in_replica(ValueError(SECRET)))).call("POST", "/x")
    assert SECRET not in caught.value.detail


async def test_a_slow_replica_is_a_deadline_error():
    client = by_handle(lambda *_: asyncio.sleep(30), timeout_s=0.05)
    with pytest.raises(errors.DeadlineError, match=r"tester/x took longer than 0\.05 s"):
        await client.call("POST", "/x")


async def test_a_timeout_raised_in_the_replica_is_not_our_deadline():
    client = by_handle(raising(failed_in_replica(TimeoutError("inner"))))
    with pytest.raises(errors.UnavailableError, match="TimeoutError"):
        await client.call("POST", "/x")


async def test_back_pressure_is_overloaded_with_a_time_to_come_back():
    with pytest.raises(errors.OverloadedError) as caught:
        await by_handle(raising(BackPressureError(1, 1))).call("POST", "/x")
    assert caught.value.retry_after_s == 1


@pytest.mark.parametrize("error", [ActorDiedError(), RayServeException("gone")], ids=lambda e: type(e).__name__)
async def test_a_handle_that_died_is_unavailable_and_looked_up_anew(error: Exception):
    client = by_handle(raising(error))
    with pytest.raises(errors.UnavailableError, match=f"tester does not answer: {type(error).__name__}"):
        await client.call("POST", "/x")
    client._http = by_http(lambda _: httpx.Response(200, json="by http"))._http
    assert await client.call("POST", "/x") == "by http"
    assert client.counts.fallbacks == 1


async def test_reaching_a_service_asks_for_its_health_over_the_handle():
    asked: list[str] = []
    client = by_handle(lambda path, _payload: asked.append(path) or {"ready": False, "cold": {"x": "y"}})
    assert await client.reach() == {"ready": False, "cold": {"x": "y"}}
    assert asked == ["/health"]


async def test_a_service_without_a_handle_is_not_reached_and_counts_as_no_fallback():
    client = Client(load_settings())
    with pytest.raises(errors.UnavailableError, match="tester cannot be reached"):
        await client.reach()
    assert (client.counts.fallbacks, client.counts.http) == (0, 0)
