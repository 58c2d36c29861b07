"""The schema of MySQL, migrated by bootstrap and `seedcore migrate` under a lock of MySQL's own.

MySQL ends a transaction at every statement that changes a schema, so a migration is one statement that changes nothing
when it is run again: a process that dies between the statement and the note that it was run leaves nothing half done.
"""

from typing import TYPE_CHECKING

from seedcore.errors import UnavailableError
from seedcore.settings import Settings
from seedcore.stores.mysql import mysql_engine
from seedcore.telemetry.logs import get_logger, mask

if TYPE_CHECKING:
    from sqlalchemy import Connection

LOCK = "seedcore.schema"
"""Name of the lock (GET_LOCK); MySQL lets it go when the connection ends."""
LOCK_S = 20
"""Longest wait for another process that migrates."""

_VERSIONS = """
create table if not exists schema_versions (
  version int not null primary key,
  applied_at datetime(6) not null default current_timestamp(6)
)
"""

MIGRATIONS: tuple[str, ...] = (
    """
    create table if not exists flashbulbs (
      id char(32) not null primary key,
      created_at datetime(6) not null,
      kind varchar(64) not null,
      salience double not null,
      payload json not null,
      constraint flashbulbs_salience check (salience between 0 and 1),
      index flashbulbs_created (created_at)
    ) default character set utf8mb4
    """,
)
"""Each is one statement that may be run twice. The version of the schema is how many have been run."""


def migrate_mysql(settings: Settings) -> int | None:
    """Bring the schema of SEEDCORE_MYSQL_DSN to this release's, and return its version; None when it is not set.

    A schema of a newer release is left as it is. Blocks.

    Raises:
        UnavailableError: MySQL does not answer, or refuses, or another process keeps the lock.
    """
    if settings.mysql_dsn is None:
        return None
    from sqlalchemy.exc import DBAPIError

    engine = mysql_engine(settings, answer_timeout_s=2 * LOCK_S)
    try:
        with engine.connect() as connection:
            return _migrate(connection)
    except DBAPIError as error:
        reason = mask(str(error.orig).splitlines()[0])[:200]
        raise UnavailableError(f"MySQL (SEEDCORE_MYSQL_DSN) was not migrated: {reason}", retry_after_s=2) from None
    finally:
        engine.dispose()


def _migrate(connection: "Connection") -> int:
    from sqlalchemy import text

    # The lock belongs to the connection: the time-out of its answers must be longer than the wait for it.
    if connection.execute(text("select get_lock(:name, :wait)"), {"name": LOCK, "wait": LOCK_S}).scalar() != 1:
        raise UnavailableError(
            f"Another process migrates MySQL (SEEDCORE_MYSQL_DSN) for longer than {LOCK_S} s.", retry_after_s=2
        )
    try:
        connection.execute(text(_VERSIONS))
        version = int(connection.execute(text("select coalesce(max(version), 0) from schema_versions")).scalar_one())
        for number, statement in enumerate(MIGRATIONS, start=1):
            if number > version:
                connection.execute(text(statement))
                connection.execute(text("insert ignore into schema_versions (version) values (:v)"), {"v": number})
                connection.commit()
        found = max(version, len(MIGRATIONS))
    finally:
        connection.execute(text("select release_lock(:name)"), {"name": LOCK})
    get_logger("seedcore.memory.flashbulbs").info("schema of MySQL is up to date", version=found)
    return found
