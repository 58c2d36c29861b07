"""Submitting inside the caller's own PostgreSQL transaction: the task is there exactly when the caller's rows are.

The connection must lead to SeedCore's own database, as a role that may use the schema `seedcore`. No driver is imported
before one of its connections is given.
"""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol, Unpack, overload
from uuid import UUID

from seedcore.client.models import NewTask, Options, Params

if TYPE_CHECKING:
    import psycopg
    import sqlalchemy
    import sqlalchemy.orm

# Text first: a driver that was told how to write JSON would make one JSON string of the text.
_ASYNCPG = "select seedcore.enqueue($1::text, $2::text::jsonb, $3::text::jsonb)"
_PSYCOPG = "select seedcore.enqueue(%s::text, %s::text::jsonb, %s::text::jsonb)"
_SQLALCHEMY = (
    "select seedcore.enqueue(cast(:type as text), cast(cast(:params as text) as jsonb), "
    "cast(cast(:options as text) as jsonb))"
)

_NOT_OPTIONS = frozenset({"type", "params"})


class AsyncpgConnection(Protocol):
    """A connection of asyncpg, or what its pool hands out as one."""

    async def fetchval(self, query: str, /, *args: Any) -> Any:
        """The first value of the first row."""


@overload
def enqueue(
    connection: "AsyncpgConnection | psycopg.AsyncConnection[Any] | psycopg.AsyncCursor[Any]",
    task_type: str,
    params: Params | None = None,
    **options: Unpack[Options],
) -> Coroutine[Any, Any, UUID]: ...


@overload
def enqueue(
    connection: "psycopg.Connection[Any] | psycopg.Cursor[Any] | sqlalchemy.Connection | sqlalchemy.orm.Session",
    task_type: str,
    params: Params | None = None,
    **options: Unpack[Options],
) -> UUID: ...


def enqueue(connection: Any, task_type: str, params: Params | None = None, **options: Unpack[Options]) -> Any:
    """Submit a task in the connection's transaction; gives the task's id, or an awaitable of it.

    Takes connections of asyncpg, psycopg (a cursor too: it lends its connection and keeps its own results) and
    SQLAlchemy (a session too; an async one lends its sync one by `run_sync`). Where the caller begins no transaction,
    the driver's own rules hold. Without an `idempotency_key`, a transaction that the caller repeats after a lost commit
    submits again.

    Raises:
        InvalidInputError: params or options are not allowed; nothing was sent.
        TypeError: no such connection is known.
        Exception: the driver's own errors, among them a unique violation where the key was used with other params;
            they end the transaction, as those of any statement.
    """
    new = NewTask.of(task_type, params, options)
    values = (new.type, new.encode_params(), new.encode(without=_NOT_OPTIONS).decode())
    families = {kind.__module__.partition(".")[0] for kind in type(connection).__mro__}
    if "asyncpg" in families:
        return _asyncpg(connection, values)
    if "psycopg" in families:
        import psycopg

        if isinstance(connection, psycopg.AsyncConnection | psycopg.AsyncCursor):
            return _psycopg_async(connection, values)
        return _psycopg(connection, values)
    if "sqlalchemy" in families and not type(connection).__module__.startswith("sqlalchemy.ext.asyncio"):
        return _sqlalchemy(connection, values)
    known = "asyncpg, psycopg or SQLAlchemy (sync)"
    raise TypeError(
        f"enqueue takes a connection of {known}, not {type(connection).__module__}.{type(connection).__name__}"
    )


_Values = tuple[str, str, str]


async def _asyncpg(connection: Any, values: _Values) -> UUID:
    return _id(await connection.fetchval(_ASYNCPG, *values))


def _psycopg(connection: Any, values: _Values) -> UUID:
    from psycopg import Cursor
    from psycopg.rows import tuple_row

    # A cursor of its own: the caller's may be of another kind, with other marks for values and other rows.
    lender = connection.connection if isinstance(connection, Cursor) else connection
    with Cursor(lender, row_factory=tuple_row) as cursor:
        return _first(cursor.execute(_PSYCOPG, values).fetchone())


async def _psycopg_async(connection: Any, values: _Values) -> UUID:
    from psycopg import AsyncCursor
    from psycopg.rows import tuple_row

    lender = connection.connection if isinstance(connection, AsyncCursor) else connection
    async with AsyncCursor(lender, row_factory=tuple_row) as cursor:
        await cursor.execute(_PSYCOPG, values)
        return _first(await cursor.fetchone())


def _first(row: tuple[Any, ...] | None) -> UUID:
    assert row is not None  # a select without `from` has one row
    return _id(row[0])


def _sqlalchemy(connection: Any, values: _Values) -> UUID:
    from sqlalchemy import text

    named = dict(zip(("type", "params", "options"), values, strict=True))
    return _id(connection.execute(text(_SQLALCHEMY), named).scalar_one())


def _id(value: Any) -> UUID:
    # asyncpg has a UUID class of its own, and a driver may have been told to give text.
    return UUID(str(value))
