"""Bring the database to this version's schema, under a lock; only bootstrap and the launcher do this."""

from pathlib import Path

from seedcore.errors import UnavailableError
from seedcore.settings import Settings
from seedcore.stores.postgres import SCHEMA_VERSION, resolve_dsn
from seedcore.utils.logs import get_logger, mask

MIGRATIONS = Path(__file__).parent / "migrations"
# Two bootstraps at once: the second waits here, then finds nothing to do.
ADVISORY_LOCK = 0x5EEDC04E


def migrate(settings: Settings) -> str:
    """Run every migration that is missing; returns the version that the database has now.

    Raises:
        UnavailableError: the database refuses the connection.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import OperationalError
    from sqlalchemy.pool import NullPool

    dsn = resolve_dsn(settings).replace("postgres://", "postgresql://", 1)
    engine = create_engine(dsn.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            # Session scope, on its own transaction: Alembic commits between migrations.
            connection.execute(text("select pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
            connection.execute(text("create schema if not exists seedcore"))
            connection.commit()
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, SCHEMA_VERSION)
            connection.commit()
            context = MigrationContext.configure(
                connection, opts={"version_table": "schema_version", "version_table_schema": "seedcore"}
            )
            version = context.get_current_revision() or ""
    except OperationalError as error:
        raise UnavailableError(f"The database refuses: {mask(str(error.orig))} (SEEDCORE_PG_DSN).") from None
    finally:
        engine.dispose()
    get_logger("seedcore.stores").info("schema is up to date", version=version)
    return version


def run_script(module_file: str) -> None:
    """Run the `.sql` file beside a migration, as it stands (no placeholders are looked for in it)."""
    from alembic import op

    script = Path(module_file).with_suffix(".sql").read_text(encoding="utf-8")
    cursor = op.get_bind().connection.cursor()
    try:
        cursor.execute(script)
    finally:
        cursor.close()
