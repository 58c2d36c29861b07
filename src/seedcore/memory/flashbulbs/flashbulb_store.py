"""Flashbulb memory: stores rare incidents of high salience permanently.

The table is in MySQL when SEEDCORE_MYSQL_DSN is set, else in the main PostgreSQL; SQLAlchemy Core serves both.
"""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID, uuid4

from seedcore.errors import (
    ConflictError,
    InvalidInputError,
    SchemaBehindError,
    TooLargeError,
    UnavailableError,
)
from seedcore.settings import Settings
from seedcore.stores.mysql import mysql_engine
from seedcore.telemetry.logs import mask

if TYPE_CHECKING:
    from sqlalchemy import Engine, Row, Table

KIND = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
MAX_PAYLOAD_BYTES = 256 * 1024
MAX_RECENT = 500
SCHEMA = "seedcore"
# SQLSTATEs: undefined table and undefined schema in PostgreSQL, undefined table in MySQL.
MISSING_TABLE = frozenset({"42P01", "3F000", "42S02"})
TABLE_EXISTS = "42S01"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Incident:
    """Something worth remembering permanently.

    Attributes:
        kind: what sort of incident, such as `dispatch.lease_expired`.
        salience: importance, from 0 to 1.
        payload: a JSON object.
        created_at: when it happened, with a time zone; stored and returned as UTC.
    """

    kind: str
    salience: float
    payload: dict[str, object]
    id: UUID = field(default_factory=uuid4)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        if not KIND.fullmatch(self.kind):
            raise InvalidInputError.for_field(
                "kind", "must be a lower-case letter and up to 63 of a-z, 0-9, '_', '.', '-'"
            )
        if isinstance(self.salience, bool) or not 0.0 <= self.salience <= 1.0:
            raise InvalidInputError.for_field("salience", "must be from 0 to 1")
        if self.created_at.tzinfo is None:
            raise InvalidInputError.for_field("created_at", "must have a time zone")
        object.__setattr__(self, "created_at", self.created_at.astimezone(UTC))
        _check_payload(self.payload)


class FlashbulbStore:
    """Records and finds incidents. Each call runs in a thread, because the drivers are synchronous."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine: Engine | None = None

    async def record(self, incident: Incident) -> Incident:
        """Store an incident; recording the same one again changes nothing.

        Raises:
            ConflictError: another incident has that id.
        """
        return await self._in_thread(lambda: self._record(incident))

    async def recent(self, limit: int = 50, min_salience: float = 0.0) -> list[Incident]:
        """The latest incidents of at least that salience, the newest first."""
        if not 1 <= limit <= MAX_RECENT:
            raise InvalidInputError.for_field("limit", f"must be from 1 to {MAX_RECENT}")
        return await self._in_thread(lambda: self._recent(limit, min_salience))

    async def count(self) -> int:
        """Number of stored incidents."""
        return await self._in_thread(self._count)

    async def get(self, id: UUID) -> Incident | None:  # noqa: A002
        """The incident with that id."""
        return await self._in_thread(lambda: self._get(id))

    async def ensure_schema(self) -> None:
        """Create the table in MySQL. In PostgreSQL the migrations create it, and this does nothing."""
        if self._settings.mysql_dsn is not None:
            await self._in_thread(self._create_table)

    async def ready(self) -> dict[str, object]:
        """`{ready, store}` or `{ready, store, reason}`, for health."""
        store = "postgres" if self._settings.mysql_dsn is None else "mysql"
        try:
            await self.recent(1)
        except UnavailableError as error:
            return {"ready": False, "store": store, "code": error.code, "reason": error.detail}
        return {"ready": True, "store": store}

    async def close(self) -> None:
        """Close the connections."""
        if self._engine is not None:
            await asyncio.to_thread(self._engine.dispose)
            self._engine = None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        from sqlalchemy.exc import DBAPIError
        from sqlalchemy.exc import TimeoutError as PoolTimeoutError

        try:
            return await asyncio.to_thread(work)
        except (DBAPIError, PoolTimeoutError) as error:
            cause = getattr(error, "orig", None) or error
            reason = mask(str(cause).splitlines()[0])[:200]
            if getattr(cause, "sqlstate", None) in MISSING_TABLE:
                raise SchemaBehindError(
                    f"The table of flashbulb incidents is missing: {reason}", retry_after_s=5
                ) from error
            raise UnavailableError(f"The store of flashbulb incidents failed: {reason}", retry_after_s=2) from error

    def _connected(self) -> "Engine":
        if self._engine is None:
            self._engine = _engine(self._settings)
        return self._engine

    def _create_table(self) -> None:
        from sqlalchemy.exc import DBAPIError

        try:
            flashbulb_table().metadata.create_all(self._connected(), checkfirst=True)
        except DBAPIError as error:
            # Another process has created it since the check.
            if getattr(error.orig, "sqlstate", None) != TABLE_EXISTS:
                raise

    def _record(self, incident: Incident) -> Incident:
        from sqlalchemy import insert
        from sqlalchemy.exc import IntegrityError

        values = {
            "id": incident.id,
            "created_at": incident.created_at,
            "kind": incident.kind,
            "salience": incident.salience,
            "payload": incident.payload,
        }
        try:
            with self._connected().begin() as connection:
                connection.execute(insert(flashbulb_table()).values(values))
        except IntegrityError:
            kept = self._get(incident.id)
            if kept != incident:
                raise ConflictError(f"Another incident has the id {incident.id}.") from None
        return incident

    def _recent(self, limit: int, min_salience: float) -> list[Incident]:
        table = flashbulb_table()
        query = (
            table.select()
            .where(table.c.salience >= min_salience)
            .order_by(table.c.created_at.desc(), table.c.id)
            .limit(limit)
        )
        with self._connected().connect() as connection:
            return [_incident(row) for row in connection.execute(query)]

    def _count(self) -> int:
        from sqlalchemy import func, select

        with self._connected().connect() as connection:
            return int(connection.execute(select(func.count()).select_from(flashbulb_table())).scalar_one())

    def _get(self, id: UUID) -> Incident | None:  # noqa: A002
        table = flashbulb_table()
        with self._connected().connect() as connection:
            row = connection.execute(table.select().where(table.c.id == id)).one_or_none()
        return None if row is None else _incident(row)


@lru_cache(maxsize=1)
def flashbulb_table() -> "Table":
    """The table's definition for either database."""
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql, postgresql

    # MySQL stores no time zone (values are UTC), and whole seconds unless `fsp` is set.
    moment = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    # MariaDB has a type for UUIDs, but the driver cannot send one.
    identity = sa.Uuid().with_variant(sa.Uuid(native_uuid=False), "mysql", "mariadb")
    return sa.Table(
        "flashbulbs",
        sa.MetaData(schema=SCHEMA),
        sa.Column("id", identity, primary_key=True),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("kind", sa.String(64).with_variant(sa.Text, "postgresql"), nullable=False),
        sa.Column("salience", sa.Double, nullable=False),
        sa.Column("payload", sa.JSON().with_variant(postgresql.JSONB, "postgresql"), nullable=False),
        sa.CheckConstraint("salience BETWEEN 0 AND 1", name="flashbulbs_salience"),
        sa.Index("flashbulbs_created", "created_at"),
    )


def _engine(settings: Settings) -> "Engine":
    if settings.mysql_dsn is not None:
        # The database of the DSN replaces PostgreSQL's schema.
        return mysql_engine(settings).execution_options(schema_translate_map={SCHEMA: None})
    from sqlalchemy import create_engine

    from seedcore.stores.postgres import resolve_dsn

    rest = resolve_dsn(settings).partition("://")[2]
    return create_engine(
        f"postgresql+psycopg://{rest}",
        pool_size=1,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": 5, "application_name": "seedcore-flashbulb"},
    )


def _incident(row: "Row[Any]") -> Incident:
    created: datetime = row.created_at
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    return Incident(kind=row.kind, salience=row.salience, payload=row.payload, id=row.id, created_at=created)


def _check_payload(payload: object) -> None:
    """Both databases must accept it: jsonb has no NUL character and no lone surrogate, JSON has no NaN."""
    if not isinstance(payload, dict):
        raise InvalidInputError.for_field("payload", "must be a JSON object")
    try:
        text = json.dumps(payload, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError.for_field("payload", f"must be JSON: {error}") from error
    if "\\u0000" in text.replace("\\\\", ""):
        raise InvalidInputError.for_field("payload", "must not contain the character NUL")
    if size > MAX_PAYLOAD_BYTES:
        raise TooLargeError(f"The payload has {size} bytes, more than the {MAX_PAYLOAD_BYTES} allowed.")
