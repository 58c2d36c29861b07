"""Arrivals are counted once each, late commits too, and after a pause in pages."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from seedcore.ml.scaling import arrivals as module
from seedcore.ml.scaling.arrivals import ArrivalCounter, floored
from seedcore.schemas.ml.scaling import SLOT_S
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

pytestmark = pytest.mark.integration

NOW = datetime.now(UTC)
LAST = floored(NOW - timedelta(seconds=60), SLOT_S)
"""A slot that is final already."""


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test's own: the suite may have collected this module long before."""
    now = datetime.now(UTC)
    monkeypatch.setitem(globals(), "NOW", now)
    monkeypatch.setitem(globals(), "LAST", floored(now - timedelta(seconds=60), SLOT_S))


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    database = Database(pg_settings)
    yield database
    await database.aclose()


@pytest.fixture
def counter(database: Database) -> ArrivalCounter:
    return ArrivalCounter(database, 28 * 86_400)


async def arrive(connection, at: datetime, tasks: int, kind: str = "echo", queue: str = "default") -> None:
    """Tasks whose ids say that they were submitted at that moment."""
    await connection.execute(
        """insert into seedcore.tasks (id, type, params, queue, max_attempts)
           select overlay(seedcore.new_id()::text placing left(seedcore.first_id($1)::text, 13) from 1)::uuid,
                  $2, '{}', $3, 1
           from generate_series(1, $4)""",
        at,
        kind,
        queue,
        tasks,
    )


async def counted(connection) -> dict[tuple[str, str, datetime], int]:
    rows = await connection.fetch("select queue, type, at, tasks from seedcore.arrivals")
    return {(row["queue"], row["type"], row["at"]): row["tasks"] for row in rows}


async def test_each_task_is_counted_once_however_often_one_counts(database: Database, counter: ArrivalCounter):
    async with database.connection() as connection:
        await arrive(connection, LAST, 3)
        await arrive(connection, LAST + timedelta(seconds=SLOT_S - 0.001), 2)
        await arrive(connection, LAST - timedelta(milliseconds=1), 4, "fetch", "slow")
        for _ in range(3):
            assert await counter.count()
        assert await counted(connection) == {
            ("default", "echo", LAST): 5,
            ("slow", "fetch", LAST - timedelta(seconds=SLOT_S)): 4,
        }


async def test_a_transaction_that_commits_late_is_counted(database: Database, counter: ArrivalCounter):
    async with database.connection() as connection:
        recent = floored(datetime.now(UTC) - timedelta(seconds=SLOT_S), SLOT_S)
        await arrive(connection, recent, 1)
        assert await counter.count()
        late = await database.connect()
        transaction = late.transaction()
        await transaction.start()
        await arrive(late, recent, 2)
        assert await counter.count()
        assert (await counted(connection))["default", "echo", recent] == 1
        await transaction.commit()
        await late.close()
        assert await counter.count()
        assert (await counted(connection))["default", "echo", recent] == 3


async def test_a_count_never_falls_when_tasks_are_forgotten(database: Database, counter: ArrivalCounter):
    async with database.connection() as connection:
        recent = floored(datetime.now(UTC) - timedelta(seconds=SLOT_S), SLOT_S)
        await arrive(connection, recent, 5)
        assert await counter.count()
        await connection.execute("delete from seedcore.tasks")
        assert await counter.count()
        assert (await counted(connection))["default", "echo", recent] == 5


async def test_after_a_pause_history_is_counted_in_bounded_rounds(
    database: Database, counter: ArrivalCounter, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "PAGES", 4)
    async with database.connection() as connection:
        begin = LAST - timedelta(seconds=6 * module.PAGE_S)
        await arrive(connection, begin, 1)
        await arrive(connection, LAST, 1)
        assert not await counter.count()
        assert list(await counted(connection)) == [("default", "echo", begin)]
        assert await counter.count()
        assert len(await counted(connection)) == 2
        series = await counter.series(None, None, SLOT_S, 10_000)
        assert series is not None
        assert (series.counts.sum(), series.counts[0]) == (2, 1)


async def test_after_a_pause_longer_than_history_the_record_begins_again(database: Database, counter: ArrivalCounter):
    async with database.connection() as connection:
        assert await counter.count()
        await connection.execute(
            "update seedcore.arrivals_counted set since = $1, until_final = $1", NOW - timedelta(days=60)
        )
        await arrive(connection, NOW - timedelta(days=30), 1)
        await arrive(connection, LAST, 1)
        while not await counter.count():
            pass
        since = await connection.fetchval("select since from seedcore.arrivals_counted")
        assert NOW - since < timedelta(seconds=module.BACKFILL_S + 60)
        assert list(await counted(connection)) == [("default", "echo", LAST)]


async def test_old_counts_are_deleted(database: Database):
    async with database.connection() as connection:
        await connection.execute(
            "insert into seedcore.arrivals values ('default', 'echo', $1, 1), ('default', 'echo', $2, 1)",
            LAST - timedelta(seconds=7200),
            LAST,
        )
        assert await ArrivalCounter(database, 3600).count()
        assert list(await counted(connection)) == [("default", "echo", LAST)]


async def test_a_series_has_every_step_and_filters(database: Database, counter: ArrivalCounter):
    async with database.connection() as connection:
        begin = floored(LAST - timedelta(seconds=600), 60)
        await arrive(connection, begin, 2)
        await arrive(connection, begin + timedelta(seconds=125), 3, "fetch")
        assert await counter.count()
        both = await counter.series("default", None, 60, 100)
        assert both is not None
        assert both.counts[:4].tolist() == [2, 0, 3, 0]
        assert both.end - timedelta(seconds=60 * len(both.counts)) == begin
        one = await counter.series("default", "fetch", 60, 100)
        assert one is not None
        assert one.counts[:4].tolist() == [0, 0, 3, 0]
        assert await counter.types("default", None, 3600, 10) == {"fetch": 3, "echo": 2}
        assert (await counter.series("nope", None, 60, 100)).counts.sum() == 0  # type: ignore[union-attr]


async def test_nothing_is_known_before_the_first_count(counter: ArrivalCounter):
    assert await counter.series(None, None, 60, 100) is None
