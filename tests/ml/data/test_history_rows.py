"""A client's SELECT over the history, in a real PostgreSQL."""

from collections.abc import AsyncIterator

import numpy as np
import pytest

from seedcore.errors import DeadlineError, InvalidInputError, TooLargeError
from seedcore.ml.data import history_rows
from seedcore.ml.data.dataset import ColumnRoles, Table, TrainLimits
from seedcore.ml.data.history_rows import history_table
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

_ENDED = """
with made as (
  insert into seedcore.tasks (id, type, params, max_attempts, tenant)
  select seedcore.new_id(), 'work', jsonb_build_object('size', n, 'colour', (array['red', 'blue'])[1 + n % 2],
    'deep', jsonb_build_object('on', n % 3 = 0)), 3, $1
  from generate_series(1, $2::int) n returning id, params)
insert into seedcore.finished (id, tick, status, attempts, started_at, finished_at)
select id, 1, (array['cancelled', 'completed'])[1 + ((params ->> 'size')::int % 4 > 0)::int], 1,
  now() - interval '2 s', now() from made
"""
ROLES, LIMITS = ColumnRoles("ok"), TrainLimits(1000)
SQL = (
    "select params ->> 'colour' as colour, (params ->> 'size')::int as size, params -> 'deep' -> 'on' as lit, seconds,"
)
SQL += " status = 'completed' as ok, id, finished_at from seedcore.history where type = 'work' order by size"


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    made = Database(pg_settings, size=2)
    async with made.connection() as connection:
        await connection.execute(_ENDED, "default", 40)
        await connection.execute(_ENDED, "acme", 20)
    yield made
    await made.aclose()


async def read(database: Database, sql: str, tenant: str = "default", roles: ColumnRoles = ROLES) -> Table:
    return await history_table(database, sql, tenant, roles, LIMITS, 20)


async def test_the_rows_of_a_query_are_a_training_set(database: Database):
    sql = SQL.replace(", id, finished_at", "")
    table = await read(database, sql)
    assert table.columns == ("colour", "size", "lit", "seconds")
    assert [column.type for column in table.schema] == ["category", "number", "boolean", "number"]
    assert (table.label_kind, table.labels, len(table.targets)) == ("boolean", (False, True), 40)
    assert np.array_equal(table.matrix[:3], [[0, 1, 0, 2], [1, 2, 0, 2], [0, 3, 1, 2]])


async def test_times_and_ids_can_be_used(database: Database):
    table = await read(database, SQL, roles=ColumnRoles("ok", time="finished_at"))
    assert table.times is not None
    assert abs(table.times[0] - table.times[-1]) < 60
    assert table.schema[-1].type == "category"


async def test_a_tenant_sees_its_own_tasks_alone(database: Database):
    sql = "select seconds, status from seedcore.history"
    roles = ColumnRoles("status")
    assert len((await read(database, sql, "acme", roles)).targets) == 20
    assert len((await read(database, sql, "default", roles)).targets) == 40
    with pytest.raises(InvalidInputError, match="0 rows"):
        await read(database, sql, "other", roles)


async def test_the_tenant_of_one_query_is_not_that_of_the_next(database: Database):
    await read(database, "select seconds, status from seedcore.history", "acme", ColumnRoles("status"))
    async with database.connection() as connection:
        assert await connection.fetchval("select coalesce(current_setting('seedcore.tenant', true), '')") == ""
        assert await connection.fetchval("select count(*) from seedcore.history") == 0


async def test_nothing_can_be_written_even_by_what_would_be_let_through(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(history_rows, "checked_select", lambda sql: sql)
    for sql in (
        "with d as (delete from seedcore.finished returning id) select id, 1 as ok from d",
        "select nextval(pg_get_serial_sequence('seedcore.predictions', 'seq')) as a, 1 as ok",
    ):
        with pytest.raises(Exception, match="read-only"):
            await read(database, sql)


async def test_an_expensive_query_ends_in_time(database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(history_rows, "checked_select", lambda sql: sql)
    with pytest.raises(DeadlineError, match="SEEDCORE_HISTORY_QUERY_S"):
        await history_table(database, "select pg_sleep(30)::text as a, 1 as ok", "default", ROLES, LIMITS, 0.3)
    async with database.connection() as connection:
        assert await connection.fetchval("select 1") == 1


async def test_a_query_without_end_is_cut_off_by_its_rows(database: Database):
    sql = "select a.seconds, b.status as ok from seedcore.history a, seedcore.history b"
    with pytest.raises(TooLargeError, match="SEEDCORE_MAX_TRAIN_ROWS"):
        await read(database, sql)


async def test_what_postgresql_or_training_refuses_names_its_field(database: Database):
    for sql, field in (
        ("select seconds, 1 / (priority - priority) as ok from seedcore.history", "data_source.sql"),
        ("select seconds, (params ->> 'colour')::int as ok from seedcore.history", "data_source.sql"),
        ("select seconds, sum(attempts) as ok from seedcore.history", "data_source.sql"),
        ("select seconds, created_at = type as ok from seedcore.history", "data_source.sql"),
        ("select seconds, seconds, status as ok from seedcore.history", "columns"),
        ("select seconds, status from seedcore.history", "label_column"),
        ("select params, status as ok from seedcore.history", "data_source"),
        ("select seconds, null as ok from seedcore.history", "data_source"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            await read(database, sql)
        assert caught.value.errors[0].field == field, sql
