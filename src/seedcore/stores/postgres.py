"""The PostgreSQL pool of a process: the embedded server by default, and a clear error when the server is away."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from seedcore.errors import (
    DatabaseFullError,
    DatabaseMemoryError,
    DatabaseReadOnlyError,
    DatabaseStorageError,
    SchemaBehindError,
    SeedCoreError,
    UnavailableError,
)
from seedcore.settings import Settings
from seedcore.stores import sqlstates
from seedcore.telemetry.logs import get_logger

SCHEMA_VERSION = "0022"
"""The schema that this code needs: the newest revision of phase `before` in `migrations/versions`."""

# Plans that history cannot turn into scans of whole tables; see docs/decisions/0002-task-tables.md.
ENGINE_SESSION = {
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    # While the index of the release before is there, a claim would sort what that gives.
    "enable_sort": "off",
    "enable_incremental_sort": "off",
}

DATABASE_ERRORS = (UnavailableError, *sqlstates.ERRORS)
"""What a statement may raise while the server restarts, refuses or is gone."""

DEGRADED_S = 60.0
"""Health stays degraded for so long after the server last refused to store something."""

_CANNOT_STORE = (DatabaseFullError, DatabaseReadOnlyError, DatabaseMemoryError, DatabaseStorageError)


def resolve_dsn(settings: Settings, timeout_s: float = 90.0) -> str:
    """The DSN to connect to; starts the embedded server when none is configured (blocking, safe to call again).

    Raises:
        UnavailableError: the embedded server did not start within `timeout_s`.
    """
    if settings.pg_dsn is not None:
        return settings.pg_dsn.get_secret_value()
    from seedcore.stores.embedded import embedded_postgres

    return embedded_postgres(settings).acquire(timeout_s)


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection without session state to reset: a reset would cost a round trip for every use."""

    def get_reset_query(self) -> str:
        """Nothing; an open transaction is rolled back all the same."""
        return ""


class Database:
    """A lazily connected pool that survives restarts of the server.

    Args:
        settings: where the server is.
        size: how many connections at most; `settings.pg_pool_size` when None.
        session: server settings of every connection, such as ENGINE_SESSION.
        name: `application_name`, for people who look into pg_stat_activity.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        size: int | None = None,
        session: dict[str, str] | None = None,
        name: str = "seedcore",
    ) -> None:
        self.settings = settings
        self.size = size or settings.pg_pool_size
        self._session = {"application_name": name, **(session or {})}
        self._pool: asyncpg.Pool | None = None
        self._lock = asyncio.Lock()
        self._schema_ok = False
        self._refused: tuple[float, SeedCoreError | None] = (0.0, None)
        self._log = get_logger("seedcore.stores", pool=name)

    async def connect(self) -> asyncpg.Connection:
        """A connection outside the pool (for LISTEN); the caller closes it."""
        dsn = await asyncio.to_thread(resolve_dsn, self.settings)
        return await asyncpg.connect(dsn, server_settings=self._session, timeout=10)

    @asynccontextmanager
    async def connection(self, *, wait_s: float = 10.0) -> AsyncIterator[asyncpg.Connection]:
        """A connection from the pool.

        Raises:
            UnavailableError: the server did not answer within `wait_s` seconds.
            SchemaBehindError: the database has not been migrated yet.
            SeedCoreError: the one that `sqlstates.MEANINGS` has for an error of the server.
        """
        pool, connection = await self._acquire(wait_s)
        try:
            if not self._schema_ok:
                await check_schema(connection)
                self._schema_ok = True
            yield connection
        except TimeoutError:
            # The caller's own deadline, or a statement that hangs: not a server that is away.
            raise
        except sqlstates.ERRORS as error:
            known = sqlstates.translate(error)
            if sqlstates.ends_connection(error):
                # Its state is unknown: a pool that resets it would only trip over it. It may hold it closed already.
                with contextlib.suppress(asyncpg.InterfaceError):
                    connection.terminate()
            if known is None:
                raise
            self._note_refusal(known)
            raise known from error
        finally:
            await pool.release(connection)

    @asynccontextmanager
    async def transaction(self, *, wait_s: float = 10.0) -> AsyncIterator[asyncpg.Connection]:
        """A connection inside a transaction: all or nothing."""
        async with self.connection(wait_s=wait_s) as connection, connection.transaction():
            yield connection

    async def _acquire(self, wait_s: float) -> tuple[asyncpg.Pool, asyncpg.Connection]:
        deadline = time.monotonic() + wait_s
        pause = 0.05
        while True:
            try:
                pool = await self._get_pool()
                return pool, await pool.acquire(timeout=max(0.1, deadline - time.monotonic()))
            except sqlstates.ERRORS as error:
                known = sqlstates.translate(error, connecting=True)
                if known is None:
                    raise
                if not known.transient or time.monotonic() + pause > deadline:
                    raise known from None
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.5)
                # The embedded server may have died with its supervisor: this brings both back.
                left = max(0.1, deadline - time.monotonic())
                await asyncio.to_thread(resolve_dsn, self.settings, left)

    async def _get_pool(self) -> asyncpg.Pool:
        async with self._lock:
            if self._pool is None:
                dsn = await asyncio.to_thread(resolve_dsn, self.settings)
                self._pool = await asyncpg.create_pool(
                    dsn,
                    connection_class=_Connection,
                    min_size=0,
                    max_size=self.size,
                    max_inactive_connection_lifetime=60,
                    server_settings=self._session,
                    command_timeout=60,
                    timeout=10,
                )
            return self._pool

    async def ready(self) -> dict[str, object]:
        """`{ready, latency_ms}`, with `{degraded, code, reason}` while it cannot write, or `{ready, code, reason}`."""
        began = time.perf_counter()
        try:
            async with self.connection(wait_s=2.0) as connection:
                if await connection.fetchval("select current_setting('transaction_read_only')::bool"):
                    self._note_refusal(DatabaseReadOnlyError(sqlstates.MEANINGS["25006"].detail))
        except UnavailableError as error:
            return {"ready": False, "code": error.code, "reason": error.detail}
        answer: dict[str, object] = {"ready": True, "latency_ms": round((time.perf_counter() - began) * 1000, 2)}
        at, refusal = self._refused
        if refusal is not None and time.monotonic() - at < DEGRADED_S:
            answer |= {"degraded": True, "code": refusal.code, "reason": refusal.detail}
        return answer

    def _note_refusal(self, error: SeedCoreError) -> None:
        """Remember for health that the server could not store something: it still answers."""
        if isinstance(error, _CANNOT_STORE):
            at, before = self._refused
            if before is None or before.code != error.code or time.monotonic() - at > DEGRADED_S:
                self._log.error("PostgreSQL cannot write", code=error.code, reason=error.detail)
            self._refused = (time.monotonic(), error)

    async def aclose(self) -> None:
        """Close every connection."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            try:
                await asyncio.wait_for(pool.close(), timeout=5)
            except TimeoutError:
                self._log.warning("connections did not close in time, terminated")
                pool.terminate()


async def check_schema(connection: asyncpg.Connection) -> None:
    """Compare the database's schema with SCHEMA_VERSION.

    Raises:
        SchemaBehindError: it is missing or older.
    """
    try:
        version = await connection.fetchval("select version_num from seedcore.schema_version")
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        version = None
    if version is None or str(version) < SCHEMA_VERSION:
        raise SchemaBehindError(
            f"The database has schema {version or 'none'}, this version needs {SCHEMA_VERSION}: "
            "run `python -m bootstraps.bootstrap_entry`.",
            retry_after_s=2,
        )


def loads(text: str | None) -> Any:
    """Decode a jsonb column (it travels as text, and is decoded only where it is read)."""
    return None if text is None else json.loads(text)
