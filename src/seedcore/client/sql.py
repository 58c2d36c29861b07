"""Submits tasks inside the caller's own PostgreSQL transaction: task and rows are committed together.

The connection must lead to SeedCore's database, as a role that may use the schema `seedcore`. A driver is imported only
when one of its connections is passed.
"""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Protocol, Unpack, cast, overload
from uuid import UUID

from seedcore.client.models import NewTask, Options, Params

if TYPE_CHECKING:
    import psycopg
    import sqlalchemy
    import sqlalchemy.orm

# Cast to text first: a driver with a JSON codec would encode the text again, as one JSON string.
_ASYNCPG = "select seedcore.enqueue($1::text, $2::text::jsonb, $3::text::jsonb)"
_PSYCOPG = "select seedcore.enqueue(%s::text, %s::text::jsonb, %s::text::jsonb)"
_SQLALCHEMY = (
    "select seedcore.enqueue(cast(:type as text), cast(cast(:params as text) as jsonb), "
    "cast(cast(:options as text) as jsonb))"
)

_NOT_OPTIONS = frozenset({"type", "params"})


class AsyncpgConnection(Protocol):
    """A connection of asyncpg, also from its pool."""

    async def fetchval(self, query: str, /, *args: object) -> object:
        """The first value of the first row."""


@overload
def enqueue(
    connection: "AsyncpgConnection | psycopg.AsyncConnection[object] | psycopg.AsyncCursor[object]",
    task_type: str,
    params: Params | None = None,
    **options: Unpack[Options],
) -> Coroutine[object, object, UUID]: ...


@overload
def enqueue(
    connection: "psycopg.Connection[object] | psycopg.Cursor[object] | sqlalchemy.Connection | sqlalchemy.orm.Session",
    task_type: str,
    params: Params | None = None,
    **options: Unpack[Options],
) -> UUID: ...


def enqueue(
    connection: object, task_type: str, params: Params | None = None, **options: Unpack[Options]
) -> UUID | Coroutine[object, object, UUID]:
    """Submit a task in the connection's transaction; returns the task's id, or an awaitable of it.

    Takes connections of asyncpg, psycopg (also a cursor, whose own results stay untouched) and SQLAlchemy (also a
    session; with an async one, call this in `run_sync`). When the caller begins no transaction, the driver's own rules
    apply. Without an `idempotency_key`, a transaction that the caller repeats after a lost commit submits again.

    Raises:
        InvalidInputError: params or options are not allowed; nothing was sent.
        TypeError: the connection is of an unknown driver.
        Exception: the driver's own errors, such as a unique violation when the key was used with other params; like
            errors of any statement, they abort the transaction.
    """
    new = NewTask.of(task_type, params, options)
    values = (new.type, new.encode_params(), new.encode(without=_NOT_OPTIONS).decode())
    families = {kind.__module__.partition(".")[0] for kind in type(connection).__mro__}
    if "asyncpg" in families:
        return _asyncpg(cast("AsyncpgConnection", connection), values)
    if "psycopg" in families:
        import psycopg

        if isinstance(connection, psycopg.AsyncConnection | psycopg.AsyncCursor):
            return _psycopg_async(connection, values)
        if isinstance(connection, psycopg.Connection | psycopg.Cursor):
            return _psycopg(connection, values)
    if "sqlalchemy" in families and not type(connection).__module__.startswith("sqlalchemy.ext.asyncio"):
        return _sqlalchemy(cast("sqlalchemy.Connection | sqlalchemy.orm.Session", connection), values)
    known = "asyncpg, psycopg or SQLAlchemy (sync)"
    raise TypeError(
        f"enqueue takes a connection of {known}, not {type(connection).__module__}.{type(connection).__name__}"
    )


_Values = tuple[str, str, str]


async def _asyncpg(connection: AsyncpgConnection, values: _Values) -> UUID:
    return _id(await connection.fetchval(_ASYNCPG, *values))


def _psycopg(connection: "psycopg.Connection[object] | psycopg.Cursor[object]", values: _Values) -> UUID:
    from psycopg import Cursor
    from psycopg.rows import tuple_row

    # A cursor of its own: the caller's may use other placeholders and other row types.
    owner = connection.connection if isinstance(connection, Cursor) else connection
    with Cursor(owner, row_factory=tuple_row) as cursor:
        return _first(cursor.execute(_PSYCOPG, values).fetchone())


async def _psycopg_async(
    connection: "psycopg.AsyncConnection[object] | psycopg.AsyncCursor[object]", values: _Values
) -> UUID:
    from psycopg import AsyncCursor
    from psycopg.rows import tuple_row

    owner = connection.connection if isinstance(connection, AsyncCursor) else connection
    async with AsyncCursor(owner, row_factory=tuple_row) as cursor:
        await cursor.execute(_PSYCOPG, values)
        return _first(await cursor.fetchone())


def _first(row: tuple[object, ...] | None) -> UUID:
    assert row is not None  # a select without `from` has one row
    return _id(row[0])


def _sqlalchemy(connection: "sqlalchemy.Connection | sqlalchemy.orm.Session", values: _Values) -> UUID:
    from sqlalchemy import text

    named = dict(zip(("type", "params", "options"), values, strict=True))
    return _id(connection.execute(text(_SQLALCHEMY), named).scalar_one())


def _id(value: object) -> UUID:
    # asyncpg has a UUID class of its own, and a driver may be configured to return text.
    return UUID(str(value))
