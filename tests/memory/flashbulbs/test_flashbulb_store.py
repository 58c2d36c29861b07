"""One behaviour in MySQL and in PostgreSQL."""

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from seedcore.errors import (
    ConflictError,
    InvalidInputError,
    NotConfiguredError,
    SchemaBehindError,
    TooLargeError,
    UnavailableError,
)
from seedcore.memory.flashbulbs import flashbulb_store
from seedcore.memory.flashbulbs.flashbulb_store import FlashbulbStore
from seedcore.memory.flashbulbs.incident import Incident
from seedcore.memory.flashbulbs.mysql_schema import MIGRATIONS, migrate_mysql
from seedcore.settings import Settings, load_settings
from seedcore.stores.mysql import mysql_engine


@pytest.fixture(params=["mysql", "postgres"])
def store_settings(request: pytest.FixtureRequest, pg_settings: Settings) -> Settings:
    if request.param == "postgres":
        return pg_settings
    return with_mysql(pg_settings, request.getfixturevalue("mariadb") + "/seedcore")


def with_mysql(settings: Settings, dsn: str) -> Settings:
    return settings.model_copy(update={"mysql_dsn": SecretStr(dsn)})


@pytest.fixture
async def store(store_settings: Settings) -> AsyncIterator[FlashbulbStore]:
    await asyncio.to_thread(migrate_mysql, store_settings)
    made = FlashbulbStore(store_settings)
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
async def test_many_processes_may_migrate_an_empty_mysql_at_once(mariadb: str) -> None:
    settings = load_settings(mysql_dsn=f"{mariadb}/raced")
    versions = await asyncio.gather(*(asyncio.to_thread(migrate_mysql, settings) for _ in range(4)))
    assert versions == [len(MIGRATIONS)] * 4
    engine = mysql_engine(settings)
    with engine.connect() as connection:
        rows = connection.execute(text("select version from schema_versions order by version")).scalars().all()
    assert rows == [*range(1, len(MIGRATIONS) + 1)]
    engine.dispose()


@pytest.mark.integration
def test_a_migration_that_was_run_and_not_noted_is_run_again(mariadb: str) -> None:
    settings = load_settings(mysql_dsn=f"{mariadb}/raced")
    migrate_mysql(settings)
    engine = mysql_engine(settings)
    with engine.begin() as connection:
        connection.execute(text("delete from schema_versions"))
    assert migrate_mysql(settings) == len(MIGRATIONS)
    with engine.begin() as connection:
        connection.execute(text("insert into schema_versions (version) values (99)"))
    # A newer release's schema stays as it is.
    assert migrate_mysql(settings) == 99
    engine.dispose()


def test_without_mysql_there_is_nothing_to_migrate() -> None:
    assert migrate_mysql(load_settings()) is None


@pytest.mark.integration
async def test_an_empty_mysql_is_named_and_incidents_wait_until_it_is_migrated(
    mariadb: str, pg_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = with_mysql(pg_settings, f"{mariadb}/empty")
    store = FlashbulbStore(settings)
    assert (await store.ready())["code"] == "schema_behind"
    incidents = [Incident("a", 0.9, {"n": n}) for n in range(3)]
    for incident in incidents:
        await store.record(incident)
    assert await store.waiting() == 3
    assert await store.get(incidents[0].id) == incidents[0]
    with pytest.raises(SchemaBehindError, match="seedcore migrate"):
        await store.recent()
    with pytest.raises(SchemaBehindError):
        await store.move_waiting()
    assert await store.waiting() == 3
    await asyncio.to_thread(migrate_mysql, settings)
    # Until MySQL is asked again, the new ones wait, too.
    late = await store.record(Incident("a", 0.9, {"n": 3}))
    assert await store.waiting() == 4
    monkeypatch.setattr(flashbulb_store, "LEFT_ALONE_S", 0.0)
    assert await store.recent() == [late, *reversed(incidents)]
    assert await store.move_waiting() == 4
    assert (await store.waiting(), await store.count(), await store.move_waiting()) == (0, 4, 0)
    assert await store.recent() == [late, *reversed(incidents)]
    await store.record(Incident("a", 0.9, {"n": 4}))
    assert (await store.waiting(), await store.count()) == (0, 5)
    await store.close()


@pytest.mark.integration
async def test_while_the_disk_of_mysql_is_full_incidents_wait(
    mariadb: str, pg_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flashbulb_store, "LEFT_ALONE_S", 0.0)
    settings = with_mysql(pg_settings, f"{mariadb}/seedcore")
    migrate_mysql(settings)
    engine, store = mysql_engine(settings), FlashbulbStore(settings)
    before = await store.count()
    full = "signal sqlstate 'HY000' set mysql_errno = 1021, message_text = 'Disk full'"
    with engine.begin() as connection:
        connection.execute(text(f"create trigger full_disk before insert on flashbulbs for each row {full}"))
    try:
        await store.record(Incident("a", 0.9, {}))
        with pytest.raises(UnavailableError, match="Disk full"):
            await store.move_waiting()
        assert (await store.waiting(), await store.count()) == (1, before)
    finally:
        with engine.begin() as connection:
            connection.execute(text("drop trigger full_disk"))
    assert await store.move_waiting() == 1
    assert (await store.waiting(), await store.count()) == (0, before + 1)
    engine.dispose()
    await store.close()


@pytest.mark.integration
@pytest.mark.parametrize("away", ["refused", "wrong password", "silent"])
async def test_a_mysql_that_is_away_costs_no_incident_and_its_password_stays_secret(
    away: str, mariadb: str, pg_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flashbulb_store, "TIMEOUT_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = {
            "refused": "mysql+mysqlconnector://seed:hunter2@127.0.0.1:1/seedcore",
            "wrong password": mariadb.replace("hunter2", "hunter3") + "/seedcore",
            "silent": f"mysql+mysqlconnector://seed:hunter2@127.0.0.1:{silent.getsockname()[1]}/seedcore",
        }[away]
        store = FlashbulbStore(with_mysql(pg_settings, dsn))
        began = time.monotonic()
        incidents = [await store.record(Incident("a", 0.9, {"n": n})) for n in range(20)]
        # MySQL is asked once, and then left alone for a while.
        assert time.monotonic() - began < 6.0
        assert await store.waiting() == 20
        assert await store.get(incidents[7].id) == incidents[7]
        ready = await store.ready()
        assert (ready["ready"], ready["store"], ready["fallback"]) == (False, "mysql", "flashbulb_postgres")
        assert "hunter" not in str(ready)
        with pytest.raises(UnavailableError):
            await store.count()
        silent.close()
        await store.close()


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
