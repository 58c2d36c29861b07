"""A single task submitted without the framework is answered as with it."""

import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.api.conftest import TASKS

pytestmark = pytest.mark.integration

ECHO: dict[str, Any] = {"type": "echo", "params": {"value": 1}}
DIRECT, FRAMEWORK = "application/json", "application/x+json"
OWN = ("id", "created_at", "trace_id")


async def answers(http: httpx.AsyncClient, content: str, headers: Any = ()) -> list[httpx.Response]:
    """The same request in both ways: the direct one takes no `+json`."""
    return [
        await http.post(TASKS, content=content, headers=[*headers, ("content-type", kind)])
        for kind in (DIRECT, FRAMEWORK)
    ]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ECHO),
        json.dumps(ECHO | {"queue": "graph", "domain": "d", "priority": 3, "timeout_s": 0.5}),
        json.dumps(ECHO | {"limit": {"key": "k", "max_running": 2}, "deadline": "2090-01-01T00:00:00Z"}),
        json.dumps(ECHO | {"idempotency_key": "body"}),
        json.dumps(ECHO | {"unknown": 1}),
        json.dumps(ECHO | {"priority": True}),
        json.dumps({"type": "no_such_skill", "params": {}}),
        json.dumps({"type": "\ud800", "params": {}}),
        json.dumps({"\ud800": 1}),
        '{"type": "echo", "params": {"value": NaN}}',
        '{"type": "echo", "type": "echo", "params": {"value": 12345678901234567890}}',
        "[]",
        "{",
    ],
)
async def test_both_ways_give_the_same_answer(http: httpx.AsyncClient, content: str):
    direct, framework = await answers(http, content)
    if direct.status_code == 201 and "idempotency_key" in content:
        assert (framework.status_code, framework.json()) == (200, direct.json())
        return
    assert direct.status_code == framework.status_code
    first, second = direct.json(), framework.json()
    for name in OWN if direct.status_code == 201 else ():
        assert first.pop(name) != second.pop(name)
    assert first == second
    assert direct.headers.keys() == framework.headers.keys()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("idempotency-key", "a"), ("Idempotency-Key", "b")], 201),
        ([("idempotency-key", "")], 422),
        ([("idempotency-key", "x" * 501)], 422),
        ([(b"idempotency-key", b"\xff")], 422),
    ],
)
async def test_odd_keys_are_read_as_the_framework_reads_them(http: httpx.AsyncClient, headers: Any, status: int):
    direct, framework = await answers(http, json.dumps(ECHO), headers)
    assert direct.status_code == status
    assert direct.json() == framework.json()


async def test_a_key_in_utf8_is_the_same_in_header_and_body(http: httpx.AsyncClient):
    headers = [(b"idempotency-key", "schlüssel".encode())]
    direct, framework = await answers(http, json.dumps(ECHO), headers)
    assert (direct.status_code, framework.status_code) == (201, 200)
    assert direct.json()["idempotency_key"] == "schlüssel"
    again = await http.post(TASKS, json=ECHO | {"idempotency_key": "schlüssel"})
    assert (again.status_code, again.json()) == (200, direct.json())


async def test_the_direct_way_is_in_use(app: FastAPI, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch):
    """Without it everything above would hold, too."""

    async def broken(*_: object) -> None:
        raise AssertionError("the framework was asked")

    monkeypatch.setattr(app.router, "app", broken)
    monkeypatch.setattr(type(app.router), "__call__", broken)
    assert (await http.post(TASKS, json=ECHO)).status_code == 201
