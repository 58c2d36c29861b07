"""Submitting inside the caller's own transaction, with every driver."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import psycopg
import pytest
import sqlalchemy
from psycopg.rows import dict_row
from pydantic import BaseModel
from sqlalchemy.orm import Session

from seedcore.client.sql import enqueue
from seedcore.errors import InvalidInputError
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.tasks import queries

pytestmark = pytest.mark.integration

Opened = tuple[Any, Callable[[str], Any]]
"""A connection in a transaction, and what ends the transaction: told `commit` or `rollback`."""


@asynccontextmanager
async def open_asyncpg(dsn: str) -> AsyncIterator[Opened]:
    connection = await asyncpg.connect(dsn)
    # As an application does that keeps Python objects in its JSON columns.
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, encoder=repr, decoder=repr, schema="pg_catalog")
    transaction = connection.transaction()
    await transaction.start()
    yield connection, lambda how: getattr(transaction, how)()
    await connection.close()


@asynccontextmanager
async def open_pool(dsn: str) -> AsyncIterator[Opened]:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        yield connection, lambda how: getattr(transaction, how)()


@asynccontextmanager
async def open_psycopg(dsn: str) -> AsyncIterator[Opened]:
    with psycopg.connect(dsn, row_factory=dict_row, cursor_factory=psycopg.RawCursor) as connection:
        yield connection, lambda how: getattr(connection, how)()


@asynccontextmanager
async def open_cursor(dsn: str) -> AsyncIterator[Opened]:
    with psycopg.connect(dsn) as connection, connection.cursor(row_factory=dict_row) as cursor:
        yield cursor, lambda how: getattr(connection, how)()


@asynccontextmanager
async def open_psycopg_async(dsn: str) -> AsyncIterator[Opened]:
    async with await psycopg.AsyncConnection.connect(dsn, row_factory=dict_row) as connection:
        yield connection, lambda how: getattr(connection, how)()


@asynccontextmanager
async def open_sqlalchemy(dsn: str) -> AsyncIterator[Opened]:
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    with engine.connect() as connection:
        yield connection, lambda how: getattr(connection, how)()
    engine.dispose()


@asynccontextmanager
async def open_session(dsn: str) -> AsyncIterator[Opened]:
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    with Session(engine) as session:
        yield session, lambda how: getattr(session, how)()
    engine.dispose()


OPENERS = [
    open_asyncpg,
    open_pool,
    open_psycopg,
    open_cursor,
    open_psycopg_async,
    open_sqlalchemy,
    open_session,
]
ASYNC = {open_asyncpg, open_pool, open_psycopg_async}


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    database = Database(pg_settings)
    yield database
    await database.aclose()


class Order(BaseModel):
    value: Any


@pytest.mark.parametrize("opener", OPENERS, ids=lambda o: o.__name__.removeprefix("open_"))
async def test_a_task_is_there_exactly_when_the_transaction_is(opener: Any, pg_dsn: str, database: Database):
    async def ended(answer: Any) -> Any:
        return await answer if opener in ASYNC else answer

    async with opener(pg_dsn) as (connection, end):
        at = datetime.now(UTC) + timedelta(hours=1)
        awkward = Order(value="'; -- %s :x $1 \\ ü")
        kept = await ended(enqueue(connection, "echo", awkward, queue="graph", priority=7, run_after=at))
        same = [await ended(enqueue(connection, "echo", {"value": 1}, idempotency_key="k")) for _ in range(2)]
        assert same[0] == same[1]
        assert type(kept) is UUID
        async with database.connection() as other:
            assert await queries.find(other) == []
        await ended(end("commit"))
    async with database.connection() as other:
        task = await queries.get(other, kept)
    assert (task.type, task.params, task.queue, task.priority) == ("echo", {"value": awkward.value}, "graph", 7)
    assert task.run_after == at


@pytest.mark.parametrize("opener", OPENERS, ids=lambda o: o.__name__.removeprefix("open_"))
async def test_a_task_of_a_transaction_that_is_rolled_back_never_was(opener: Any, pg_dsn: str, database: Database):
    async with opener(pg_dsn) as (connection, end):
        answer = enqueue(connection, "echo", {"value": 1})
        task_id = await answer if opener in ASYNC else answer
        answer = end("rollback")
        if opener in ASYNC:
            await answer
    assert isinstance(task_id, UUID)
    async with database.connection() as other:
        assert await queries.find(other) == []


async def test_a_cursor_keeps_its_own_results(pg_dsn: str):
    async with open_cursor(pg_dsn) as (cursor, _):
        cursor.execute("select generate_series(1, 3) as n")
        enqueue(cursor, "echo", {"value": 1})
        assert [row["n"] for row in cursor.fetchall()] == [1, 2, 3]


async def test_what_is_not_allowed_leaves_the_transaction_alone(pg_dsn: str):
    async with open_psycopg(pg_dsn) as (connection, _):
        with pytest.raises(InvalidInputError):
            enqueue(connection, "echo", {"value": float("nan")})
        with pytest.raises(InvalidInputError):
            enqueue(connection, "echo", {"value": 1}, priority=1000)
        assert enqueue(connection, "echo", {"value": 1})


async def test_a_key_with_other_params_is_the_drivers_unique_violation(pg_dsn: str):
    async with open_psycopg(pg_dsn) as (connection, _):
        enqueue(connection, "echo", {"value": 1}, idempotency_key="k")
        with pytest.raises(psycopg.errors.UniqueViolation):
            enqueue(connection, "echo", {"value": 2}, idempotency_key="k")


def test_an_unknown_connection_is_named():
    with pytest.raises(TypeError, match=r"asyncpg, psycopg or SQLAlchemy \(sync\), not builtins\.dict"):
        enqueue({}, "echo")  # type: ignore[call-overload]
