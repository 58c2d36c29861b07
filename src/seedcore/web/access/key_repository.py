"""The table of stored keys. A name has several rows while it is rotated; it is unique within its tenant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from seedcore.errors import ConflictError, NotFoundError
from seedcore.stores.advisory_locks import API_KEYS
from seedcore.web.access.key_secret import hash_of, new_secret


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to make; `expires_at` and `expires_in_s` exclude each other."""

    name: str
    tenant: str | None
    scopes: Sequence[str]
    payloads: bool
    expires_at: datetime | None = None
    expires_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One row: everything about a key but its secret."""

    id: UUID
    name: str
    tenant: str | None
    scopes: tuple[str, ...]
    payloads: bool
    state: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class FoundKey:
    """What a secret opens; `left_s` are the seconds until it expires."""

    hash: bytes
    name: str
    tenant: str | None
    scopes: tuple[str, ...]
    payloads: bool
    revoked: bool
    left_s: float | None


_FIELDS = """
id, name, tenant, scopes, payloads, created_at, created_by, expires_at, revoked_at, last_used_at,
case when revoked_at is not null then 'revoked' when expires_at <= now() then 'expired' else 'active' end as state
"""

# Nothing else may make or replace a key of that name at the same time.
_LOCK = f"select pg_advisory_xact_lock({API_KEYS}, hashtext($1))"

_FIND = """
select hash, name, tenant, scopes, payloads, revoked_at is not null as revoked,
       extract(epoch from expires_at - now())::float8 as left_s
from seedcore.api_keys where hash = any($1::bytea[])
"""

_NOTE_USE = """
update seedcore.api_keys set last_used_at = now()
where hash = any($1::bytea[]) and (last_used_at is null or last_used_at < now() - interval '55 seconds')
"""

_ACTIVE = f"""
select {_FIELDS} from seedcore.api_keys
where name = $1 and ($2::text is null or tenant = $2)
  and revoked_at is null and (expires_at is null or expires_at > now())
order by id desc
"""  # noqa: S608

_INSERT = f"""
insert into seedcore.api_keys (name, hash, tenant, scopes, payloads, created_by, expires_at)
values ($1, $2, $3, $4, $5, $6, coalesce($7::timestamptz, now() + make_interval(secs => $8::float8)))
returning {_FIELDS}
"""  # noqa: S608

_PAGE = f"""
select {_FIELDS} from seedcore.api_keys
where ($1::text is null or tenant = $1) and ($2::uuid is null or id < $2)
order by id desc limit $3
"""  # noqa: S608

_END_BY = """
update seedcore.api_keys set expires_at = least(expires_at, now() + make_interval(secs => $2::float8))
where id = any($1::uuid[])
"""

_REVOKE = "update seedcore.api_keys set revoked_at = now() where id = any($1::uuid[])"


async def find_keys(connection: asyncpg.Connection, hashes: Sequence[bytes]) -> list[FoundKey]:
    """What secrets with these hashes open, revoked and expired keys included."""
    return [FoundKey(**(dict(row) | {"scopes": tuple(row["scopes"])})) for row in await connection.fetch(_FIND, hashes)]


async def note_use(connection: asyncpg.Connection, hashes: Sequence[bytes]) -> None:
    """Keys with these hashes have just been used."""
    await connection.execute(_NOTE_USE, hashes)


async def create_key(connection: asyncpg.Connection, key: NewKey, by: str) -> tuple[StoredKey, str]:
    """Make a key, and return it with its secret, which cannot be read again.

    Raises:
        ConflictError: the tenant has an active key of that name.
    """
    async with connection.transaction():
        await connection.execute(_LOCK, key.name)
        if any(row["tenant"] == key.tenant for row in await connection.fetch(_ACTIVE, key.name, key.tenant)):
            raise ConflictError(f"There is a key {key.name!r} already: rotate it, or revoke it first.")
        return await _insert(connection, key, by)


async def rotate_key(
    connection: asyncpg.Connection, name: str, tenant: str | None, grace_s: float, expires_in_s: float | None, by: str
) -> tuple[StoredKey, str]:
    """Give a key a new secret; the ones before it go on for `grace_s`.

    Raises:
        NotFoundError: there is no active key of that name.
    """
    async with connection.transaction():
        await connection.execute(_LOCK, name)
        rows = await _active(connection, name, tenant)
        newest = rows[0]
        expires_at = newest["expires_at"] if expires_in_s is None else None
        key = NewKey(name, newest["tenant"], newest["scopes"], newest["payloads"], expires_at, expires_in_s)
        made = await _insert(connection, key, by)
        await connection.execute(_END_BY, [row["id"] for row in rows], grace_s)
        return made


async def revoke_key(connection: asyncpg.Connection, name: str, tenant: str | None) -> StoredKey:
    """End every secret of a key now; returns its newest one.

    Raises:
        NotFoundError: there is no active key of that name.
    """
    async with connection.transaction():
        await connection.execute(_LOCK, name)
        rows = await _active(connection, name, tenant)
        await connection.execute(_REVOKE, [row["id"] for row in rows])
        return _stored(rows[0])


async def get_active_key(connection: asyncpg.Connection, name: str, tenant: str | None) -> StoredKey:
    """The newest active key of a name; `tenant` None: the platform's, else that of the only tenant that has one.

    Raises:
        NotFoundError: there is none.
    """
    return _stored((await _active(connection, name, tenant))[0])


async def list_keys(
    connection: asyncpg.Connection, tenant: str | None, before: UUID | None, limit: int
) -> list[StoredKey]:
    """Keys, the newest first; `tenant` None: of all tenants and of the platform."""
    return [_stored(row) for row in await connection.fetch(_PAGE, tenant, before, limit)]


async def _active(connection: asyncpg.Connection, name: str, tenant: str | None) -> list[Any]:
    rows = await connection.fetch(_ACTIVE, name, tenant)
    if not rows:
        raise NotFoundError(f"There is no active key {name!r}.")
    if tenant is None and (own := [row for row in rows if row["tenant"] is None]):
        # No key of a tenant stands in the way of the platform's.
        return own
    if len({row["tenant"] for row in rows}) > 1:
        raise ConflictError(f"Several tenants have a key {name!r}: say which with `tenant`.")
    return list(rows)


async def _insert(connection: asyncpg.Connection, key: NewKey, by: str) -> tuple[StoredKey, str]:
    secret = new_secret()
    row = await connection.fetchrow(
        _INSERT,
        key.name,
        hash_of(secret.encode()),
        key.tenant,
        list(key.scopes),
        key.payloads,
        by,
        key.expires_at,
        key.expires_in_s,
    )
    return _stored(row), secret


def _stored(row: Any) -> StoredKey:
    return StoredKey(**(dict(row) | {"scopes": tuple(row["scopes"])}))
