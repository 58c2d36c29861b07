"""Runs a client's SELECT over the history, and makes a training set of its rows."""

import asyncio
import math
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from seedcore.errors import DeadlineError, InvalidInputError
from seedcore.ml.data.dataset import ColumnRoles, Table, TrainLimits
from seedcore.ml.data.dataset_builder import CHUNK_ROWS, TableBuilder
from seedcore.ml.data.history_query import checked_select
from seedcore.stores.postgres import Database

_FIELD = "data_source"
MAX_DIGITS = 400
"""Of a `numeric`; a float has fewer."""


async def history_table(
    database: Database, sql: str, tenant: str, roles: ColumnRoles, limits: TrainLimits, seconds: float
) -> Table:
    """The rows of a SELECT over `seedcore.history`, as `tenant` sees it, as a table.

    It runs in a transaction that cannot write, and streams; `seconds` bound all of it.

    Raises:
        InvalidInputError: the statement is not allowed, PostgreSQL refuses it, or its rows do not fit.
        TooLargeError: it gives too many rows.
        DeadlineError: it took longer than `seconds`.
        UnavailableError: the database does not answer.
    """
    statement = await asyncio.to_thread(checked_select, sql)
    try:
        async with asyncio.timeout(seconds), database.connection() as connection:
            return await _run(connection, statement, tenant, roles, limits, seconds)
    except TimeoutError:
        raise DeadlineError(f"The query took longer than {seconds:g} s (SEEDCORE_HISTORY_QUERY_S).") from None


async def _run(
    connection: asyncpg.Connection, statement: str, tenant: str, roles: ColumnRoles, limits: TrainLimits, seconds: float
) -> Table:
    async with connection.transaction(readonly=True):
        await connection.execute(
            "select set_config('seedcore.tenant', $1, true), set_config('statement_timeout', $2, true), "
            "set_config('search_path', 'pg_catalog', true), set_config('standard_conforming_strings', 'on', true), "
            "set_config('max_parallel_workers_per_gather', '0', true), set_config('jit', 'off', true)",
            tenant,
            str(int(seconds * 1000)),
        )
        try:
            prepared = await connection.prepare(statement, timeout=seconds)
            attributes = prepared.get_attributes()
            readers = [_READERS.get(attribute.type.name, _plain) for attribute in attributes]
            builder = TableBuilder(
                [attribute.name for attribute in attributes],
                roles,
                limits,
                lambda row, column: (_FIELD, f"row {row}, {column}: " if column else f"row {row} "),
            )
            cursor = await prepared.cursor(timeout=seconds)
            while rows := await _next(cursor, seconds):
                await asyncio.to_thread(_add, builder, rows, readers)
            return await asyncio.to_thread(builder.finish)
        except asyncpg.QueryCanceledError:
            raise TimeoutError from None
        except asyncpg.PostgresError as error:
            if str(error.sqlstate)[:2] not in ("22", "42", "0A", "54", "21"):
                raise
            raise InvalidInputError.for_field("data_source.sql", f"PostgreSQL refuses it: {error}"[:500]) from None


async def _next(cursor: Any, seconds: float) -> Sequence[Any]:
    try:
        found: Sequence[Any] = await cursor.fetch(CHUNK_ROWS, timeout=seconds)
    except (ValueError, OverflowError) as error:
        # The driver cannot read an interval without end, nor a time outside the years 1 to 9999.
        raise _unreadable(error) from None
    return found


def _unreadable(error: Exception) -> InvalidInputError:
    return InvalidInputError.for_field("data_source.sql", f"gives a value that cannot be read: {error}"[:500])


def _add(builder: TableBuilder, rows: Sequence[Any], readers: Sequence[Callable[[Any], object]]) -> None:
    columns = list(zip(*rows, strict=True))
    try:
        values = [[read(v) for v in column] for read, column in zip(readers, columns, strict=True)]
    except (ValueError, OverflowError) as error:
        # Its JSON may hold numbers that no float holds, and halves of surrogate pairs.
        raise _unreadable(error) from None
    builder.add_columns(values)


def _plain(value: Any) -> object:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID):
        return str(value)
    return value


def _of_json(value: Any) -> object:
    return None if value is None else orjson.loads(value)


def _of_decimal(value: Decimal | None) -> object:
    if value is not None and (not value.is_finite() or value.adjusted() > MAX_DIGITS):
        # What is far too large is not spelt out: an integer of 100,000 digits would hold up the whole process.
        return math.copysign(math.inf, value) if not value.is_nan() else math.nan
    # Integers stay integers: as labels they are classes.
    return None if value is None else int(value) if value == value.to_integral_value() else float(value)


def _of_time(value: datetime | date | None) -> object:
    if not isinstance(value, datetime):
        return value
    # What the driver makes of `infinity` and `-infinity`: the last and the first moment that Python knows.
    return math.inf if value.replace(tzinfo=UTC) in _ENDLESS else value.timestamp()


_ENDLESS = (datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC))
_READERS: dict[str, Callable[[Any], object]] = {
    "json": _of_json,
    "jsonb": _of_json,
    "numeric": _of_decimal,
    "timestamptz": _of_time,
}
