"""Reads and writes the last whole snapshot of what workers decide with: PostgreSQL's table `snapshots`, one row."""

import hashlib
from typing import NamedTuple

import asyncpg

from seedcore.telemetry.logs import get_logger

_NEXT = "select nextval('seedcore.snapshot_generation')"
# Primary key of `snapshots`, here and in the next statement.
_SAVE = """
insert into seedcore.snapshots as s (generation, version, format, digest, body) values ($1, $2, $3, $4, $5)
on conflict (id) do update set generation = excluded.generation, version = excluded.version, format = excluded.format,
  digest = excluded.digest, body = excluded.body, at = now()
where s.generation <= excluded.generation
"""
_LOAD = """
select generation, version, format, digest, body, extract(epoch from now() - at)::float8 as age_s
from seedcore.snapshots where id = 1
"""


class StoredSnapshot(NamedTuple):
    """The last whole snapshot that a Coordinator saved.

    Attributes:
        generation: of the Coordinator that saved it.
        version: of the snapshot within the generation.
        format: `schemas.snapshot.SNAPSHOT_FORMAT` of the release that wrote `body`.
        body: `schemas.snapshot.StoredSnapshotJson` as JSON.
        age_s: seconds since it was saved, by the database's clock.
    """

    generation: int
    version: int
    format: int
    body: bytes
    age_s: float


async def next_generation(connection: asyncpg.Connection) -> int:
    """The generation of a Coordinator that starts now: higher than that of every earlier one."""
    return int(await connection.fetchval(_NEXT))


async def save(connection: asyncpg.Connection, generation: int, version: int, format_: int, body: bytes) -> bool:
    """Replace the snapshot; False: a Coordinator of a later generation has saved one, and nothing is changed."""
    digest = hashlib.sha256(body).digest()
    return bool(await connection.execute(_SAVE, generation, version, format_, digest, body) == "INSERT 0 1")


async def load(connection: asyncpg.Connection) -> StoredSnapshot | None:
    """The last snapshot; None: there is none, or it is damaged, which the log says."""
    row = await connection.fetchrow(_LOAD)
    if row is None:
        return None
    if hashlib.sha256(row["body"]).digest() != row["digest"]:
        get_logger("seedcore.fleet").error(
            "stored snapshot damaged, ignoring it", generation=row["generation"], version=row["version"]
        )
        return None
    return StoredSnapshot(row["generation"], row["version"], row["format"], row["body"], max(0.0, row["age_s"]))
