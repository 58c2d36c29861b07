"""Migrations: their two phases, their order, and what they do when somebody or something is in the way."""

import asyncio
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic.script import ScriptDirectory

from seedcore.cli.main import main
from seedcore.errors import ConflictError, UnavailableError
from seedcore.settings import Settings
from seedcore.stores import migrate as module
from seedcore.stores.migrate import MIGRATIONS, migrate, newest
from seedcore.stores.postgres import SCHEMA_VERSION, Database

REVISION = """
from alembic import op

revision, down_revision, branch_labels, depends_on = {revision!r}, {down!r}, None, None
phase = {phase!r}


def upgrade():
    op.execute({sql!r})
"""
Write = Callable[..., Path]
NEXT, NEXT_BUT_ONE = (f"{int(newest()) + n:04}" for n in (1, 2))
"""Revisions that are not written yet; a test's own, so that it holds whatever the last one is."""


def test_every_revision_has_a_phase_and_a_number_and_the_code_needs_the_last_before():
    scripts = list(reversed(list(ScriptDirectory(str(MIGRATIONS)).walk_revisions())))
    assert [s.revision for s in scripts] == [f"{n:04}" for n in range(1, len(scripts) + 1)]
    assert {s.module.phase for s in scripts} <= {"before", "after"}
    assert [s.revision for s in scripts if s.module.phase == "before"][-1] == SCHEMA_VERSION
    assert newest() == scripts[-1].revision


@pytest.fixture
def admin(empty_pg_settings: Settings) -> Iterator[psycopg.Connection]:
    """A plain connection to the empty database."""
    assert empty_pg_settings.pg_dsn is not None
    with psycopg.connect(empty_pg_settings.pg_dsn.get_secret_value(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations", ignore=shutil.ignore_patterns("__pycache__")))


@pytest.fixture
def write(folder: Path) -> Write:
    """Write a revision into the copy, behind the others."""

    def add(revision: str, phase: str, sql: str) -> Path:
        down = f"{int(revision) - 1:04}"
        path = folder / "versions" / f"{revision}_test.py"
        path.write_text(REVISION.format(revision=revision, down=down, phase=phase, sql=sql))
        return path

    return add


@pytest.fixture
def contract(write: Write, folder: Path) -> Path:
    """The migrations and one more, of phase `after`."""
    write(NEXT, "after", "alter table seedcore.sessions add column contracted int")
    return folder


def bring_to(settings: Settings, revision: str) -> None:
    """Migrate up to `revision` and no further."""
    with module._locked(settings) as connection:
        module._Run(connection, MIGRATIONS).upgrade(revision)


def open_session(
    admin: psycopg.Connection, schema: str, seconds: float = 60, name: str = "seedcore-dispatcher-0"
) -> None:
    admin.execute(
        "insert into seedcore.sessions (id, actor, name, queue, expires_at, schema_version)"
        " values (%s, 'a', %s, 'default', now() + make_interval(secs => %s), %s)",
        (uuid4(), name, seconds, schema),
    )


def version(admin: psycopg.Connection) -> str:
    row = admin.execute("select version_num from seedcore.schema_version").fetchone()
    assert row is not None
    return str(row[0])


def columns(admin: psycopg.Connection) -> list[tuple[object, ...]]:
    return admin.execute(
        "select table_name, column_name, column_default, data_type from information_schema.columns"
        " where table_schema = 'seedcore' and table_name !~ '_d[0-9]{8}$' order by 1, 2"
    ).fetchall()


@pytest.mark.integration
def test_before_leaves_what_comes_after_and_both_change_nothing_the_second_time(empty_pg_settings, admin, contract):
    assert migrate(empty_pg_settings, folder=contract) == SCHEMA_VERSION
    before = columns(admin)
    assert migrate(empty_pg_settings, "before", folder=contract) == SCHEMA_VERSION
    assert columns(admin) == before
    assert migrate(empty_pg_settings, "after", folder=contract) == NEXT
    after = columns(admin)
    assert after != before
    for phase in (None, "before", "after"):
        assert migrate(empty_pg_settings, phase, folder=contract) == NEXT
    assert columns(admin) == after


@pytest.mark.integration
def test_several_at_once_take_turns(empty_pg_settings):
    versions: list[str] = []
    threads = [threading.Thread(target=lambda: versions.append(migrate(empty_pg_settings))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert versions == [SCHEMA_VERSION] * 3


@pytest.mark.integration
def test_a_rate_too_small_for_any_time_is_raised_to_the_smallest(empty_pg_settings, admin):
    bring_to(empty_pg_settings, "0010")
    admin.execute("insert into seedcore.limits (key, rate_per_s) values ('a', 1e-300), ('b', 2), ('c', null)")
    migrate(empty_pg_settings, "before")
    rates = admin.execute("select rate_per_s from seedcore.limits order by key").fetchall()
    assert rates == [(1e-8,), (2.0,), (None,)]


def test_after_is_refused_while_a_dispatcher_of_an_older_release_lives(empty_pg_settings, admin, contract):
    migrate(empty_pg_settings)
    open_session(admin, SCHEMA_VERSION, name="of this release")
    open_session(admin, "0002", name="of the one before")
    with pytest.raises(ConflictError, match=re.escape("(of the one before)")) as caught:
        migrate(empty_pg_settings, "after", folder=contract)
    assert "seedcore migrate --after" in caught.value.detail
    assert version(admin) == SCHEMA_VERSION
    # Its session ended without a word: it counts no more.
    admin.execute("update seedcore.sessions set expires_at = now() where schema_version = '0002'")
    assert migrate(empty_pg_settings, "after", folder=contract) == NEXT


@pytest.mark.integration
def test_a_release_that_skips_one_does_not_roll_over_dispatchers_that_are_too_old(empty_pg_settings, admin, contract):
    bring_to(empty_pg_settings, "0002")
    open_session(admin, "0001")
    with pytest.raises(ConflictError, match="0003"):
        migrate(empty_pg_settings)
    assert version(admin) == "0002"
    # The release just before it works on while what came after its own roll, and what this one adds, is done.
    admin.execute("update seedcore.sessions set schema_version = '0002'")
    assert migrate(empty_pg_settings) == SCHEMA_VERSION
    with pytest.raises(ConflictError, match=f"{int(SCHEMA_VERSION) + 1:04}"):
        migrate(empty_pg_settings, "after", folder=contract)


@pytest.mark.integration
def test_what_fails_in_the_middle_leaves_the_revision_before_it(empty_pg_settings, admin, folder, write):
    write(NEXT, "before", "create table seedcore.fine (id int)")
    broken = write(NEXT_BUT_ONE, "before", "create table seedcore.half (id int); select 1 / 0")
    with pytest.raises(Exception, match="division by zero"):
        migrate(empty_pg_settings, "after", folder=folder)
    assert version(admin) == NEXT
    tables = {row[0] for row in admin.execute("select tablename from pg_tables where schemaname = 'seedcore'")}
    assert "fine" in tables
    assert "half" not in tables
    broken.write_text(broken.read_text().replace("select 1 / 0", "select 1"))
    assert migrate(empty_pg_settings, "after", folder=folder) == NEXT_BUT_ONE


@pytest.mark.integration
def test_an_older_release_leaves_a_newer_schema_alone_and_works_with_it(empty_pg_settings, admin, folder):
    migrate(empty_pg_settings, "after")
    admin.execute("update seedcore.schema_version set version_num = %s", [NEXT])
    for phase in (None, "before", "after"):
        assert migrate(empty_pg_settings, phase, folder=folder) == NEXT

    async def answers() -> bool:
        database = Database(empty_pg_settings, size=1)
        try:
            return bool((await database.ready())["ready"])
        finally:
            await database.aclose()

    assert asyncio.run(answers())


@pytest.fixture
def keep_the_sessions(empty_pg_settings: Settings, admin: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """Somebody's transaction that has read the sessions and is still open, at revision 0001."""
    bring_to(empty_pg_settings, "0001")
    assert empty_pg_settings.pg_dsn is not None
    with psycopg.connect(empty_pg_settings.pg_dsn.get_secret_value()) as keeper:
        keeper.execute("select count(*) from seedcore.sessions")
        yield keeper


@pytest.mark.integration
def test_a_migration_that_waits_for_a_table_holds_nobody_up_for_long(empty_pg_settings, admin, keep_the_sessions):
    migrating = threading.Thread(target=migrate, args=(empty_pg_settings,))
    migrating.start()
    waits = []
    deadline = time.monotonic() + 30
    while len(waits) < 30 and time.monotonic() < deadline:
        began = time.monotonic()
        admin.execute("update seedcore.sessions set holding = 1")
        waits.append(time.monotonic() - began)
        time.sleep(0.1)  # a heartbeat now and then; each is measured
    assert version(admin) == "0001"
    keep_the_sessions.rollback()
    migrating.join(30)
    assert version(admin) == SCHEMA_VERSION
    # It was in the way now and then, and never for the three seconds and more that the table was kept.
    assert 0.5 * module.LOCK_TIMEOUT_MS / 1000 < max(waits) < 2


@pytest.mark.integration
def test_a_table_that_is_not_to_be_had_is_said_with_the_mend(empty_pg_settings, admin, keep_the_sessions, monkeypatch):
    monkeypatch.setattr(module, "LOCK_PATIENCE_S", 1.5)
    with pytest.raises(UnavailableError, match="pg_stat_activity"):
        migrate(empty_pg_settings)
    assert version(admin) == "0001"


@pytest.mark.integration
def test_a_start_on_one_machine_goes_to_the_end_unless_something_older_lives(
    empty_pg_settings, admin, contract, monkeypatch: pytest.MonkeyPatch
):
    assert empty_pg_settings.pg_dsn is not None
    dsn = empty_pg_settings.pg_dsn.get_secret_value()
    monkeypatch.setattr(module, "resolve_dsn", lambda _settings: dsn)
    embedded = empty_pg_settings.model_copy(update={"pg_dsn": None})
    migrate(empty_pg_settings)
    open_session(admin, "0002")
    assert migrate(embedded, folder=contract) == SCHEMA_VERSION
    admin.execute("delete from seedcore.sessions")
    assert migrate(embedded, folder=contract) == NEXT


@pytest.mark.integration
def test_the_command_says_what_is_left_to_do_and_why_it_is_refused(
    empty_pg_settings, admin, contract, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(module, "migrate", partial(migrate, folder=contract))
    monkeypatch.setattr(module, "newest", partial(newest, contract))
    assert empty_pg_settings.pg_dsn is not None
    monkeypatch.setenv("SEEDCORE_PG_DSN", empty_pg_settings.pg_dsn.get_secret_value())
    monkeypatch.setenv("SEEDCORE_DATA_DIR", str(tmp_path))

    def seedcore(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["seedcore", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    status, out, _ = seedcore("migrate")
    assert status == 0
    assert f"schema {SCHEMA_VERSION}\n" in out
    assert f"seedcore migrate --after (to {NEXT})" in out
    open_session(admin, "0002")
    status, _, err = seedcore("migrate", "--after")
    assert (status, err.count("\n")) == (1, 1)
    assert "seedcore-dispatcher-0" in err
    admin.execute("delete from seedcore.sessions")
    status, out, _ = seedcore("migrate", "--after")
    assert status == 0
    assert f"schema {NEXT}\n" in out
    assert "--after" not in out


DEFINED = re.compile(r"^create or replace function seedcore\.(\w+)\(", re.MULTILINE)
FUNCTIONS = "select p.proname, pg_get_functiondef(p.oid) from pg_proc p where p.pronamespace = 'seedcore'::regnamespace"


def test_every_function_of_the_schema_is_in_one_file(empty_pg_settings: Settings, admin: psycopg.Connection):
    migrate(empty_pg_settings)
    files = [name for path in (MIGRATIONS / "functions").glob("*.sql") for name in DEFINED.findall(path.read_text())]
    assert sorted(files) == sorted(name for name, _ in admin.execute(FUNCTIONS).fetchall())


def test_migrating_again_changes_no_function(empty_pg_settings: Settings, admin: psycopg.Connection):
    migrate(empty_pg_settings)
    first = dict(admin.execute(FUNCTIONS).fetchall())
    migrate(empty_pg_settings)
    assert dict(admin.execute(FUNCTIONS).fetchall()) == first


def test_a_function_whose_file_changed_is_replaced_by_the_next_migration(
    empty_pg_settings: Settings, admin: psycopg.Connection, folder: Path
):
    migrate(empty_pg_settings, folder=folder)
    path = folder / "functions/recipe_promotion.sql"
    path.write_text(path.read_text().replace("(good + 4.5)", "(good + 9)"))
    migrate(empty_pg_settings, folder=folder)
    assert admin.execute("select seedcore.shrunken(0, 5)").fetchone() == (0.9,)


def test_functions_change_all_or_none(empty_pg_settings: Settings, admin: psycopg.Connection, folder: Path):
    migrate(empty_pg_settings, folder=folder)
    before = dict(admin.execute(FUNCTIONS).fetchall())
    path = folder / "functions/enqueue.sql"
    path.write_text(path.read_text().replace("begin", "return null; begin", 1))
    (folder / "functions/zz.sql").write_text("create or replace function seedcore.broken() returns nothing")
    with pytest.raises(psycopg.errors.SyntaxError):
        migrate(empty_pg_settings, folder=folder)
    assert dict(admin.execute(FUNCTIONS).fetchall()) == before


def test_functions_change_in_the_transaction_of_the_migration_that_they_need(
    empty_pg_settings: Settings, admin: psycopg.Connection, folder: Path
):
    with module._locked(empty_pg_settings) as connection:
        module._Run(connection, folder).upgrade("0014")
    (folder / "functions/zz.sql").write_text("create or replace function seedcore.broken() returns nothing")
    with pytest.raises(psycopg.errors.InvalidFunctionDefinition):
        migrate(empty_pg_settings, folder=folder)
    assert admin.execute("select version_num from seedcore.schema_version").fetchone() < (SCHEMA_VERSION,)


def test_a_release_that_was_rolled_back_leaves_the_newer_ones_functions(
    empty_pg_settings: Settings, admin: psycopg.Connection, folder: Path
):
    migrate(empty_pg_settings)
    admin.execute("update seedcore.schema_version set version_num = %s", (NEXT,))
    newer = (
        "create or replace function seedcore.shrunken(good bigint, ends bigint) returns double precision language sql"
    )
    admin.execute(newer + " immutable as 'select 1.0::double precision'")
    migrate(empty_pg_settings, folder=folder)
    assert admin.execute("select seedcore.shrunken(0, 5)").fetchone() == (1.0,)
