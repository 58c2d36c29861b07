"""What processes count comes together in one table."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest

from seedcore.errors import UnavailableError
from seedcore.settings import Settings, load_settings
from seedcore.stores import metric_series
from seedcore.stores.metric_series import MetricSeriesWriter
from seedcore.stores.postgres import Database
from seedcore.telemetry.metrics.catalogue import CATALOGUE
from seedcore.telemetry.metrics.metric_registry import MetricRegistry

WAIT, DEAD, EVIDENCE = "seedcore_task_wait_seconds", "seedcore_dead_total", "seedcore_valve_evidence"


async def read(database: Database, max_types: int = 64) -> dict[tuple[str, ...], tuple[float, list[int] | None]]:
    async with database.connection() as connection:
        found = await metric_series.read(connection, max_types)
    return {(series.spec.name, *series.key): (series.value, series.buckets) for series in found}


async def test_what_processes_count_is_added_up(pg_settings: Settings) -> None:
    database = Database(pg_settings)
    for _ in range(3):
        process, writer = MetricRegistry(), MetricSeriesWriter(database)
        for _ in range(2):
            process.histograms[WAIT].observe_all({("default", "echo"): [0.001, 0.2, 9999.0]})
            process.counters[DEAD].add(2, queue="default", type="echo", code='a"b\\c\0\ud800')
            process.gauges[EVIDENCE].set(0.25, stream="x")
            await writer.write(process.take())
    found = await read(database)
    value, buckets = found[WAIT, "default", "echo"]
    assert value == pytest.approx(6 * 9999.201)
    assert buckets == [6, 0, 0, 6, 0, 0, 0, 0, 0, 0, 6]
    assert found[DEAD, "default", "echo", 'a"b\\c\N{REPLACEMENT CHARACTER}?'] == (12, None)
    assert found[EVIDENCE, "x"] == (0.25, None)
    await database.aclose()


async def test_nothing_is_written_when_nothing_happened(pg_settings: Settings) -> None:
    database, process = Database(pg_settings), MetricRegistry()
    writer = MetricSeriesWriter(database)
    process.gauges[EVIDENCE].set(0.25, stream="x")
    await writer.write(process.take())
    async with database.connection() as connection:
        before = await connection.fetchval("select xmin::text from seedcore.metric_series")
        process.gauges[EVIDENCE].set(0.25, stream="x")
        await writer.write(process.take())
        await writer.write(process.take())
        assert await connection.fetchval("select xmin::text from seedcore.metric_series") == before
    await database.aclose()


async def test_what_could_not_be_written_is_added_the_next_time(pg_settings: Settings) -> None:
    away = Database(load_settings(data_dir=pg_settings.data_dir, pg_dsn="postgresql://127.0.0.1:1/none"))
    process, database = MetricRegistry(), Database(pg_settings)
    writer = MetricSeriesWriter(away)
    process.counters["seedcore_decisions_total"].add(2, route="fast")
    with pytest.raises(UnavailableError):
        await writer.write(process.take())
    writer._database = database
    process.counters["seedcore_decisions_total"].add(3, route="fast")
    await writer.write(process.take())
    await writer.write(process.take())
    assert (await read(database))["seedcore_decisions_total", "fast"] == (5, None)
    await database.aclose()


async def test_many_writers_of_the_same_series_do_not_block_each_other(pg_settings: Settings) -> None:
    database = Database(pg_settings, size=8)

    async def process(number: int) -> None:
        counted, writer = MetricRegistry(), MetricSeriesWriter(database)
        for turn in range(20):
            # Each counts in an order of its own.
            types = random.Random(40 * number + turn).sample([f"type{n}" for n in range(40)], 40)
            counted.histograms[WAIT].observe_all({("default", name): [1.0] for name in types})
            await writer.write(counted.take())

    async with asyncio.timeout(50):
        await asyncio.gather(*[process(number) for number in range(8)])
    found = await read(database)
    assert sum(sum(buckets or ()) for _, buckets in found.values()) == 8 * 20 * 40
    await database.aclose()


async def test_the_first_values_of_a_label_keep_their_names(pg_settings: Settings) -> None:
    database = Database(pg_settings)
    for name in ("b", "a", "c", "d"):
        process = MetricRegistry()
        process.histograms[WAIT].observe_all({("default", name): [1.0]})
        await MetricSeriesWriter(database).write(process.take())
    found = await read(database, max_types=2)
    assert {key[2]: sum(buckets or ()) for key, (_, buckets) in found.items()} == {"b": 1, "a": 1, "other": 2}
    await database.aclose()


async def test_what_has_ended_is_forgotten(pg_settings: Settings) -> None:
    database, process = Database(pg_settings), MetricRegistry()
    process.gauges[EVIDENCE].set(0.25, stream="x")
    process.counters["seedcore_decisions_total"].add(1, route="fast")
    await MetricSeriesWriter(database).write(process.take())
    async with database.connection() as connection:
        old = datetime.now(UTC) - timedelta(hours=1)
        await connection.execute("update seedcore.metric_series set at = $1", old)
        assert await read(database) == {("seedcore_decisions_total", "fast"): (1, None)}
        assert await metric_series.forget(connection, 7200) == 0
        assert await metric_series.forget(connection, 1800) == 2
    await database.aclose()


async def test_series_of_another_release_are_left_out(pg_settings: Settings) -> None:
    database = Database(pg_settings)
    async with database.connection() as connection:
        await connection.execute(
            """insert into seedcore.metric_series (name, labels, value, buckets) values
               ('seedcore_gone_total', '{}', 1, null), ('seedcore_decisions_total', '{"other": "x"}', 1, null),
               ('seedcore_claim_seconds', '{"queue": "q"}', 1, '{1,2}')"""
        )
    assert await read(database) == {}
    await database.aclose()


def test_every_process_metric_can_be_written() -> None:
    process = MetricRegistry()
    for spec in CATALOGUE:
        if spec.source == "process":
            values = dict.fromkeys(spec.labels, "x")
            if spec.kind == "counter":
                process.counters[spec.name].add(1, **values)
            elif spec.kind == "gauge":
                process.gauges[spec.name].set(1, **values)
            else:
                process.histograms[spec.name].observe(1, **values)
    assert len(list(metric_series._rows(process.take()))) == sum(spec.source == "process" for spec in CATALOGUE)
