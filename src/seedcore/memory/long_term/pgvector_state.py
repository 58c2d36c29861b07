"""Whether a database has what vectors need."""

from dataclasses import dataclass

from seedcore.memory.long_term.store import NO_PGVECTOR
from seedcore.stores.postgres import Database

NEEDED = (0, 8)
"""From this version on a filtered search keeps its recall (`hnsw.iterative_scan`)."""

_STATE = """
select (select installed_version from pg_available_extensions where name = 'vector') as installed,
       (select default_version from pg_available_extensions where name = 'vector') as available,
       to_regclass('seedcore.memory_vectors') is not null as tables
"""


@dataclass(frozen=True, slots=True)
class PgvectorState:
    """Which pgvector is installed; without one that will do, the fallback's name and what to do about it."""

    version: str | None
    fallback: str | None = None
    reason: str | None = None


async def pgvector_state(database: Database) -> PgvectorState:
    """What the database has."""
    async with database.connection(wait_s=2.0) as connection:
        row = await connection.fetchrow(_STATE)
    return judged(row["installed"], row["available"], row["tables"])


def judged(installed: str | None, available: str | None, tables: bool) -> PgvectorState:
    """From the versions that are installed and available, and whether the tables of vectors are there."""
    if installed is not None and _new_enough(installed) and tables:
        return PgvectorState(installed)
    if installed is not None and not _new_enough(installed):
        if available is not None and _new_enough(available):
            reason = f"pgvector {installed} is too old: run `alter extension vector update`, then `seedcore migrate`."
        else:
            reason = f"pgvector {installed} is too old: install 0.8 or newer on the server, then `seedcore migrate`."
    elif available is not None and _new_enough(available):
        reason = "pgvector is there and not installed: let a superuser run `create extension vector`, then migrate."
    else:
        reason = "The server has no pgvector 0.8 or newer: install it, then run `seedcore migrate`."
    return PgvectorState(installed, NO_PGVECTOR, reason)


def _new_enough(version: str) -> bool:
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return numbers >= NEEDED
