"""Migrate the database to this version's schema, under a lock; only bootstrap, launcher and `seedcore migrate` do it.

Every revision has a `phase`. Those of phase `before` add what this release needs and leave what the release before
it works with: they run before a roll, while that release runs. Those of phase `after` take away what only it needed:
they run when it has gone. See docs/decisions/0005-migrations-in-two-phases.md.

SQL functions are in `migrations/functions/`, by subject, as they are now. They are replaced after the revisions: a
revision creates a function, these files are what it became.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from seedcore.errors import ConflictError, UnavailableError
from seedcore.settings import Settings
from seedcore.stores.advisory_locks import MIGRATION
from seedcore.stores.postgres import SCHEMA_VERSION, resolve_dsn
from seedcore.telemetry.logs import get_logger, mask

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationInfo
    from alembic.script import Script
    from sqlalchemy import Connection

MIGRATIONS = Path(__file__).parent / "migrations"

LOCK_TIMEOUT_MS = 250
"""A migration that waits for a table makes all others wait behind it: it gives up after this time, and tries again."""
LOCK_PATIENCE_S = 60.0
LOCK_PAUSE_S = 1.0

Phase = Literal["before", "after"]


def migrate(settings: Settings, phase: Phase | None = None, *, folder: Path = MIGRATIONS) -> str:
    """Run the migrations that are missing; returns the version that the database has then.

    Args:
        settings: where the database is.
        phase: `before` goes to SCHEMA_VERSION, which the release before this one works with, too; `after` goes to the
            end. None: `before`, and with the embedded server, whose SeedCore is never rolled, the end when no
            dispatcher of an older release is alive.
        folder: Alembic's.

    Raises:
        UnavailableError: the database refuses the connection, or another transaction keeps a table locked.
        ConflictError: dispatchers of an older release are alive that still need what a migration removes.
    """
    with _locked(settings) as connection:
        run = _Run(connection, folder)
        run.upgrade("head" if phase == "after" else SCHEMA_VERSION)
        if phase is None and settings.pg_dsn is None:
            try:
                run.upgrade("head")
            except ConflictError as error:
                get_logger("seedcore.stores").warning(
                    "the schema keeps what an older release needs", reason=error.detail
                )
        run.replace_functions()
        version = run.version()
    get_logger("seedcore.stores").info("schema is up to date", version=version)
    return version


def newest(folder: Path = MIGRATIONS) -> str:
    """The last revision that there is, of whatever phase."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(folder)).get_current_head() or ""


@contextmanager
def _locked(settings: Settings) -> Iterator["Connection"]:
    """A connection that holds the lock of those who migrate."""
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import OperationalError
    from sqlalchemy.pool import NullPool

    dsn = resolve_dsn(settings).replace("postgres://", "postgresql://", 1)
    engine = create_engine(dsn.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            # Session scope, on its own transaction: Alembic commits between migrations.
            connection.execute(text("select pg_advisory_lock(:key)"), {"key": MIGRATION})
            connection.execute(text("create schema if not exists seedcore"))
            connection.execute(text(f"set lock_timeout = {LOCK_TIMEOUT_MS}"))
            connection.commit()
            yield connection
    except OperationalError as error:
        raise UnavailableError(f"The database refuses: {mask(str(error.orig))} (SEEDCORE_PG_DSN).") from None
    finally:
        engine.dispose()


class _Run:
    """Migrations on one connection, one after the other, each in a transaction of its own."""

    def __init__(self, connection: "Connection", folder: Path) -> None:
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        self._connection = connection
        self._config = Config()
        self._config.set_main_option("script_location", str(folder))
        self._config.attributes["connection"] = connection
        self._config.attributes["on_version_apply"] = self._with_functions
        self._functions = folder / "functions"
        self._scripts = ScriptDirectory.from_config(self._config)

    def version(self) -> str:
        """The database's."""
        from alembic.runtime.migration import MigrationContext

        options = {"version_table": "schema_version", "version_table_schema": "seedcore"}
        version = MigrationContext.configure(self._connection, opts=options).get_current_revision() or ""
        self._connection.commit()
        return version

    def upgrade(self, target: str) -> None:
        """Run what is missing up to `target`, itself included."""
        for script in self._missing(target):
            if script.module.phase == "after":
                self._refuse_older(script.revision)
            self._apply(script.revision)

    def replace_functions(self) -> None:
        """Bring the SQL functions to what their files say, all or none; a newer release's functions stay."""
        if self._is_newer(self.version()):
            return
        self._create_functions()
        self._connection.commit()

    def _with_functions(self, *, step: "MigrationInfo", **_: object) -> None:
        """The functions change in the transaction of the migration that they need.

        Those of the release before may not fit the new tables, and workers call them between two transactions.
        """
        revision = step.up_revision_id or ""
        needed = getattr(self._scripts.get_revision(revision).module, "with_functions", False)
        if step.is_upgrade and (needed or revision >= SCHEMA_VERSION):
            self._create_functions()

    def _create_functions(self) -> None:
        cursor = self._connection.connection.cursor()
        for script in sorted(self._functions.glob("*.sql")):
            cursor.execute(script.read_text(encoding="utf-8"))

    def _is_newer(self, version: str) -> bool:
        return version > (self._scripts.get_current_head() or "")

    def _missing(self, target: str) -> "list[Script]":
        version = self.version()
        if self._is_newer(version):
            # A newer release was here. What it did before its roll, this one works with.
            get_logger("seedcore.stores").info("the schema is newer than this release", version=version)
            return []
        if target != "head" and version >= target:
            return []
        return list(reversed(list(self._scripts.iterate_revisions(target, version or "base"))))

    def _refuse_older(self, revision: str) -> None:
        """Releases that do not know the last `before` in front of `revision` need what it removes."""
        from sqlalchemy import text

        below = self._scripts.iterate_revisions(revision, "base")
        known = next(script.revision for script in below if script.module.phase == "before")

        names = self._connection.scalars(
            text(
                "select name from seedcore.sessions where expires_at > now() and schema_version < :known order by name"
            ),
            {"known": known},
        ).all()
        self._connection.commit()
        if names:
            raise ConflictError(
                f"Migration {revision} removes what an older release needs, and {len(names)} dispatchers of one are "
                f"alive ({', '.join(names[:5])}): stop them, then run `seedcore migrate --after`."
            )

    def _apply(self, revision: str) -> None:
        from alembic import command

        deadline = time.monotonic() + LOCK_PATIENCE_S
        while True:
            try:
                command.upgrade(self._config, revision)
                self._connection.commit()
            except Exception as error:
                self._connection.rollback()
                if not _is_lock_timeout(error):
                    raise
                if time.monotonic() > deadline:
                    raise UnavailableError(
                        f"Migration {revision} waits for a table that another transaction keeps locked: end what "
                        "pg_stat_activity shows as oldest, then migrate again.",
                        retry_after_s=10,
                    ) from None
                time.sleep(LOCK_PAUSE_S)
            else:
                return


def _is_lock_timeout(error: BaseException) -> bool:
    """Whether a lock was not available in time. SQLAlchemy wraps the error (`orig`), a plain cursor does not."""
    from psycopg.errors import LockNotAvailable

    return isinstance(getattr(error, "orig", error), LockNotAvailable)


def run_script(module_file: str) -> None:
    """Run the `.sql` file beside a migration, as it stands (no placeholders are looked for in it)."""
    from alembic import op

    script = Path(module_file).with_suffix(".sql").read_text(encoding="utf-8")
    cursor = op.get_bind().connection.cursor()
    try:
        cursor.execute(script)
    finally:
        cursor.close()
