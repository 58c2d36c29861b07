"""The gateway's application: health that tells the truth, documentation, the way to it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from seedcore.api.app import build_app
from seedcore.settings import Settings, load_settings
from tests.api.conftest import TASKS, refused

pytestmark = pytest.mark.integration

HEALTH = ["/health", "/readyz", "/api/v1/health"]
SECRET = "hunter2"
AWAY = {
    "nothing listens": f"postgresql://someone:{SECRET}@127.0.0.1:1/seedcore",
    "password in the query": f"postgresql://someone:{SECRET}@127.0.0.1:1/seedcore?password={SECRET}",
    "no such host": f"postgresql://someone:{SECRET}@no-such-host.invalid/seedcore",
}


async def gateway(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client
    await app.state.gateway.aclose()


@pytest.fixture
async def unmigrated(postgres_server: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway on a database that no bootstrap has touched."""
    connection = await asyncpg.connect(postgres_server)
    await connection.execute("create database untouched template template0")
    try:
        dsn = postgres_server.replace("/postgres?", "/untouched?")
        async for client in gateway(load_settings(data_dir=tmp_path, pg_dsn=dsn)):
            yield client
    finally:
        await connection.execute("drop database untouched with (force)")
        await connection.close()


@pytest.fixture(params=AWAY.values(), ids=AWAY)
async def away(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway whose database is away."""
    async for client in gateway(load_settings(data_dir=tmp_path, pg_dsn=request.param)):
        yield client


@pytest.mark.parametrize("path", HEALTH)
async def test_health_is_200_when_the_database_is_there(http: httpx.AsyncClient, path: str):
    answer = await http.get(path)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["status"], body["service"], body["postgres"]["ready"]) == ("ok", "gateway", True)
    assert body["version"]


async def test_once_it_is_healthy_sql_knows_the_skills_as_http_does(http: httpx.AsyncClient, pg_settings: Settings):
    assert (await http.get("/health")).json()["skills_published"] is True
    listed = {skill["name"] for skill in (await http.get("/api/v1/skills")).json()["items"]}
    connection = await asyncpg.connect(pg_settings.pg_dsn.get_secret_value())
    try:
        known = {row["name"] for row in await connection.fetch("select name from seedcore.skills")}
    finally:
        await connection.close()
    assert known == listed


@pytest.mark.parametrize("path", HEALTH)
async def test_health_is_503_schema_behind_until_somebody_migrates(unmigrated: httpx.AsyncClient, path: str):
    answer = await unmigrated.get(path)
    assert answer.status_code == 503
    assert (answer.json()["status"], answer.json()["postgres"]["code"]) == ("unavailable", "schema_behind")
    assert "bootstrap_entry" in answer.json()["postgres"]["reason"]


async def test_requests_are_503_schema_behind_until_somebody_migrates(unmigrated: httpx.AsyncClient):
    answer = await unmigrated.post(TASKS, json={"type": "echo", "params": {"value": 1}})
    refused(answer, 503, "schema_behind")
    assert answer.headers["retry-after"]


async def test_a_gateway_never_migrates_itself(unmigrated: httpx.AsyncClient):
    for _ in range(2):
        assert (await unmigrated.get("/health")).json()["postgres"]["code"] == "schema_behind"


async def test_health_is_503_while_the_database_is_away_and_tells_no_password(away: httpx.AsyncClient):
    answer = await away.get("/health")
    assert answer.status_code == 503
    assert answer.json()["postgres"]["code"] == "unavailable"
    assert SECRET not in answer.text


@pytest.mark.parametrize("away", [AWAY["nothing listens"]], indirect=True)
async def test_requests_are_503_while_the_database_is_away_and_tell_no_password(away: httpx.AsyncClient):
    answer = await away.get("/api/v1/queue")
    refused(answer, 503, "unavailable")
    assert answer.headers["retry-after"]
    assert SECRET not in answer.text


@pytest.mark.parametrize("wrong", ["database", "role"])
async def test_a_database_that_refuses_is_503_at_once_and_tells_why(postgres_server: str, tmp_path: Path, wrong: str):
    url = urlsplit(postgres_server)
    changed = {
        "database": url._replace(path="/nowhere"),
        "role": url._replace(netloc=f"nobody:{SECRET}@{url.netloc.rpartition('@')[2]}"),
    }[wrong]
    async for client in gateway(load_settings(data_dir=tmp_path, pg_dsn=changed.geturl())):
        answer = await client.get("/health")
        assert answer.status_code == 503, answer.text
        assert {"database": "nowhere", "role": "nobody"}[wrong] in answer.json()["postgres"]["reason"]
        assert "SEEDCORE_PG_DSN" in answer.text
        async with asyncio.timeout(20):
            refused(await client.get("/api/v1/queue"), 503, "database_denied")
        assert SECRET not in answer.text


async def test_the_gateway_recovers_when_the_database_comes_back(pg_settings: Settings, http: httpx.AsyncClient):
    assert pg_settings.pg_dsn is not None
    assert (await http.get("/health")).status_code == 200
    connection = await asyncpg.connect(pg_settings.pg_dsn.get_secret_value())
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'seedcore-gateway'"
    )
    await connection.close()
    answers = [(await http.get("/health")).status_code for _ in range(3)]
    assert answers[-1] == 200


async def test_docs_list_every_route_and_the_root_leads_to_them(http: httpx.AsyncClient):
    root = await http.get("/")
    assert (root.status_code, root.headers["location"]) == (307, "/docs")
    assert (await http.get("/docs")).status_code == 200
    paths = (await http.get("/openapi.json")).json()["paths"]
    for path in ("", "/batch", "/{task_id}", "/{task_id}/events", "/{task_id}/plan", "/{task_id}/cancel"):
        assert f"{TASKS}{path}" in paths
    for path in ("/{task_id}/retry", "/{task_id}/approve", "/{task_id}/reject"):
        assert "post" in paths[f"{TASKS}{path}"]
    assert {"/api/v1/queue", "/api/v1/skills", "/health"} <= set(paths)


async def test_with_keys_only_health_is_open(pg_settings: Settings):
    async for client in gateway(pg_settings.model_copy(update={"api_keys": SecretStr("key")})):
        assert (await client.get("/api/v1/health")).status_code == 200
        refused(await client.get(TASKS), 401, "unauthorized")
        assert (await client.get(TASKS, headers={"authorization": "Bearer key"})).status_code == 200
