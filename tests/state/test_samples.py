"""Samples of the past: each moment once, forgotten in time, answered by columns."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from seedcore.fleet.agent_repository import AgentRepository
from seedcore.settings import Settings
from seedcore.state import samples as module
from seedcore.state.samples import Sampler, expire
from seedcore.state.sources import StateSources
from seedcore.stores.postgres import Database
from seedcore.tasks.model import TaskSpec
from seedcore.tasks.submission.submit import submit
from tests.state.conftest import Save, execute

pytestmark = pytest.mark.integration

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


async def nothing() -> dict[str, Any]:
    return {}


async def rows(database: Database, table: str) -> list[dict[str, Any]]:
    async with database.connection() as connection:
        return [dict(row) for row in await connection.fetch(f"select * from seedcore.{table} order by at")]


async def test_a_sample_is_the_present_of_system_and_organs(pg_settings: Settings, database: Database, save: Save):
    book = await save("utility", "h-0", ["u-0", "u-1"])
    await save("ml", "h-1", ["m-0"])
    book.accept_one("u-0", "echo")
    book.record_outcome("u-0", "echo", 1.0, ok=True)
    await AgentRepository(database).save("h-0", book)
    async with database.connection() as connection:
        await submit(connection, [TaskSpec("echo", "{}") for _ in range(3)])
    sources = StateSources(pg_settings, nothing)
    assert await Sampler(pg_settings, sources).sample()
    await sources.aclose()
    [system] = await rows(database, "samples")
    assert (system["agents"], system["running"], system["completed"], system["ready"]) == (3, 1, 1, 3)
    assert system["at"].timestamp() % pg_settings.state_sample_s == 0
    organs = {row["organ"]: row for row in await rows(database, "organ_samples")}
    assert {name: row["agents"] for name, row in organs.items()} == {"utility": 2, "ml": 1}
    assert organs["utility"]["queued_s"] == pytest.approx(system["queued_s"])


async def test_of_many_replicas_one_writes_each_moment(pg_settings: Settings, database: Database, save: Save):
    await save("utility", "h-0", ["u-0"])
    settings = pg_settings.model_copy(update={"state_sample_s": 3600.0})
    replicas = [StateSources(settings, nothing) for _ in range(4)]
    written = await asyncio.gather(*[Sampler(settings, sources).sample() for sources in replicas])
    for sources in replicas:
        await sources.aclose()
    # Two samples when the hour struck in between.
    assert sum(written) == len(await rows(database, "samples")) == len(await rows(database, "organ_samples")) <= 2
    assert sum(written) >= 1


async def test_without_knowing_the_present_nothing_is_written(pg_settings: Settings, database: Database):
    sources = StateSources(pg_settings, nothing)

    async def away() -> None:
        raise ConnectionRefusedError

    sources.agents._read = away  # type: ignore[assignment]
    with pytest.raises(module.SeedCoreError):
        await Sampler(pg_settings, sources).sample()
    await sources.aclose()
    assert await rows(database, "samples") == []


async def insert(database: Database, count: int, every_s: float, organ: str = "utility") -> None:
    """Samples from noon on; `running` and `completed` count up."""
    await execute(
        database,
        "insert into seedcore.samples select $1::timestamptz + n * make_interval(secs => $3),"
        " 1, n, 0, n, 0, 0, 0, 0, 0, 0, 0, 0 from generate_series(0, $2 - 1) n on conflict do nothing",
        NOON,
        count,
        every_s,
    )
    await execute(
        database,
        "insert into seedcore.organ_samples select $4, $1::timestamptz + n * make_interval(secs => $3),"
        " 1, 2 * n, 0.5, n, 0 from generate_series(0, $2 - 1) n",
        NOON,
        count,
        every_s,
        organ,
    )


def hour(**more: Any) -> dict[str, Any]:
    return {"from": NOON.isoformat(), "to": (NOON + timedelta(hours=1)).isoformat(), **more}


async def test_history_comes_by_columns_in_steps(http: httpx.AsyncClient, database: Database):
    await insert(database, 60, 10)
    answer = await http.get("/history", params=hour(step=60))
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["at"] == [f"2026-01-05T12:{minute:02}:00Z" for minute in range(10)], (
        "nothing where nothing was sampled"
    )
    columns = found["columns"]
    assert {len(column) for column in columns.values()} == {10}
    assert columns["running"][:2] == [2.5, 8.5], "what is in hand is the mean of a step"
    assert columns["completed"][:2] == [5, 11], "what is counted is the last of a step"
    assert {"ready", "leased", "dispatchers"} <= columns.keys()


async def test_history_of_an_organ_is_its_own(http: httpx.AsyncClient, database: Database):
    await insert(database, 6, 10)
    await insert(database, 3, 10, "ml")
    found = (await http.get("/history", params=hour(organ="ml", step=10))).json()
    assert (found["organ"], found["columns"]["running"]) == ("ml", [0, 2, 4])
    assert "ready" not in found["columns"]
    nobody = (await http.get("/history", params=hour(organ="nobody"))).json()
    assert nobody["at"] == nobody["columns"]["running"] == []


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (hour(step=1), "step"),
        ({"from": NOON.isoformat(), "to": NOON.isoformat()}, "from"),
        ({"from": "2026-01-05T12:00:00"}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"step": 0}, "step"),
        ({"oregano": "x"}, "oregano"),
    ],
)
async def test_a_wrong_question_is_422_and_named(http: httpx.AsyncClient, ask: dict, field: str):
    answer = await http.get("/history", params=ask)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


async def test_without_a_stretch_it_is_the_last_hour(http: httpx.AsyncClient):
    found = (await http.get("/history")).json()
    assert (found["at"], found["step"]) == ([], 10)


async def test_what_retention_has_passed_goes_page_by_page(database: Database, monkeypatch: pytest.MonkeyPatch):
    await execute(
        database,
        "insert into seedcore.samples select now() - n * interval '1 hour', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0"
        " from generate_series(0, 47) n",
    )
    await execute(
        database,
        "insert into seedcore.organ_samples select 'o', now() - n * interval '1 hour', 1, 0, 0, 0, 0"
        " from generate_series(0, 47) n",
    )
    async with database.connection() as connection:
        assert await expire(connection, 1) == 48
        assert await expire(connection, 1) == 0
    assert len(await rows(database, "samples")) == len(await rows(database, "organ_samples")) == 24


async def test_the_service_samples_by_itself(pg_settings: Settings, database: Database, save: Save):
    from tests.state.conftest import http_to, running

    await save("utility", "h-0", ["u-0"])
    async with running(pg_settings.model_copy(update={"state_sample_s": 1.0})) as service:
        async with asyncio.timeout(30):
            while len(await rows(database, "organ_samples")) < 2:
                await asyncio.sleep(0.05)
        counts = (await http_to(service).get("/health")).json()["samples"]
    assert counts["written"] >= 2
    assert counts["failures"] == 0


@pytest.mark.parametrize("query", ["organ=%00", "organ=a%00b", "organ=%ED%A0%80", "from=%00"])
async def test_a_query_that_postgresql_cannot_keep_is_422(http: httpx.AsyncClient, query: str):
    answer = await http.get(f"/history?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert answer.json()["errors"][0]["field"] == query.split("=")[0]
