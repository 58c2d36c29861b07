"""Reads and appends the energy ledger: expected and realised changes of energy by decisions, by scope.

A row holds sums over outcomes. Rows are never updated; only retention deletes them.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime

import asyncpg

from seedcore.pricing.outcome_sums import Sums

_SUMS = (
    "outcomes, expected_s, realised_s, expected_failures, failures, expected_delta, realised_delta, "
    "realised_squares, squared_error, tokens, money"
)
_TOTALS = ", ".join(f"coalesce(sum({name}), 0)::float8 as {name}" for name in _SUMS.split(", "))
_APPEND = f"""
insert into seedcore.energy_ledger (scope, router, v, {_SUMS})
select * from unnest($1::text[], $2::text[], $3::float8[], $4::bigint[], $5::float8[], $6::float8[], $7::float8[],
                     $8::bigint[], $9::float8[], $10::float8[], $11::float8[], $12::float8[],
                     $13::float8[], $14::float8[])
"""  # noqa: S608 - constants of this file
# Primary key (all scopes), index energy_ledger_scope (one).
_PAGE = f"""
select id, at, scope, router, v, {_SUMS} from seedcore.energy_ledger
where ($1::text is null or scope = $1) and ($2::bigint is null or id < $2) order by id desc limit $3
"""  # noqa: S608
# Index energy_ledger_at.
_CALIBRATION = f"""
select scope, {_TOTALS} from seedcore.energy_ledger where at >= now() - make_interval(secs => $1)
group by scope order by scope limit 10000
"""  # noqa: S608
_BETWEEN = f"""
select {_TOTALS} from seedcore.energy_ledger
where at >= $1 and at < $2 and ($3::text is null or scope = $3)
  and ($4::text is null or substr(scope, strpos(scope, '/') + 1) = $4)
"""  # noqa: S608
_OUTCOMES_BY_TYPE = """
select substr(scope, strpos(scope, '/') + 1) as type, sum(outcomes)::bigint as outcomes from seedcore.energy_ledger
where at >= now() - make_interval(secs => $1) group by 1
"""
_DELETE_EXPIRED = """
delete from seedcore.energy_ledger where id in (
  select id from seedcore.energy_ledger where at < now() - make_interval(secs => $1) order by at limit 20000)
"""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """Sums of one scope under one router and V, to append."""

    scope: str
    router: str
    v: float
    sums: Sums


async def append(connection: asyncpg.Connection, entries: Sequence[LedgerEntry]) -> None:
    """Append entries in one statement."""
    columns = list(zip(*[(e.scope, e.router, e.v, *astuple(e.sums)) for e in entries], strict=True))
    await connection.execute(_APPEND, *[list(column) for column in columns])


async def delete_expired(connection: asyncpg.Connection, retention_s: float) -> None:
    """Delete entries older than `retention_s` seconds, at most 20,000 at once."""
    await connection.execute(_DELETE_EXPIRED, retention_s)


async def page(
    connection: asyncpg.Connection, scope: str | None, before: int | None, limit: int
) -> list[dict[str, object]]:
    """Entries with ids below `before`, the newest first."""
    return [dict(row) for row in await connection.fetch(_PAGE, scope, before, limit)]


async def by_scope(connection: asyncpg.Connection, window_s: float) -> dict[str, Sums]:
    """Sums of the last `window_s` seconds."""
    return {row["scope"]: Sums.of(row) for row in await connection.fetch(_CALIBRATION, window_s)}


async def between(
    connection: asyncpg.Connection, since: datetime, until: datetime, scope: str | None, type_: str | None = None
) -> Sums:
    """Sums from `since` up to `until`, of a scope, or of all scopes of a type."""
    return Sums.of(await connection.fetchrow(_BETWEEN, since, until, scope, type_))


async def outcomes_by_type(connection: asyncpg.Connection, window_s: float) -> dict[str, int]:
    """Tasks of each type that ended in the last `window_s` seconds. Index energy_ledger_at."""
    return {row["type"]: row["outcomes"] for row in await connection.fetch(_OUTCOMES_BY_TYPE, window_s)}
