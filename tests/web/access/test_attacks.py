"""Attacks on the gateway: nothing that is tried here opens anything."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from seedcore.api.__main__ import make_server
from seedcore.api.app import build_app
from seedcore.settings import Settings
from seedcore.web.sse import EventStream
from tests.web.application import refused

pytestmark = pytest.mark.integration
KEYS, AUDIT, TASKS = "/api/v1/keys", "/api/v1/audit", "/api/v1/tasks"
ROOT = [("Authorization", "Bearer root")]

CHANGES = [
    ("POST", TASKS, {"type": "echo", "params": {"value": 1}}),
    ("POST", f"{TASKS}/batch", {"tasks": [{"type": "echo", "params": {"value": 1}}]}),
    ("POST", f"{TASKS}/0198c0de-0000-7000-8000-000000000000/cancel", None),
    ("POST", f"{TASKS}/0198c0de-0000-7000-8000-000000000000/approve", None),
    ("POST", "/api/v1/queue/default/pause", None),
    ("PUT", "/api/v1/limits/k", {"max_running": 1}),
    ("POST", "/api/v1/dead/requeue", {"type": "echo"}),
    ("POST", KEYS, {"name": "mine", "scopes": ["admin"]}),
    ("DELETE", f"{KEYS}/root", None),
]


@pytest.fixture
async def app(pg_settings: Settings) -> AsyncIterator[FastAPI]:
    made = build_app(pg_settings.model_copy(update={"api_keys": SecretStr("root")}))
    yield made
    await made.state.access.aclose()
    await made.state.gateway.aclose()


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


async def new_key(http: httpx.AsyncClient, name: str, *scopes: str, **given: Any) -> str:
    answer = await http.post(KEYS, json={"name": name, "scopes": scopes, **given}, headers=dict(ROOT))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"])


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_without_a_key_nothing_is_changed(http: httpx.AsyncClient, method: str, path: str, body: Any):
    refused(await http.request(method, path, json=body), 401, "unauthorized")
    invented = {"Authorization": f"Bearer sc_{secrets.token_urlsafe(32)}"}
    refused(await http.request(method, path, json=body, headers=invented), 401, "unauthorized")


async def test_a_key_does_what_its_scope_says_and_no_more(http: httpx.AsyncClient):
    needed = ["submit", "submit", "operate", "approve", "operate", "operate", "operate", "admin", "admin"]
    for scope in ("read", "submit", "approve", "operate"):
        headers = {"X-API-Key": await new_key(http, scope, scope)}
        assert (await http.get(TASKS, headers=headers)).status_code == (200 if scope == "read" else 403)
        for (method, path, body), wanted in zip(CHANGES, needed, strict=True):
            answer = await http.request(method, path, json=body, headers=headers)
            if wanted == scope:
                assert answer.status_code not in (401, 403), (scope, path)
            else:
                assert refused(answer, 403, "missing_scope")["scope"] == wanted


async def test_a_tenants_key_never_does_what_concerns_all(http: httpx.AsyncClient):
    headers = {"X-API-Key": await new_key(http, "acme", "admin", tenant="acme")}
    for change in ("pause", "resume"):
        refused(await http.post(f"/api/v1/queue/default/{change}", headers=headers), 403, "platform_only")


async def test_an_expired_key_is_refused_from_that_moment(http: httpx.AsyncClient, app: FastAPI):
    headers = {"X-API-Key": await new_key(http, "short", "read", expires_in_s=0.5)}
    assert (await http.get(TASKS, headers=headers)).status_code == 200
    async with asyncio.timeout(5):
        while (answer := await http.get(TASKS, headers=headers)).status_code == 200:
            await asyncio.sleep(0.02)
    assert "expired" in refused(answer, 401, "unauthorized")["detail"]


async def test_a_key_that_another_process_revoked_is_refused_within_a_second(http: httpx.AsyncClient, pg_dsn: str):
    headers = {"X-API-Key": await new_key(http, "stolen", "read")}
    assert (await http.get(TASKS, headers=headers)).status_code == 200
    connection = await asyncpg.connect(pg_dsn)
    loop = asyncio.get_running_loop()
    try:
        await connection.execute("update seedcore.api_keys set revoked_at = now()")
        revoked_at = loop.time()
    finally:
        await connection.close()
    while (answer := await http.get(TASKS, headers=headers)).status_code == 200:
        assert loop.time() - revoked_at < 1.0
        await asyncio.sleep(0.02)
    assert "revoked" in refused(answer, 401, "unauthorized")["detail"]


async def test_an_event_stream_ends_when_its_key_is_revoked(pg_settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(EventStream.__init__, "__kwdefaults__", {"heartbeat_s": 0.2})
    settings = pg_settings.model_copy(update={"api_keys": SecretStr("root")})
    task = {"type": "echo", "params": {"value": 1}}
    async with serving(settings) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        for busy in (True, False):
            headers = {"X-API-Key": await new_key(client, "reader", "read")}
            async with client.stream("GET", "/api/v1/events", headers=headers) as stream:
                assert stream.status_code == 200
                lines = stream.aiter_lines()
                assert await anext(lines) == ": ping", "it goes on while the key is good"
                assert (await client.delete(f"{KEYS}/reader", headers=dict(ROOT))).status_code == 204
                if busy:
                    assert (await client.post(TASKS, json=task, headers=dict(ROOT))).status_code == 201
                async with asyncio.timeout(10):
                    rest = [line async for line in lines]
            assert not any(line.startswith("data:") for line in rest), "nothing that happened since is shown"


async def test_no_name_of_a_tenants_key_keeps_the_platforms_from_being_revoked(http: httpx.AsyncClient):
    stolen = {"X-API-Key": await new_key(http, "ci", "admin")}
    tenant = {"X-API-Key": await new_key(http, "boss", "admin", tenant="acme")}
    body = {"name": "ci", "scopes": ["read"]}
    made = await http.post(KEYS, json=body, headers=tenant)
    assert made.status_code == 201
    assert (await http.post(f"{KEYS}/ci/rotate", headers=dict(ROOT))).json()["tenant"] is None
    assert (await http.delete(f"{KEYS}/ci", headers=dict(ROOT))).status_code == 204
    assert (await http.get(TASKS, headers=stolen)).status_code == 401
    own = {"X-API-Key": made.json()["key"]}
    assert (await http.get(TASKS, headers=own)).status_code == 200, "the tenant's own goes on"


async def test_no_path_keeps_refusals_out_of_the_audit_log(http: httpx.AsyncClient, app: FastAPI, pg_dsn: str):
    for path in (f"{KEYS}/guess/rotate", f"{TASKS}/a%00b/cancel"):
        assert (await http.post(path)).status_code == 401
    assert (await http.post(f"{TASKS}/c%00d/cancel", headers=dict(ROOT))).status_code == 422
    await app.state.access.audit.aclose()
    assert await audited(pg_dsn) == {
        ("guess", 401),
        ("a\N{REPLACEMENT CHARACTER}b", 401),
        ("c\N{REPLACEMENT CHARACTER}d", 422),
    }


async def test_a_client_that_leaves_at_once_is_in_the_audit_log(app: FastAPI, pg_dsn: str):
    """Ray Serve ends a request whose client has gone; what it changed by then stands."""
    connection = await asyncpg.connect(pg_dsn)
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/queue/default/pause",
        "query_string": b"",
        "headers": [(b"x-api-key", b"root")],
        "client": ("10.0.0.1", 1),
    }

    async def nothing(*_: Any) -> Any:
        return {"type": "http.request"}

    try:
        async with connection.transaction():
            await connection.execute("lock table seedcore.paused in exclusive mode")
            request = asyncio.create_task(app(scope, nothing, nothing))
            async with asyncio.timeout(10):
                while not await connection.fetchval("select count(*) from pg_locks where not granted"):
                    await asyncio.sleep(0.01)
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
    finally:
        await connection.close()
    await app.state.access.audit.aclose()
    assert await audited(pg_dsn) == {("default", 499)}


async def audited(dsn: str) -> set[tuple[str, int]]:
    connection = await asyncpg.connect(dsn)
    try:
        return {
            (row["target"], row["status"])
            for row in await connection.fetch("select target, status from seedcore.audit")
        }
    finally:
        await connection.close()


def tricks(key: str) -> Iterator[list[tuple[str, Any]]]:
    """Headers that hold a reader's key, or nearly the one of the settings."""
    other = "sc_" + secrets.token_urlsafe(32)
    yield [("Authorization", f"Bearer {other}"), ("Authorization", "Bearer root")]
    yield [("Authorization", "Bearer root"), ("Authorization", f"Bearer {other}")]
    yield [("X-API-Key", key), ("Authorization", "Bearer root")]
    yield [("X-API-Key", "root"), ("Authorization", f"Bearer {key}")]
    yield [("X-API-Key", "root"), ("X-Api-Key", "rood")]
    yield [("Authorization", "Bearer root root")]
    yield [("Authorization", "Bearer ROOT")]
    yield [("Authorization", "Bearer\troot")]
    yield [("Authorization", "Basic cm9vdDpyb290")]
    yield [("Authorization", "Bearer root,root")]
    yield [("X-API-Key", "root\u00e9".encode("latin-1"))]
    yield [("X-API-Key", "r\u043e\u043et".encode())]
    yield [("X-API-Key", b"root\xa0")]
    yield [("X-API-Key", "x" * 65_536)]
    yield [("Authorization", "Bearer sc_" + "A" * 65_536)]
    yield [("X-API-Key", key.swapcase())]
    yield [("X-API-Key", key[:-1])]
    yield [("X-API-Key", key + "A")]
    yield [("X-API-Key", key[3:])]
    yield [("X-API-Key", f"{key}\n")]
    yield [("X-Forwarded-For", "127.0.0.1"), ("Forwarded", "for=127.0.0.1")]
    yield [("X-Original-URL", "/health"), ("X-Rewrite-URL", "/health"), ("X-HTTP-Method-Override", "GET")]
    yield [("Cookie", "Authorization=Bearer root; X-API-Key=root")]
    yield [("Proxy-Authorization", "Bearer root")]


async def test_no_header_opens_what_its_key_does_not(http: httpx.AsyncClient):
    key = await new_key(http, "reader", "read")
    for headers in tricks(key):
        for method, path, body in (("GET", KEYS, None), CHANGES[4], CHANGES[7]):
            request = http.build_request(method, path, json=body)
            raw = [(name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in headers]
            request.headers = httpx.Headers([*request.headers.raw, *raw])
            answer = await http.send(request)
            assert answer.status_code in (401, 403), (headers, path, answer.status_code)


async def test_one_key_sent_in_both_headers_is_one_key(http: httpx.AsyncClient):
    both = {"X-API-Key": "root", "Authorization": "bearer   root"}
    assert (await http.get(KEYS, headers=both)).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "//api/v1/keys",
        "/api/v1//keys",
        "/api/v1/../v1/keys",
        "/health/../api/v1/keys",
        "/health/%2e%2e/api/v1/keys",
        "/%61pi/v1/keys",
        "/api%2fv1%2fkeys",
        "/api/v1/keys/",
        "/api/v1/keys/health",
        "/api/v1/keys/%2e%2e/health",
        "/api/v1/keys;/health",
        "/api/v1/keys?/health",
        "/api/v1/keys#/health",
        "/API/V1/KEYS",
        "/api/v1/keys%00/health",
        "/api/v1/keys%20",
        "/api/v1/keys%0A",
        "/api/v1/keys/reader%0A",
        "/api/v1/health/../keys",
        "/health/",
        "/health//",
        "/healthz/../api/v1/audit",
        "/readyz/api/v1/keys",
        "http://test/health/api/v1/keys",
    ],
)
async def test_no_path_opens_anything_without_a_key_or_more_with_a_small_one(http: httpx.AsyncClient, path: str):
    reader = await new_key(http, "reader", "read")
    for method in ("GET", "HEAD", "POST", "DELETE"):
        raw = path.removeprefix("http://test").partition("#")[0]
        request = http.build_request(method, "http://test/")
        request.url = request.url.copy_with(raw_path=raw.encode())
        answer = await http.send(request)
        assert answer.status_code == 401, (method, path)
        request.headers["X-API-Key"] = reader
        answer = await http.send(request)
        assert answer.status_code in (307, 403, 404, 405, 422), (method, path, answer.status_code)


async def test_an_oversized_body_is_refused_before_it_is_read_whatever_the_key(http: httpx.AsyncClient):
    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 1_000_000

    sent = 0
    for headers, status in (({}, 401), ({"X-API-Key": "root"}, 413)):
        sent = 0
        headers = headers | {"Content-Type": "application/json"}
        assert (await http.post(KEYS, content=endless(), headers=headers)).status_code == status
        assert sent < 40


async def test_secrets_are_found_by_their_hash_and_never_compared(http: httpx.AsyncClient, pg_dsn: str):
    """What a query or a dictionary is asked for is a hash: a guess tells nothing of how near it is."""
    key = await new_key(http, "reader", "read")
    connection = await asyncpg.connect(pg_dsn)
    try:
        [stored] = await connection.fetch("select t::text as row, hash from seedcore.api_keys t")
    finally:
        await connection.close()
    assert key[3:] not in stored["row"]
    assert len(stored["hash"]) == 32
    for at in range(3, len(key)):
        near = key[:at] + ("A" if key[at] != "A" else "B") + key[at + 1 :]
        assert (await http.get(TASKS, headers={"X-API-Key": near})).status_code == 401


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[int]:
    """The gateway as a process serves it, on a port of its own."""
    server = make_server(settings)
    server.config.port = 0
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:
            await asyncio.sleep(0.02)
    yield int(server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    await task


async def test_a_client_that_sends_a_byte_a_second_is_cut_off_at_the_deadline(pg_settings: Settings):
    settings = pg_settings.model_copy(update={"api_keys": SecretStr("root"), "request_timeout_s": 1.5})
    loop = asyncio.get_running_loop()
    async with serving(settings) as port:
        slow = []
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = "POST /api/v1/tasks HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer root\r\n"
            writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{".encode())
            await writer.drain()
            slow.append((reader, writer))
        began = loop.time()

        async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
            answer = asyncio.create_task(reader.readuntil(b"\r\n"))
            while not answer.done():
                writer.write(b" ")
                await asyncio.wait({answer}, timeout=1)
            writer.close()
            return await answer

        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            quick = await client.get(TASKS, headers=dict(ROOT))
            assert quick.status_code == 200, "the slow ones do not keep others out"
        answers = await asyncio.gather(*(dribble(*pair) for pair in slow))
        assert {answer.split()[1] for answer in answers} == {b"504"}
        assert loop.time() - began < 8
