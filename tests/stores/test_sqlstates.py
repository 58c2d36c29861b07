"""PostgreSQL's errors, raised by a real server: each has the one meaning that the list gives it."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from seedcore import errors
from seedcore.settings import Settings
from seedcore.stores import postgres, sqlstates
from seedcore.stores.postgres import Database

pytestmark = pytest.mark.integration

LISTED = {
    "08006": "unavailable",
    "25006": "database_read_only",
    "25P03": "unavailable",
    "25P04": "database_timeout",
    "28P01": "database_denied",
    "3D000": "database_denied",
    "40001": "database_conflict",
    "40P01": "database_conflict",
    "42501": "database_denied",
    "53000": "database_out_of_memory",
    "53100": "database_full",
    "53200": "database_out_of_memory",
    "53300": "database_too_many_connections",
    "53400": "database_out_of_memory",
    "55P03": "database_lock_timeout",
    "57014": "database_timeout",
    "57P01": "unavailable",
    "57P02": "unavailable",
    "57P03": "unavailable",
    "57P05": "unavailable",
    "58030": "database_io_error",
    "58P01": "database_io_error",
}


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    made = Database(pg_settings, size=4)
    yield made
    await made.aclose()


async def refusal(database: Database, *statements: str) -> errors.SeedCoreError:
    """The error that the last of some statements ends with."""
    with pytest.raises(errors.SeedCoreError) as caught:
        await execute(database, *statements)
    return caught.value


async def execute(database: Database, *statements: str) -> None:
    async with database.connection() as connection:
        for statement in statements:
            await connection.execute(statement)


def raising(state: str) -> str:
    return f"do $$ begin raise exception 'as in life' using errcode = '{state}'; end $$"


def test_every_code_stands_in_the_list_of_incidents() -> None:
    page = (Path(__file__).parents[2] / "docs/operations/incidents.md").read_text()
    codes = {meaning.kind.code for meaning in sqlstates.MEANINGS.values()}
    assert {code for code in codes if f"`{code}`" not in page} == set()


async def test_every_listed_sqlstate_has_its_code_its_status_and_a_time_to_try_again(database: Database):
    for state, code in LISTED.items():
        error = await refusal(database, raising(state))
        assert (error.code, error.status) == (code, 503), state
        assert (error.retry_after_s is None) == (code == "database_denied") == (not error.transient), state
    assert all(any(state.startswith(key) for state in LISTED) for key in sqlstates.MEANINGS)


@pytest.mark.parametrize("state", ["22012", "23505", "42601", "54001", "P0001", "XX000"])
async def test_what_is_not_listed_stays_a_fault_of_ours(database: Database, state: str):
    with pytest.raises(asyncpg.PostgresError) as caught:
        await execute(database, raising(state))
    assert caught.value.sqlstate == state


async def test_a_statement_that_fails_costs_no_connection_and_a_session_that_ends_is_replaced(database: Database):
    async with database.connection() as connection:
        first = await connection.fetchval("select pg_backend_pid()")
    await refusal(database, "set statement_timeout = '20ms'", "select pg_sleep(5)")
    async with database.connection() as connection:
        assert await connection.fetchval("select pg_backend_pid()") == first
    error = await refusal(database, "select pg_terminate_backend(pg_backend_pid())", "select 1")
    assert error.code == "unavailable"
    async with database.connection() as connection:
        assert await connection.fetchval("select pg_backend_pid()") != first


async def test_statement_and_lock_timeouts_have_codes_of_their_own(database: Database):
    error = await refusal(database, "set statement_timeout = '20ms'", "select pg_sleep(5)")
    assert error.code == "database_timeout"
    async with database.transaction() as holder:
        await holder.execute("lock table seedcore.tasks in access exclusive mode")
        error = await refusal(database, "set lock_timeout = '20ms'", "select count(*) from seedcore.tasks")
    assert error.code == "database_lock_timeout"


async def test_a_serialization_failure_is_a_conflict_to_try_again(database: Database):
    await execute(database, "create table counter as select 1 as n")

    async def read_and_write_around_another() -> None:
        async with database.connection() as one, one.transaction(isolation="serializable"):
            await one.fetchval("select n from counter")
            await execute(database, "update counter set n = n + 1")
            await one.execute("update counter set n = n + 1")

    with pytest.raises(errors.DatabaseConflictError):
        await read_and_write_around_another()


async def test_a_read_only_database_has_its_code_and_health_is_degraded(database: Database, pg_settings: Settings):
    async with database.connection() as connection:
        name = await connection.fetchval("select current_database()")
        await connection.execute(f"alter database {name} set default_transaction_read_only = on")
    late = Database(pg_settings)
    health = await late.ready()
    assert (health["ready"], health["degraded"], health["code"]) == (True, True, "database_read_only")
    error = await refusal(late, "create table t (n int)")
    assert error.code == "database_read_only"
    await late.aclose()


async def test_too_many_connections_have_their_code(database: Database, pg_settings: Settings):
    async with database.connection() as connection:
        name = await connection.fetchval("select current_database()")
    await execute(database, f"create role crowd_{name} login connection limit 0")
    try:
        assert pg_settings.pg_dsn is not None
        dsn = pg_settings.pg_dsn.get_secret_value()
        crowd = Database(pg_settings.model_copy(update={"pg_dsn": type(pg_settings.pg_dsn)(as_user(dsn, name))}))
        with pytest.raises(errors.DatabaseConnectionsError, match="max_connections"):
            async with crowd.connection(wait_s=0.2):
                pass
        assert (await crowd.ready())["code"] == "database_too_many_connections"
        await crowd.aclose()
    finally:
        await execute(database, f"drop role crowd_{name}")


def as_user(dsn: str, name: str) -> str:
    head, _, tail = dsn.partition("://")
    return f"{head}://crowd_{name}@{tail.rpartition('@')[2]}"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB that PostgreSQL can write to."""
    folder = Path("/tmp") / f"small-{os.getpid()}"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0777", "tmpfs", str(folder)]
    if os.geteuid() != 0 or not shutil.which("mount") or subprocess.run(mounting, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    folder.rmdir()


async def test_a_full_disk_has_its_code_and_health_is_degraded_until_it_has_been_quiet(
    database: Database, small_disk: Path, monkeypatch: pytest.MonkeyPatch
):
    async with database.connection() as connection:
        name = await connection.fetchval("select current_database()")
        await asyncio.to_thread(shutil.chown, small_disk, await owner(connection))
        await connection.execute(f"create tablespace small_{name} location '{small_disk}'")
    try:
        fill = f"create table t tablespace small_{name} as select repeat('x', 1000) from generate_series(1, 100000)"
        error = await refusal(database, fill)
        assert (error.code, error.status, error.retry_after_s) == ("database_full", 503, 30)
        health = await database.ready()
        assert (health["ready"], health["degraded"], health["code"]) == (True, True, "database_full")
        monkeypatch.setattr(postgres, "DEGRADED_S", 0.0)
        assert "degraded" not in await database.ready()
    finally:
        await execute(database, f"drop tablespace small_{name}")


async def owner(connection: asyncpg.Connection) -> int:
    """The user that PostgreSQL runs as."""
    folder = await connection.fetchval("show data_directory")
    return (await asyncio.to_thread(os.stat, folder)).st_uid
