"""A model's server that means harm: what it sends is bounded in size and in time, and goes to no other host."""

import asyncio
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from seedcore.errors import SeedCoreError
from seedcore.llm.budget_scope import BudgetScope
from seedcore.llm.calls.token_bounds import prompt_bound
from seedcore.llm.model_errors import ModelAnswerError
from tests.llm.conftest import MakeCaller
from tests.support.scripted_model import ModelTurn, ScriptedModel

pytestmark = pytest.mark.integration
HELLO = {"messages": [{"role": "user", "content": "hello"}], "model": "m"}
SCOPE = BudgetScope()
Script = Callable[[socket.socket], None]


@contextmanager
def server(script: Script) -> Iterator[str]:
    """A server that reads a request and then does what the script says, on loopback; its URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.recv(65_536)
            try:
                script(connection)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def drip(connection: socket.socket) -> None:
    connection.sendall(OK + b"content-length: 100000\r\n\r\n")
    for _ in range(200):
        connection.sendall(b" ")
        time.sleep(0.05)


def drip_headers(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for n in range(200):
        connection.sendall(b"x-%d: 1\r\n" % n)
        time.sleep(0.05)


def endless(connection: socket.socket) -> None:
    connection.sendall(OK + b"\r\n")
    while True:
        connection.sendall(b" " * 65_536)


def endless_headers(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"x: " + b"a" * 60_000 + b"\r\n")


def endless_line(connection: socket.socket) -> None:
    connection.sendall(OK + b"transfer-encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"1\r\na\r\n" * 1000)


def no_http(connection: socket.socket) -> None:
    connection.sendall(b"\x00\xff" * 1000)


@pytest.mark.parametrize(
    "script", [drip, drip_headers, endless, endless_headers, endless_line, no_http], ids=lambda s: s.__name__
)
@pytest.mark.parametrize("way", ["chat", "stream", "embeddings", "models"])
async def test_what_never_ends_is_ended(make_caller: MakeCaller, script: Script, way: str):
    with server(script) as url:
        caller = make_caller(llm_upstream_url=url, llm_timeout_s=1.0, llm_retries=0, llm_max_answer_bytes=200_000)
        began = time.monotonic()
        with pytest.raises(SeedCoreError) as failed:  # noqa: PT012 - one of four ways
            if way == "chat":
                await caller.chat(HELLO, SCOPE)
            elif way == "embeddings":
                await caller.embeddings({"input": "a", "model": "m"}, SCOPE)
            elif way == "models":
                await caller.models()
            else:
                call = await caller.open_stream(HELLO, SCOPE)
                async for _ in call.events():
                    pass
        assert time.monotonic() - began < 5
        assert failed.value.status in (502, 503, 504), failed.value


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_is_followed(model: ScriptedModel, make_caller: MakeCaller, status: int):
    def redirect(connection: socket.socket) -> None:
        connection.sendall(
            b"HTTP/1.1 %d No\r\nlocation: %s/elsewhere\r\ncontent-length: 0\r\n\r\n" % (status, model.url.encode())
        )

    with server(redirect) as url:
        caller = make_caller(llm_upstream_url=url, llm_retries=0, llm_api_key="key-of-ours-1234")
        for ask in (caller.chat(HELLO, SCOPE), caller.embeddings({"input": "a", "model": "m"}, SCOPE), caller.models()):
            with pytest.raises(SeedCoreError) as failed:
                await ask
            assert "key-of-ours" not in str(failed.value)
    assert model.requests == []


async def test_a_packed_answer_is_refused_unread(model: ScriptedModel, make_caller: MakeCaller):
    """A thousand times as large as what is sent."""
    bomb = ModelTurn(raw=gzip.compress(b" " * 30_000_000, 9), headers={"content-encoding": "gzip"})
    model.say(bomb)
    caller = make_caller(llm_retries=0)
    with pytest.raises(ModelAnswerError, match="packed"):
        await caller.chat(HELLO, SCOPE)
    model.say(ModelTurn(status=400, raw=bomb.raw, headers=bomb.headers))
    with pytest.raises(SeedCoreError, match="packed"):
        await caller.chat(HELLO, SCOPE)
    assert model.headers[0]["accept-encoding"] == "identity"
    model.say(ModelTurn("ok"))
    assert (await caller.chat(HELLO, SCOPE)).usage is not None


async def test_names_of_models_are_text_that_can_be_shown(model: ScriptedModel, make_caller: MakeCaller):
    model.models = ["good", "\ud800", "a\0", "", "x" * 201, 5, None, ["a"], "also/good:7b"]  # type: ignore[list-item]
    assert await make_caller().models() == ["good", "also/good:7b"]
    model.models = ["x" * 190] * 30_000
    with pytest.raises(ModelAnswerError):
        await make_caller().models()


async def test_usage_that_cannot_be_right_counts_as_what_was_reserved(model: ScriptedModel, make_caller: MakeCaller):
    caller = make_caller(llm_retries=0)
    bound = prompt_bound({**HELLO, "stream": False, "max_tokens": 100}) - len('"model": "m", ')
    for usage in ((-5, 5), (5, -5), (True, 1), (10**30, 1), (1.5, 1), ("9", 1), (None, 1), (float("nan"), 1)):
        before = sum(row.tokens for row in await caller.budgets.spent() if row.kind == "day")
        body = {"choices": [], "usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1]}}
        model.say(ModelTurn(raw=json.dumps(body).encode()))
        reply = await caller.chat({**HELLO, "max_tokens": 100}, SCOPE)
        after = sum(row.tokens for row in await caller.budgets.spent() if row.kind == "day")
        assert reply.usage is None
        assert after - before == bound + 100, usage


async def test_a_budget_holds_against_a_race_with_a_server_that_says_it_used_nothing_at_all(
    model: ScriptedModel, make_caller: MakeCaller
):
    model.say(ModelTurn(usage=(0, 0), wait=(gate := threading.Event())))
    caller = make_caller(llm_retries=0, llm_budget_day_tokens=1000, llm_concurrency=50)
    asked = [asyncio.create_task(caller.chat({**HELLO, "max_tokens": 100}, SCOPE)) for _ in range(40)]
    await asyncio.wait(asked, timeout=2)
    assert len(model.requests) <= 1000 // 200
    gate.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {getattr(answer, "code", "ok") for answer in answers} == {"ok", "budget_exceeded"}


def test_all_that_is_sent_counts_in_the_bound():
    for field in ("functions", "documents", "chat_template", "prediction", "guided_json"):
        assert prompt_bound({**HELLO, field: "x" * 5000}) >= prompt_bound(HELLO) + 5000
