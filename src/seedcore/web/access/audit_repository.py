"""The table of the audit log: rows come, are read, and stay until retention takes them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from seedcore.stores.postgres import loads


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, from where, and what came of it. `detail` holds neither secrets nor payloads."""

    actor: str
    actor_kind: str
    tenant: str | None
    action: str
    target: str | None
    status: int
    source: str | None
    detail: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows; None: whatever it is."""

    actor: str | None = None
    action: str | None = None
    tenant: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: UUID | None = None
    limit: int = 100


_WRITE = """
insert into seedcore.audit (actor, actor_kind, tenant, action, target, status, source, detail)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::text[], $8::jsonb[])
"""

# The id holds the time: one index serves order, bounds and cursor.
_FIND = """
select id, at, actor, actor_kind, tenant, action, target, status, source, detail::text as detail from seedcore.audit
where ($1::text is null or actor = $1) and ($2::text is null or action = $2) and ($3::text is null or tenant = $3)
  and ($4::timestamptz is null or (id >= seedcore.first_id($4) and at >= $4))
  and ($5::timestamptz is null or (id < seedcore.first_id($5 + interval '1 second') and at < $5))
  and ($6::uuid is null or id < $6)
order by id desc limit $7
"""


async def write_entries(connection: asyncpg.Connection, entries: Sequence[AuditEntry]) -> None:
    """Append rows, in this order."""
    columns = [
        [_storable(getattr(entry, name)) for entry in entries]
        for name in ("actor", "actor_kind", "tenant", "action", "target", "status", "source")
    ]
    await connection.execute(_WRITE, *columns, [orjson.dumps(entry.detail).decode() for entry in entries])


def _storable(value: object) -> object:
    """The value without what PostgreSQL keeps in no text: one such row would cost those that are written with it."""
    if not isinstance(value, str):
        return value
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


async def find_entries(connection: asyncpg.Connection, wanted: AuditFilter) -> list[dict[str, Any]]:
    """Rows as JSON values, the newest first."""
    rows = await connection.fetch(
        _FIND, wanted.actor, wanted.action, wanted.tenant, wanted.since, wanted.until, wanted.before, wanted.limit
    )
    return [
        dict(row) | {"id": str(row["id"]), "at": row["at"].isoformat(), "detail": loads(row["detail"])} for row in rows
    ]
