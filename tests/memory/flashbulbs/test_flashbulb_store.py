"""One behaviour in MySQL and in PostgreSQL."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from seedcore.errors import (
    ConflictError,
    InvalidInputError,
    NotConfiguredError,
    SchemaBehindError,
    TooLargeError,
    UnavailableError,
)
from seedcore.memory.flashbulbs.flashbulb_store import FlashbulbStore, Incident
from seedcore.settings import Settings, load_settings
from seedcore.stores.mysql import mysql_engine

SERVER = shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))


@pytest.fixture(scope="module")
def mariadb() -> Iterator[str]:
    """DSN of a MariaDB of this module's own, without the database's name."""
    if SERVER is None:
        missing = "mariadbd is missing"
        pytest.fail(missing) if os.environ.get("SEEDCORE_REQUIRE_SERVICES") == "1" else pytest.skip(missing)
    folder = Path("/tmp") / f"scm{uuid.uuid4().hex[:8]}"
    folder.mkdir(mode=0o755)
    # As root it needs to be told that running as root is meant.
    as_user = ["--user=root"] if os.geteuid() == 0 else []
    install = ["mariadb-install-db", "--no-defaults", f"--datadir={folder}/data", *as_user]
    subprocess.run([*install, "--auth-root-authentication-method=normal"], check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # A zone of its own shows that times do not depend on the server's.
    options = ["--bind-address=127.0.0.1", "--innodb-buffer-pool-size=16M", "--default-time-zone=+05:00", *as_user]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [SERVER, "--no-defaults", f"--datadir={folder}/data", f"--socket={folder}/s", f"--port={port}", *options],
            stdout=log,
            stderr=log,
        )
    client = ["mariadb", "--no-defaults", f"--socket={folder}/s", "-uroot", "-e"]
    databases = "".join(f"CREATE DATABASE {name}; " for name in ("seedcore", "empty", "raced"))
    grant = f"{databases} GRANT ALL ON *.* TO seed@'127.0.0.1' IDENTIFIED BY 'hunter2'"
    deadline = time.monotonic() + 60
    while subprocess.run([*client, grant], capture_output=True).returncode != 0:
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield f"mysql+mysqlconnector://seed:hunter2@127.0.0.1:{port}"
    process.terminate()
    process.wait()
    shutil.rmtree(folder)


@pytest.fixture(params=["mysql", "postgres"])
def store_settings(request: pytest.FixtureRequest) -> Settings:
    if request.param == "mysql":
        return load_settings(mysql_dsn=request.getfixturevalue("mariadb") + "/seedcore")
    settings: Settings = request.getfixturevalue("pg_settings")
    return settings


@pytest.fixture
async def store(store_settings: Settings) -> AsyncIterator[FlashbulbStore]:
    made = FlashbulbStore(store_settings)
    await made.ensure_schema()
    await made.ensure_schema()
    yield made
    await made.close()


@pytest.mark.integration
async def test_what_was_recorded_is_found_as_it_was(store: FlashbulbStore) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=2)))
    payload: dict[str, Any] = {"text": "tëxt \\u0000 😀", "n": None, "list": [1, 2.5, {"a": True}], "empty": {}}
    incident = Incident("dispatch.lease_lost", 0.875, payload, created_at=moment)
    await store.record(incident)
    found = await store.get(incident.id)
    assert found == incident
    assert found is not None
    assert found.created_at == moment
    assert found.created_at.tzinfo is UTC


@pytest.mark.integration
async def test_an_unknown_id_finds_nothing(store: FlashbulbStore) -> None:
    assert await store.get(uuid.uuid4()) is None


@pytest.mark.integration
async def test_recording_twice_keeps_one_and_another_with_its_id_is_a_conflict(store: FlashbulbStore) -> None:
    incident = Incident("a", 0.5, {"a": 1})
    await asyncio.gather(*(store.record(incident) for _ in range(4)))
    with pytest.raises(ConflictError, match=str(incident.id)):
        await store.record(Incident("a", 0.5, {"a": 2}, id=incident.id))
    assert await store.get(incident.id) == incident


@pytest.mark.integration
async def test_recent_is_newest_first_bounded_and_filtered(store: FlashbulbStore) -> None:
    start = datetime(2050, 1, 1, tzinfo=UTC)
    incidents = [Incident("r", i / 10, {"i": i}, created_at=start + timedelta(microseconds=i)) for i in range(10)]
    for incident in reversed(incidents):
        await store.record(incident)
    assert await store.recent(3) == incidents[:6:-1]
    assert (await store.recent(5, min_salience=0.8))[:2] == incidents[:7:-1]
    with pytest.raises(InvalidInputError, match="limit"):
        await store.recent(501)


@pytest.mark.integration
async def test_health_says_where_it_is_kept(store: FlashbulbStore) -> None:
    health = await store.ready()
    assert health["ready"] is True
    assert health["store"] in {"mysql", "postgres"}


@pytest.mark.integration
async def test_many_processes_may_make_the_table_at_once(mariadb: str) -> None:
    stores = [FlashbulbStore(load_settings(mysql_dsn=f"{mariadb}/raced")) for _ in range(6)]
    await asyncio.gather(*(store.ensure_schema() for store in stores))
    assert await stores[0].recent() == []
    for store in stores:
        await store.close()


@pytest.mark.integration
async def test_a_missing_table_is_named(mariadb: str) -> None:
    store = FlashbulbStore(load_settings(mysql_dsn=f"{mariadb}/empty"))
    with pytest.raises(SchemaBehindError, match="flashbulbs"):
        await store.recent()
    await store.close()


@pytest.mark.integration
async def test_a_store_that_is_away_is_unavailable_and_its_password_stays_secret() -> None:
    store = FlashbulbStore(load_settings(mysql_dsn="mysql+mysqlconnector://seed:hunter2@127.0.0.1:1/seedcore"))
    with pytest.raises(UnavailableError) as caught:
        await store.recent()
    assert "hunter2" not in caught.value.detail
    assert (await store.ready())["ready"] is False


@pytest.mark.parametrize("salience", [-0.01, 1.01, float("nan"), float("inf"), True])
def test_salience_out_of_range_is_refused(salience: float) -> None:
    with pytest.raises(InvalidInputError, match="salience"):
        Incident("a", salience, {})


@pytest.mark.parametrize("salience", [0, 1, 0.5])
def test_salience_in_range_is_taken(salience: float) -> None:
    assert Incident("a", salience, {}).salience == salience


@pytest.mark.parametrize("kind", ["", "A", "a b", "x" * 65])
def test_kinds_that_do_not_fit_are_refused(kind: str) -> None:
    with pytest.raises(InvalidInputError, match="kind"):
        Incident(kind, 0.5, {})


@pytest.mark.parametrize(
    "payload", [[], "text", {"a": float("nan")}, {"a": {1}}, {"a": "\ud800"}, {"a": "\0"}, {"\0": 1}]
)
def test_payloads_that_a_database_cannot_keep_are_refused(payload: Any) -> None:
    with pytest.raises(InvalidInputError, match="payload"):
        Incident("a", 0.5, payload)


def test_a_payload_over_the_limit_is_refused() -> None:
    with pytest.raises(TooLargeError):
        Incident("a", 0.5, {"a": "x" * 300_000})


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="created_at"):
        Incident("a", 0.5, {}, created_at=datetime(2026, 1, 1))  # noqa: DTZ001


def test_mysql_without_its_setting_names_it() -> None:
    settings: Settings = load_settings()
    with pytest.raises(NotConfiguredError, match="SEEDCORE_MYSQL_DSN"):
        mysql_engine(settings)
