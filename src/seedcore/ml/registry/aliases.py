"""Aliases of models, kept in PostgreSQL: `champion` answers, `candidate` answers the same tasks in its shadow."""

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import asyncpg

from seedcore.errors import NotFoundError, SeedCoreError, UnavailableError
from seedcore.stores.advisory_locks import MODELS
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.telemetry.metrics.metric_registry import counter

StoredAlias = Literal["champion", "candidate"]
Alias = Literal["champion", "candidate", "latest"]

REFRESH_S = 0.1
"""A generation that was read within this time counts as current."""
RETRY_S = 1.0
"""After a read that failed, the next try is that much later."""
PATIENCE_S = 0.25
"""Who has known aliases waits for a read at most so long; then the known ones answer."""

_GENERATION = "select generation from seedcore.model_generation"
_ALIASES = "select name, alias, version from seedcore.model_aliases"
_SHADOWS = "select name, id::text, candidate from seedcore.promotions where status = 'shadowing'"


@dataclass(frozen=True, slots=True)
class Shadow:
    """An open promotion: the version that answers along, and is not given."""

    promotion: str
    candidate: int


@dataclass(frozen=True, slots=True)
class ModelAliases:
    """All aliases and open promotions, as they were at one moment.

    Attributes:
        generation: of `seedcore.model_generation`; it changes with every alias.
        versions: {name: {alias: version}}.
        shadows: open promotions by name.
    """

    generation: int
    versions: Mapping[str, Mapping[str, int]]
    shadows: Mapping[str, Shadow]

    def of(self, name: str) -> Mapping[str, int]:
        """{alias: version} of a name; empty when it has none."""
        return self.versions.get(name, {})

    def resolve(self, name: str, version: int | None = None, alias: str | None = None) -> int | None:
        """The version that is asked for; None is the newest.

        Raises:
            NotFoundError: the name has no such alias.
        """
        if version is not None or alias == "latest":
            return version
        found = self.of(name).get(alias or "champion")
        if found is None and alias is not None:
            raise NotFoundError(f"Model {name!r} has no {alias}. `POST /ml/xgboost/promote` sets one.")
        return found


class AliasCache:
    """The aliases that a process knows. While PostgreSQL is away the last known ones answer, and `stale` says so.

    It belongs to one event loop.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: ModelAliases | None = None
        self._read_at = self._failed_at = -math.inf
        self._reading: asyncio.Task[None] | None = None
        self._error: SeedCoreError | None = None
        self.stale: str | None = None
        """Why the known aliases may be old; None: they are current."""

    async def resolve(self, name: str, version: int | None = None, alias: str | None = None) -> int | None:
        """The version that is asked for: None means the newest, because nothing was asked for and there is no champion.

        Raises:
            NotFoundError: the name has no such alias.
            UnavailableError: PostgreSQL is away, and its aliases have never been read.
        """
        if version is not None or alias == "latest":
            return version
        return (await self.current()).resolve(name, version, alias)

    def fresh(self) -> ModelAliases | None:
        """The aliases if they were read within the last 100 ms, without waiting."""
        return self._known if time.monotonic() - self._read_at < REFRESH_S else None

    async def current(self) -> ModelAliases:
        """All aliases, at most 100 ms old, or the last known ones while PostgreSQL is away.

        Raises:
            UnavailableError: PostgreSQL is away, and they have never been read.
        """
        now = time.monotonic()
        if self._known is not None and now - self._read_at < REFRESH_S:
            return self._known
        if self._reading is None and now - self._failed_at >= RETRY_S:
            self._reading = asyncio.create_task(self._read(), name="read aliases")
        if self._reading is not None and (self._known is None or self.stale is None):
            # A caller that is cancelled leaves the read to the others.
            await asyncio.wait({self._reading}, timeout=None if self._known is None else PATIENCE_S)
            if self._reading is not None and self._known is not None:
                self.stale = "PostgreSQL does not answer"
        if self._known is None:
            raise self._error or UnavailableError("The aliases of models have not been read yet.", retry_after_s=1)
        if self.stale is not None:
            counter("seedcore_fallbacks_total").add(1, fallback="aliases_stale")
        return self._known

    async def renew(self) -> None:
        """Read again now: this process has just changed an alias."""
        if (reading := self._reading) is not None:
            await asyncio.wait({reading})
        self._read_at = -math.inf
        reading = self._reading = asyncio.create_task(self._read(), name="read aliases")
        await asyncio.wait({reading})

    async def _read(self) -> None:
        began = time.monotonic()
        try:
            async with self._database.connection(wait_s=2.0) as connection:
                generation = await connection.fetchval(_GENERATION)
                if self._known is None or self._known.generation != generation:
                    self._known = await read_aliases(connection)
        except (*DATABASE_ERRORS, TimeoutError) as error:
            self._failed_at = time.monotonic()
            detail = error.detail if isinstance(error, SeedCoreError) else type(error).__name__
            self.stale = f"PostgreSQL fails: {detail}"
            self._error = UnavailableError(f"The aliases of models cannot be read: {detail}", retry_after_s=1)
        else:
            self._read_at, self._failed_at, self._error, self.stale = began, -math.inf, None, None
        finally:
            self._reading = None

    async def aclose(self) -> None:
        """End a read that is going on; the database is its owner's to close."""
        if (reading := self._reading) is not None:
            reading.cancel()
            await asyncio.wait({reading})


async def read_aliases(connection: asyncpg.Connection) -> ModelAliases:
    """All aliases and open promotions, of one moment."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        generation = await connection.fetchval(_GENERATION)
        aliases, shadows = await connection.fetch(_ALIASES), await connection.fetch(_SHADOWS)
    versions: dict[str, dict[str, int]] = {}
    for name, alias, version in aliases:
        versions.setdefault(name, {})[alias] = version
    return ModelAliases(generation, versions, {name: Shadow(promotion, v) for name, promotion, v in shadows})


async def lock_model(connection: asyncpg.Connection, name: str) -> None:
    """Wait until no other transaction changes aliases of `name` or deletes versions of it; held until this one ends.

    Whoever sets an alias checks after this that the version is stored.
    """
    await connection.execute("select pg_advisory_xact_lock($1, hashtext($2))", MODELS, name)


async def set_alias(
    connection: asyncpg.Connection,
    name: str,
    alias: StoredAlias,
    version: int,
    *,
    set_by: str | None = None,
    reason: str | None = None,
) -> None:
    """Let `alias` mean `version`, in the caller's transaction. All processes see it at most 100 ms after the commit."""
    await lock_model(connection, name)
    await connection.execute(
        "insert into seedcore.model_aliases (name, alias, version, set_by, reason) values ($1, $2, $3, $4, $5)"
        " on conflict (name, alias) do update set version = excluded.version, since = now(),"
        " set_by = excluded.set_by, reason = excluded.reason",
        name,
        alias,
        version,
        set_by,
        reason,
    )


async def clear_alias(connection: asyncpg.Connection, name: str, alias: StoredAlias) -> int | None:
    """Remove an alias, in the caller's transaction; the version that it meant, None when there was none."""
    await lock_model(connection, name)
    statement = "delete from seedcore.model_aliases where name = $1 and alias = $2 returning version"
    version: int | None = await connection.fetchval(statement, name, alias)
    return version
