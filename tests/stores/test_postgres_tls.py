"""PostgreSQL over TLS: what the DSN demands holds for asyncpg, for psycopg, and for PostgreSQL's own programs."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from seedcore.cli.launch.preflight import check_database
from seedcore.errors import SettingsError, UnavailableError
from seedcore.settings import Settings, load_settings
from seedcore.stores.backup import backup, restore
from seedcore.stores.backups.pg_programs import environment_of
from seedcore.stores.migrate import migrate
from seedcore.stores.postgres import Database
from tests.support.certificates import Authority
from tests.support.tls_postgres import INSTALLED, TlsPostgres, tls_postgres

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def running(starts_server: None) -> Iterator[TlsPostgres | None]:
    if not INSTALLED:
        yield None
        return
    with tls_postgres() as server:
        yield server


@pytest.fixture
def server(running: TlsPostgres | None, require_service: Callable[[bool, str], None]) -> TlsPostgres:
    require_service(running is not None, "a PostgreSQL with TLS (Debian's package postgresql)")
    assert running is not None
    return running


def using(tmp_path: Path, dsn: str) -> Settings:
    return load_settings(data_dir=tmp_path / "data", pg_dsn=dsn)


def trusting(server: TlsPostgres, tmp_path: Path, **more: str) -> Settings:
    return using(tmp_path, server.dsn(sslmode="verify-full", sslrootcert=str(server.authority.ca), **more))


def ready(settings: Settings) -> dict[str, object]:
    async def ask() -> dict[str, object]:
        database = Database(settings)
        try:
            return await database.ready()
        finally:
            await database.aclose()

    return asyncio.run(ask())


async def over_tls(settings: Settings) -> bool:
    database = Database(settings)
    try:
        async with database.connection() as connection:
            return bool(await connection.fetchval("select ssl from pg_stat_ssl where pid = pg_backend_pid()"))
    finally:
        await database.aclose()


def test_a_plain_connection_is_refused(server: TlsPostgres, tmp_path: Path):
    plain = using(tmp_path, server.dsn(sslmode="disable"))
    with pytest.raises(SettingsError, match="no encryption"):
        check_database(plain)
    assert ready(plain)["code"] == "database_denied"
    with pytest.raises(UnavailableError, match="no encryption"):
        migrate(plain)
    with pytest.raises(UnavailableError, match="no encryption"):
        backup(plain, tmp_path / "b.dump")


def test_every_way_in_is_over_tls_and_believes_the_authority(server: TlsPostgres, tmp_path: Path):
    settings = trusting(server, tmp_path)
    check_database(settings)
    migrate(settings)
    assert asyncio.run(over_tls(settings))
    made = backup(settings, tmp_path / "b.dump")
    assert restore(settings, tmp_path / "b.dump", replace=True).rows == made.rows


def test_a_certificate_of_another_authority_is_refused_by_all_with_the_fix(server: TlsPostgres, tmp_path: Path):
    other = Authority(tmp_path / "other")
    settings = using(tmp_path, server.dsn(sslmode="verify-full", sslrootcert=str(other.ca)))
    with pytest.raises(SettingsError, match=r"certificate is not believed .*sslrootcert must be the authority"):
        check_database(settings)
    assert "CERTIFICATE_VERIFY_FAILED" in str(ready(settings)["reason"])
    for step in (lambda: migrate(settings), lambda: backup(settings, tmp_path / "b.dump")):
        with pytest.raises(UnavailableError, match="certificate verify failed"):
            step()


def test_a_name_that_is_not_in_the_certificate_is_refused_by_all(server: TlsPostgres, tmp_path: Path):
    settings = trusting(server, tmp_path, host="127.0.0.2")
    with pytest.raises(SettingsError, match=r"certificate is not believed .*IP address mismatch.* a name in it"):
        check_database(settings)
    assert "IP address mismatch" in str(ready(settings)["reason"])
    for step in (lambda: migrate(settings), lambda: backup(settings, tmp_path / "b.dump")):
        with pytest.raises(UnavailableError, match=r"does not match host name"):
            step()
    # Without `full` the name is not asked for, and all are content.
    check_database(
        using(tmp_path, server.dsn(sslmode="verify-ca", sslrootcert=str(server.authority.ca), host="127.0.0.2"))
    )


def test_the_programs_are_not_content_with_less_than_the_connection_has(server: TlsPostgres, tmp_path: Path):
    with psycopg.connect(server.dsn()) as connection:
        assert environment_of(connection)["PGSSLMODE"] == "require"
    ca = str(server.authority.ca)
    with psycopg.connect(server.dsn(sslmode="verify-ca", sslrootcert=ca)) as connection:
        given = environment_of(connection)
    assert (given["PGSSLMODE"], given["PGSSLROOTCERT"]) == ("verify-ca", ca)


def test_without_programs_that_speak_tls_a_backup_says_what_to_install(
    server: TlsPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = trusting(server, tmp_path)
    migrate(settings)
    monkeypatch.setattr(shutil, "which", lambda _tool: None)
    with pytest.raises(UnavailableError, match="over TLS, which SeedCore's own pg_dump cannot do: install"):
        backup(settings, tmp_path / "b.dump")
    assert not (tmp_path / "b.dump").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("sslmode=verify_full", "must have one of disable, allow"),
        ("sslmode=verify-full&sslrootcert=system", "a file that this user can read as its sslrootcert"),
        ("sslmode=verify-full&sslrootcert=/no/such", "a file that this user can read as its sslrootcert"),
        ("sslmode=require&sslkey=/no/such", "a file that this user can read as its sslkey"),
        ("sslmode=verify-ca", "must have an sslrootcert with sslmode=verify-ca"),
    ],
)
def test_what_drivers_would_read_differently_is_refused_at_the_start(
    options: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SettingsError, match=told) as refused:
        using(tmp_path, f"postgresql://u:hunter2@h/d?{options}")
    assert "hunter2" not in str(refused.value)
