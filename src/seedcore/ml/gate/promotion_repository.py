"""Rows of `seedcore.promotions`. Functions take a connection, so that what belongs together is one transaction."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg

PromotionStatus = Literal["shadowing", "promoted", "refused", "withdrawn", "rolled_back"]
Json = dict[str, Any]

_COLUMNS = """id, name, champion, candidate, status, forced, opened_by, reason, opened_at, decided_at, watch_until,
terms::text as terms, evidence::text as evidence"""

# Index promotions_open.
_OPEN = f"select {_COLUMNS}, state::text as state from seedcore.promotions where name = $1 and status = 'shadowing'"  # noqa: S608
# Index promotions_watched.
_WATCHED = f"""
select {_COLUMNS}, state::text as state from seedcore.promotions
where name = $1 and watch_until is not null and status = 'promoted' order by id desc limit 1
"""  # noqa: S608
_ENDING = "select id from seedcore.promotions where watch_until <= now() and status = 'promoted' limit 100"
# Index promotions_name.
_PROMOTED_TO = f"""
select {_COLUMNS}, null as state from seedcore.promotions
where name = $1 and candidate = $2 and status = 'promoted' order by id desc limit 1
"""  # noqa: S608
_GET = f"select {_COLUMNS}, null as state from seedcore.promotions where id = $1"  # noqa: S608
_PAGE = f"""
select {_COLUMNS}, null as state from seedcore.promotions
where ($1::text is null or name = $1) and ($2::uuid is null or id < $2) order by id desc limit $3
"""  # noqa: S608
_INSERT = """
insert into seedcore.promotions (name, champion, candidate, status, forced, opened_by, reason, decided_at, watch_until,
                                 terms, state, evidence)
values ($1, $2, $3, $4, $5, $6, $7, case when $4 = 'shadowing' then null else now() end,
        now() + make_interval(secs => $8), $9::jsonb, $10::jsonb, $11::jsonb)
returning id
"""
_DECIDE = """
update seedcore.promotions set status = $2, decided_at = coalesce(decided_at, now()),
  watch_until = now() + make_interval(secs => $3), state = $4::jsonb, evidence = evidence || $5::jsonb
where id = $1
"""
_SAVE = "update seedcore.promotions set state = $2::jsonb, evidence = evidence || $3::jsonb where id = $1"
_END_WATCH = """
update seedcore.promotions set watch_until = null, state = '{}', evidence = evidence || $2::jsonb
where id = $1 and status = 'promoted' and watch_until is not null
"""
_COUNT_OPEN = "select count(*) from seedcore.promotions where status = 'shadowing'"


@dataclass(frozen=True, slots=True)
class Promotion:
    """A decision about which version of `name` answers; it may be open.

    Attributes:
        champion: the version that answered when it was opened; None: none did.
        watch_until: until when the gate may take it back by itself; None: it is not watched.
        terms: what decides it; `state`: of the test or of the watch; `evidence`: what decided it.
    """

    id: UUID
    name: str
    champion: int | None
    candidate: int
    status: PromotionStatus
    forced: bool
    opened_by: str | None
    reason: str | None
    opened_at: datetime
    decided_at: datetime | None
    watch_until: datetime | None
    terms: Json
    evidence: Json
    state: Json


@dataclass(frozen=True, slots=True)
class NewPromotion:
    """What is asked for: `candidate` in the place of `champion`, by whom, and by which terms it is decided."""

    name: str
    champion: int | None
    candidate: int
    terms: Mapping[str, object]
    forced: bool = False
    opened_by: str | None = None
    reason: str | None = None


def _promotion(row: asyncpg.Record) -> Promotion:
    values = dict(row)
    for name in ("terms", "evidence", "state"):
        values[name] = json.loads(values[name] or "{}")
    return Promotion(**values)


def _one(row: asyncpg.Record | None) -> Promotion | None:
    return None if row is None else _promotion(row)


async def open_promotion(connection: asyncpg.Connection, name: str) -> Promotion | None:
    """The one that shadows now."""
    return _one(await connection.fetchrow(_OPEN, name))


async def watched_promotion(connection: asyncpg.Connection, name: str) -> Promotion | None:
    """The newest whose watch has not ended."""
    return _one(await connection.fetchrow(_WATCHED, name))


async def watches_that_end(connection: asyncpg.Connection) -> list[UUID]:
    """Promotions whose time of watch is over."""
    return [row["id"] for row in await connection.fetch(_ENDING)]


async def promoted_to(connection: asyncpg.Connection, name: str, version: int) -> Promotion | None:
    """The newest by which `version` became champion, and which was not taken back."""
    return _one(await connection.fetchrow(_PROMOTED_TO, name, version))


async def get_promotion(connection: asyncpg.Connection, promotion: UUID) -> Promotion | None:
    """One, without its state."""
    return _one(await connection.fetchrow(_GET, promotion))


async def page_of_promotions(
    connection: asyncpg.Connection, name: str | None, before: UUID | None, limit: int
) -> list[Promotion]:
    """The newest first, those with ids below `before`, without their state."""
    return [_promotion(row) for row in await connection.fetch(_PAGE, name, before, limit)]


async def insert_promotion(
    connection: asyncpg.Connection,
    new: NewPromotion,
    status: PromotionStatus,
    evidence: Mapping[str, object],
    *,
    watch_s: float | None = None,
    state: Mapping[str, object] | None = None,
) -> UUID:
    """Write one; its id. `watch_s` begins a watch with `state`."""
    texts = (json.dumps(value) for value in (new.terms, state or {}, evidence))
    given = new.name, new.champion, new.candidate, status, new.forced, new.opened_by, new.reason, watch_s
    found: UUID = await connection.fetchval(_INSERT, *given, *texts)
    return found


async def decide_promotion(
    connection: asyncpg.Connection,
    promotion: UUID,
    status: PromotionStatus,
    evidence: Mapping[str, object],
    *,
    watch_s: float | None = None,
    state: Mapping[str, object] | None = None,
) -> None:
    """Write what became of one; `evidence` joins what is there, `watch_s` begins a watch."""
    await connection.execute(_DECIDE, promotion, status, watch_s, json.dumps(state or {}), json.dumps(evidence))


async def save_progress(
    connection: asyncpg.Connection, promotion: UUID, state: Mapping[str, object], evidence: Mapping[str, object]
) -> None:
    """Write how far a test or a watch is."""
    await connection.execute(_SAVE, promotion, json.dumps(state), json.dumps(evidence))


async def end_watch(connection: asyncpg.Connection, promotion: UUID, evidence: Mapping[str, object]) -> None:
    """Write that a watch ended without an alarm; nothing where it has ended already."""
    await connection.execute(_END_WATCH, promotion, json.dumps(evidence))


async def count_open(connection: asyncpg.Connection) -> int:
    """How many shadow now."""
    return int(await connection.fetchval(_COUNT_OPEN))
