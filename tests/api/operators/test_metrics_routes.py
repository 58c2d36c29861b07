"""`GET /metrics`: what Prometheus reads, held against Prometheus' own parser."""

import asyncio
import gzip
import time
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from seedcore.api.app import build_app
from seedcore.settings import Settings, load_settings
from seedcore.stores import metric_series
from seedcore.stores.postgres import Database
from seedcore.tasks import sessions
from seedcore.telemetry.metrics.catalogue import BY_NAME, CATALOGUE
from seedcore.telemetry.metrics.metric_registry import MetricRegistry
from tests.api.conftest import Dispatcher, app, http, submit

# Without keys: `test_key_routes` has those who may not read it.
__all__ = ["app", "http"]

BUDGET_S, BUDGET_BYTES = 0.1, 1_000_000


def parsed(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Samples by name, each by the values of its labels."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = tuple(sample.labels.values())
            assert key not in found.setdefault(sample.name, {}), (sample.name, key)
            found[sample.name][key] = sample.value
    return found


async def scrape(http: httpx.AsyncClient) -> dict[str, dict[tuple[str, ...], float]]:
    answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(answer.text)


async def fill(database: Database, types: int) -> None:
    """Counts of so many types, and of what a system has a few of."""
    process = MetricRegistry(max_types=1000)
    for spec in CATALOGUE:
        for n in range((types if "type" in spec.labels else 2) if spec.source == "process" else 0):
            labels = {name: "default" if name == "queue" else f"acme.{name}-{n}" for name in spec.labels}
            if spec.kind == "histogram":
                for value in (*spec.bounds, 1e6):
                    process.histograms[spec.name].observe(value, **labels)
            elif spec.kind == "counter":
                process.counters[spec.name].add(n + 0.5, **labels)
            else:
                process.gauges[spec.name].set(n, **labels)
    async with database.connection() as connection:
        await metric_series.add(connection, process.take())


async def test_what_waits_runs_and_failed_is_shown(http: httpx.AsyncClient, dispatcher: Dispatcher) -> None:
    for n in range(7):
        await submit(http, n, queue="default" if n < 5 else "other")
    await submit(http, 8, run_after="2099-01-01T00:00:00Z")
    await dispatcher.lease()
    await dispatcher.hold(await dispatcher.lease())
    await dispatcher.fail(await dispatcher.lease())
    found = await scrape(http)
    assert found["seedcore_queue_depth"] == {("default", "ready"): 2, ("other", "ready"): 2, ("default", "deferred"): 1}
    assert found["seedcore_type_depth"] == {("default", "echo"): 2, ("other", "echo"): 2}
    assert found["seedcore_tenant_depth"] == {("default",): 4}
    assert set(found["seedcore_queue_oldest_seconds"]) == {("default",), ("other",)}
    assert all(0 <= age < 60 for age in found["seedcore_queue_oldest_seconds"].values())
    for name, number in (("tasks_running", 1), ("tasks_approval", 1), ("tasks_waiting", 0), ("dead_letters", 1)):
        assert found[f"seedcore_{name}"] == {(): number}, name
    assert found["seedcore_dispatchers"] == {("default",): 1}
    assert found["seedcore_store_up"] == {("postgres",): 1}


async def test_a_queue_that_is_worked_on_is_shown_while_nothing_waits(
    http: httpx.AsyncClient, dispatcher: Dispatcher
) -> None:
    await submit(http, 1, queue="default")
    await dispatcher.lease()
    found = await scrape(http)
    assert found["seedcore_queue_depth"] == {("default", "ready"): 0}
    assert found["seedcore_queue_oldest_seconds"] == {("default",): 0}


async def test_histograms_are_cumulative_and_end_at_their_count(http: httpx.AsyncClient, app: FastAPI) -> None:
    await fill(app.state.gateway.database, 2)
    found = await scrape(http)
    buckets = found["seedcore_task_wait_seconds_bucket"]
    one = [value for key, value in buckets.items() if key[1].endswith("-0")]
    assert one == list(range(1, 12))
    assert set(found["seedcore_task_wait_seconds_count"].values()) == {11}
    spec = BY_NAME["seedcore_task_wait_seconds"]
    for value in found["seedcore_task_wait_seconds_sum"].values():
        assert value == pytest.approx(sum(spec.bounds) + 1e6)


async def test_every_metric_of_the_catalogue_is_shown_under_its_name(http: httpx.AsyncClient, app: FastAPI) -> None:
    await fill(app.state.gateway.database, 1)
    await submit(http, 1)
    async with app.state.gateway.database.connection() as connection:
        await connection.execute(
            "insert into seedcore.agents (id, organ, host) values ('a', 'utility', 'h'), ('b', 'utility', '')"
        )
        await sessions.open_session(connection, uuid4(), "w", "default", 60.0, "w")
        await connection.execute("update seedcore.graph_state set started_at = now()")
    answer = (await http.get("/metrics")).text
    families = {family.name: family for family in text_string_to_metric_families(answer)}
    for spec in CATALOGUE:
        family = families[spec.name.removesuffix("_total") if spec.kind == "counter" else spec.name]
        assert (family.type, family.documentation) == (spec.kind, spec.help)
        for sample in family.samples:
            assert tuple(name for name in sample.labels if name != "le") == spec.labels
    assert len(families) == len(CATALOGUE)


async def test_it_is_packed_when_asked_for(http: httpx.AsyncClient) -> None:
    plain = await http.get("/metrics", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    refusing = await http.get("/metrics", headers={"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in refusing.headers
    async with http.stream("GET", "/metrics", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        body = b"".join([part async for part in answer.aiter_raw()])
    assert parsed(gzip.decompress(body).decode()).keys() >= {"seedcore_tasks_running", "seedcore_store_up"}


async def test_many_scrapers_cost_one_read(http: httpx.AsyncClient, app: FastAPI) -> None:
    page, reads = app.state.metrics, 0
    really = page._metrics

    async def counted() -> object:
        nonlocal reads
        reads += 1
        return await really()

    page._metrics = counted
    began = time.monotonic()
    answers = await asyncio.gather(*[http.get("/metrics") for _ in range(20)])
    assert len({answer.text for answer in answers}) <= 1 + int(time.monotonic() - began)
    assert reads <= 1 + int(time.monotonic() - began)


@pytest.mark.integration
async def test_while_postgresql_is_away_it_says_so(tmp_path: Path) -> None:
    away = load_settings(data_dir=tmp_path, pg_dsn="postgresql://127.0.0.1:1/none")
    app = build_app(away)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        assert (await scrape(http)) == {"seedcore_store_up": {("postgres",): 0}}
    await app.state.gateway.aclose()


async def test_a_live_system_is_read_in_time_and_size(pg_settings: Settings) -> None:
    """10,000 agents, 200 types, 50 tenants, a queue of 120,000; `benchmarks/scrape.py` has the figures."""
    app = build_app(pg_settings)
    database = app.state.gateway.database
    await fill(database, 200)
    async with database.connection() as connection:
        await connection.execute(
            """insert into seedcore.agents (id, organ, host, lifecycle)
               select 'agent-' || n, 'organ-' || n % 20, 'host-' || n % 50,
               (array['scout', 'employed', 'archived'])[1 + n % 3] from generate_series(1, 10000) n"""
        )
        await connection.execute(
            """with t as (insert into seedcore.tasks (id, type, params, max_attempts, tenant)
                 select seedcore.new_id(), 'type-' || n % 200, '{}', 3,
                        case when n % 1000 < 49 then 'small-' || n % 1000 else 'large' end
                 from generate_series(1, 120000) n returning id, tenant)
               insert into seedcore.ready (queue, rank, id, tenant) select 'default', 0, id, tenant from t"""
        )
    took = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        for _ in range(5):
            app.state.metrics._read_at = float("-inf")
            began = time.perf_counter()
            answer = await http.get("/metrics", headers={"Accept-Encoding": "identity"})
            took.append(time.perf_counter() - began)
    found = parsed(answer.text)
    assert len(answer.content) <= BUDGET_BYTES
    assert min(took) <= 4 * BUDGET_S, "the machine may be busy"
    assert sum(found["seedcore_agents"].values()) == 10_000
    depth = found["seedcore_queue_depth"]["default", "ready"]
    assert depth == pytest.approx(120_000, rel=0.1)
    assert sum(found["seedcore_type_depth"].values()) == pytest.approx(depth, rel=0.02)
    assert found["seedcore_tenant_depth"]["large",] == pytest.approx(114_120, rel=0.15)
    assert found["seedcore_tenant_depth"]["small-7",] == 120
    await app.state.gateway.aclose()
