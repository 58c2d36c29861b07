"""Reads and writes the records of triages in PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg
import orjson

from seedcore.errors import InvalidInputError, NotFoundError
from seedcore.stores.postgres import Database, loads
from seedcore.tasks.idempotency import key_conflict

MAX_RECORDS = 2_000
INTERRUPTED_S = 120
"""A record that is `acting` for longer was interrupted: no request runs for so long."""

_FIELDS = f"""
id, at, key, stream, dry_run, action, result::text as result, ended_at, hash,
case when status = 'acting' and at < now() - interval '{INTERRUPTED_S} s' then 'interrupted' else status end as status
"""

# Primary key; unique key.
_GET = f"select {_FIELDS}, record::text as record from seedcore.triages where id = $1"  # noqa: S608 - constants
_BY_KEY = f"select {_FIELDS}, record::text as record from seedcore.triages where key = $1"  # noqa: S608
_INSERT = """
insert into seedcore.triages (id, key, hash, stream, dry_run, action, status, record)
values ($1, $2, $3, $4, $5, $6, $7, $8::jsonb) on conflict (key) do nothing returning id
"""
_END = "update seedcore.triages set status = $2, result = $3::jsonb, ended_at = now() where id = $1"

# Primary key, or index triages_stream.
_LIST = f"select {_FIELDS} from seedcore.triages where ($1::uuid is null or id < $1) order by id desc limit $2"  # noqa: S608
_LIST_OF = f"""
select {_FIELDS} from seedcore.triages where stream = $3 and ($1::uuid is null or id < $1) order by id desc limit $2
"""  # noqa: S608

# Index triages_at: those of at least a salience, the oldest first.
_SALIENT = """
select id, at, stream, action, dry_run, record->'salience' as salience,
       (select jsonb_agg(jsonb_build_object('name', h->'name', 'belief', h->'belief'))
        from (select h from jsonb_array_elements(record->'reasons'->'hypotheses') h limit 3) likely) as hypotheses
from seedcore.triages
where at >= to_timestamp($1) and jsonb_typeof(record->'salience'->'score') = 'number'
  and (record->'salience'->>'score')::float8 >= $2 and id <> all($4::uuid[])
order by at, id limit $3
"""

# Index triages_at; primary key.
_DELETE_EXPIRED = """
delete from seedcore.triages where at < now() - make_interval(secs => $1)
  or id < (select id from seedcore.triages order by id desc offset $2 limit 1)
"""


Json = dict[str, object]


class TriageRecord(NamedTuple):
    """A triage before its action; `details` are its request, series, findings, reasons and decision, as JSON."""

    id: UUID
    stream: str | None
    dry_run: bool
    action: str
    details: Json


class SalientTriage(NamedTuple):
    """A recorded triage: when, what it was about, what was decided, its salience, and its likeliest hypotheses."""

    id: UUID
    at: datetime
    stream: str | None
    action: str
    dry_run: bool
    salience: Mapping[str, object]
    hypotheses: list[Mapping[str, object]]

    @property
    def score(self) -> float:
        """Its salience, in [0, 1]."""
        return float(str(self.salience["score"]))


class TriageRepository:
    """Records by id and by idempotency key."""

    def __init__(self, database: Database, retention_s: float) -> None:
        self._database, self._retention_s = database, retention_s

    async def of_key(self, key: str, request_hash: str) -> Json | None:
        """The record that this key was first used for.

        Raises:
            ConflictError: it was used for another request.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_BY_KEY, key)
        if row is None:
            return None
        if row["hash"] != request_hash:
            raise key_conflict(key, f"for another request (triage {row['id']})", "another request")
        return _shown(row)

    async def begin(self, record: TriageRecord, key: str | None, request_hash: str, status: str) -> bool:
        """Write a record before anything is done; False: its key was used meanwhile.

        Raises:
            InvalidInputError: PostgreSQL cannot store the request's context.
        """
        details = orjson.dumps(record.details, option=orjson.OPT_SERIALIZE_NUMPY).decode()
        values = (record.id, key, request_hash, record.stream, record.dry_run, record.action, status, details)
        try:
            async with self._database.connection() as connection:
                await connection.execute(_DELETE_EXPIRED, self._retention_s, MAX_RECORDS - 1)
                return await connection.fetchval(_INSERT, *values) is not None
        except asyncpg.DataError as error:
            raise InvalidInputError.for_field("context", f"cannot be stored: {error.args[0]}") from None

    async def end(self, triage_id: UUID, status: str, result: Mapping[str, object]) -> None:
        """Record the action's result."""
        async with self._database.connection() as connection:
            await connection.execute(_END, triage_id, status, orjson.dumps(result, default=str).decode())

    async def salient(self, since: float, least: float, limit: int, without: Sequence[UUID]) -> list[SalientTriage]:
        """Triages of at least a salience, the oldest first.

        Args:
            since: seconds since 1970.
            least: the salience.
            limit: how many at most.
            without: those that are known.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SALIENT, since, least, limit, without)
        return [
            SalientTriage(
                row["id"],
                row["at"],
                row["stream"],
                row["action"],
                row["dry_run"],
                loads(row["salience"]),
                loads(row["hypotheses"] or "[]"),
            )
            for row in rows
        ]

    async def get(self, triage_id: UUID) -> Json:
        """One record.

        Raises:
            NotFoundError: there is no such triage, or its retention has passed.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_GET, triage_id)
        if row is None:
            raise NotFoundError(f"There is no triage {triage_id}.")
        return _shown(row)

    async def page(self, stream: str | None, before: UUID | None, limit: int) -> Json:
        """Records without their details, the newest first: `{items, next_cursor}`."""
        async with self._database.connection() as connection:
            if stream is None:
                rows = await connection.fetch(_LIST, before, limit + 1)
            else:
                rows = await connection.fetch(_LIST_OF, before, limit + 1, stream)
        items = [_shown(row) for row in rows[:limit]]
        return {"items": items, "next_cursor": items[-1]["id"] if len(rows) > limit else None}


def parse_cursor(text: str) -> UUID:
    """The id in a page's cursor.

    Raises:
        InvalidInputError: the text is not an id.
    """
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInputError.for_field("cursor", "must be a triage's id, such as `next_cursor` of a page.") from None


def _shown(row: asyncpg.Record) -> Json:
    shown: Json = {
        "id": str(row["id"]),
        "at": row["at"].isoformat(),
        "idempotency_key": row["key"],
        "stream": row["stream"],
        "dry_run": row["dry_run"],
        "status": row["status"],
        "action": row["action"],
        "result": loads(row["result"]),
        "ended_at": None if row["ended_at"] is None else row["ended_at"].isoformat(),
    }
    return shown | (loads(row["record"]) if "record" in row else {})
