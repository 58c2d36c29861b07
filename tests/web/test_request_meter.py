"""Requests are counted once each, whatever becomes of them."""

from collections.abc import Iterator

import pytest
from starlette.types import Message, Receive, Scope, Send

from seedcore.telemetry.metrics.metric_registry import REGISTRY
from seedcore.web.request_meter import RequestMeter


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    REGISTRY.configure(enabled=True, max_types=64)
    REGISTRY.take()
    yield
    REGISTRY.take()


async def request(method: str, status: int | None) -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        if status is None:
            raise RuntimeError("it broke")
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_message: Message) -> None:
        return

    await RequestMeter(app, "gateway")({"type": "http", "method": method}, receive, send)


async def test_requests_are_counted_by_method_and_class_of_status() -> None:
    for method, status in (("GET", 200), ("GET", 204), ("POST", 422), ("BREW", 405)):
        await request(method, status)
    with pytest.raises(RuntimeError):
        await request("GET", None)
    taken = REGISTRY.take()
    assert taken.counts["seedcore_http_requests_total"] == {
        ("gateway", "GET", "2xx"): 2,
        ("gateway", "POST", "4xx"): 1,
        ("gateway", "other", "4xx"): 1,
        ("gateway", "GET", "none"): 1,
    }
    assert sum(taken.histograms["seedcore_http_request_seconds"]["gateway",][:-1]) == 4
