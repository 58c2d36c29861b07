"""The table of incidents in one database, MySQL or PostgreSQL: SQLAlchemy Core serves both."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from seedcore.errors import SchemaBehindError, UnavailableError
from seedcore.memory.flashbulbs.incident import Incident
from seedcore.settings import Settings
from seedcore.stores.mysql import mysql_engine
from seedcore.telemetry.logs import mask

if TYPE_CHECKING:
    from sqlalchemy import Engine, Row, Table

SCHEMA = "seedcore"
# SQLSTATEs: undefined table and undefined schema in PostgreSQL, undefined table in MySQL.
MISSING_TABLE = frozenset({"42P01", "3F000", "42S02"})


class FlashbulbTable:
    """Incidents in one database. Its methods block: call them in a thread.

    Each raises UnavailableError when the database does not answer, or refuses, and SchemaBehindError without the table.

    Args:
        settings: where the databases are.
        mysql: in MySQL, not in PostgreSQL.
    """

    def __init__(self, settings: Settings, *, mysql: bool) -> None:
        self._settings, self._mysql = settings, mysql
        self._made: Engine | None = None

    def insert(self, incident: Incident) -> bool:
        """Store an incident; False when its id is taken."""
        from sqlalchemy import insert
        from sqlalchemy.exc import IntegrityError

        values = {
            "id": incident.id,
            "created_at": incident.created_at,
            "kind": incident.kind,
            "salience": incident.salience,
            "payload": incident.payload,
        }
        with self._translated():
            try:
                with self._engine().begin() as connection:
                    connection.execute(insert(flashbulb_table()).values(values))
            except IntegrityError:
                return False
        return True

    def recent(self, limit: int, min_salience: float) -> list[Incident]:
        """The latest of at least that salience, the newest first."""
        table = flashbulb_table()
        query = (
            table.select()
            .where(table.c.salience >= min_salience)
            .order_by(table.c.created_at.desc(), table.c.id)
            .limit(limit)
        )
        with self._translated(), self._engine().connect() as connection:
            return [_incident(row) for row in connection.execute(query)]

    def count(self) -> int:
        """How many there are."""
        from sqlalchemy import func, select

        with self._translated(), self._engine().connect() as connection:
            return int(connection.execute(select(func.count()).select_from(flashbulb_table())).scalar_one())

    def get(self, id: UUID) -> Incident | None:  # noqa: A002
        """The one with that id."""
        table = flashbulb_table()
        with self._translated(), self._engine().connect() as connection:
            row = connection.execute(table.select().where(table.c.id == id)).one_or_none()
        return None if row is None else _incident(row)

    def remove(self, ids: Sequence[UUID]) -> None:
        """Remove those that another database has now."""
        table = flashbulb_table()
        with self._translated(), self._engine().begin() as connection:
            connection.execute(table.delete().where(table.c.id.in_(ids)))

    def close(self) -> None:
        """Close the connections."""
        if self._made is not None:
            self._made.dispose()
            self._made = None

    def _engine(self) -> "Engine":
        if self._made is None:
            # The database of the DSN of MySQL replaces PostgreSQL's schema.
            self._made = (
                mysql_engine(self._settings).execution_options(schema_translate_map={SCHEMA: None})
                if self._mysql
                else _postgres_engine(self._settings)
            )
        return self._made

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The drivers' errors as SeedCore's, without secrets."""
        from sqlalchemy.exc import DBAPIError
        from sqlalchemy.exc import TimeoutError as PoolTimeoutError

        try:
            yield
        except (DBAPIError, PoolTimeoutError) as error:
            cause = getattr(error, "orig", None) or error
            reason = mask(str(cause).splitlines()[0])[:200]
            store = "MySQL (SEEDCORE_MYSQL_DSN)" if self._mysql else "PostgreSQL"
            if getattr(cause, "sqlstate", None) in MISSING_TABLE:
                raise SchemaBehindError(
                    f"{store} lacks the table of flashbulb incidents, run `seedcore migrate`: {reason}", retry_after_s=5
                ) from error
            raise UnavailableError(f"{store} failed to keep flashbulb incidents: {reason}", retry_after_s=2) from error


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


def _postgres_engine(settings: Settings) -> "Engine":
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
