"""The records of triages in PostgreSQL."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from seedcore.errors import InvalidInputError, NotFoundError
from seedcore.stores.postgres import Database, loads
from seedcore.tasks.idempotency import key_conflict

MOST_RECORDS = 2_000
INTERRUPTED_S = 120
"""A record that is `acting` for longer was interrupted: no request lives so long."""

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

# Index triages_at; primary key.
_FORGET = """
delete from seedcore.triages where at < now() - make_interval(secs => $1)
  or id < (select id from seedcore.triages order by id desc offset $2 limit 1)
"""


class TriageStore:
    """Records by id and by idempotency key."""

    def __init__(self, database: Database, retention_s: float) -> None:
        self._database, self._retention_s = database, retention_s

    async def of_key(self, key: str, request_hash: str) -> dict[str, Any] | None:
        """The record that this key was first used for.

        Raises:
            ConflictError: that was another request.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_BY_KEY, key)
        if row is None:
            return None
        if row["hash"] != request_hash:
            raise key_conflict(key, f"for another request (triage {row['id']})", "another request")
        return _shown(row)

    async def begin(
        self, triage_id: UUID, key: str | None, request_hash: str, record: Mapping[str, Any], status: str
    ) -> bool:
        """Write a record before anything is done; False: its key was used in between.

        Raises:
            InvalidInputError: PostgreSQL cannot keep what came in.
        """
        facts = (record["stream"], record["dry_run"], record["action"])
        text = orjson.dumps(record["told"], option=orjson.OPT_SERIALIZE_NUMPY).decode()
        try:
            async with self._database.connection() as connection:
                await connection.execute(_FORGET, self._retention_s, MOST_RECORDS - 1)
                return (
                    await connection.fetchval(_INSERT, triage_id, key, request_hash, *facts, status, text) is not None
                )
        except asyncpg.DataError as error:
            raise InvalidInputError(f"context cannot be stored: {error.args[0]}") from None

    async def end(self, triage_id: UUID, status: str, result: Mapping[str, Any]) -> None:
        """What the action did."""
        async with self._database.connection() as connection:
            await connection.execute(_END, triage_id, status, orjson.dumps(result, default=str).decode())

    async def get(self, triage_id: UUID) -> dict[str, Any]:
        """One record.

        Raises:
            NotFoundError: there is none, or its retention has passed.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_GET, triage_id)
        if row is None:
            raise NotFoundError(f"There is no triage {triage_id}.")
        return _shown(row)

    async def find(self, stream: str | None, before: UUID | None, limit: int) -> list[dict[str, Any]]:
        """Records without their details, the newest first."""
        async with self._database.connection() as connection:
            if stream is None:
                rows = await connection.fetch(_LIST, before, limit)
            else:
                rows = await connection.fetch(_LIST_OF, before, limit, stream)
        return [_shown(row) for row in rows]


def _shown(row: asyncpg.Record) -> dict[str, Any]:
    shown = {
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
    return shown | (json.loads(row["record"]) if "record" in row else {})
